"""The published schemas are those of the code, and what the code writes and reads fits them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

from smolagents_hardened.audit import schema as audit_schema
from smolagents_hardened.cli import main
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance import policy as policy_module
from smolagents_hardened.governance import policy_schema
from smolagents_hardened.governance.budget import Budget
from smolagents_hardened.governance.policy import KEYS, Policy
from smolagents_hardened.governance.predicates import _MAKERS
from smolagents_hardened.governance.rules import KEYS as RULE_KEYS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "module"), [("audit", audit_schema), ("policy", policy_schema)])
def test_the_published_schema_is_the_codes(name: str, module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The file in docs/ is what `schema()` gives, what the command prints wherever it is installed, and a schema."""
    text = (DOCS / f"{name}.schema.json").read_text()
    assert json.loads(text) == module.schema()
    assert main([name, "schema"]) == 0
    assert capsys.readouterr().out == text
    jsonschema.Draft202012Validator.check_schema(module.schema())


def test_the_schema_of_a_policy_knows_the_same_keys() -> None:
    """Keys of policy, rule, budget and predicates are those that the reader knows."""
    assert set(policy_schema.schema()["properties"]) == set(KEYS)
    assert set(policy_schema.RULE) == set(RULE_KEYS)
    assert set(policy_schema.PREDICATES) == {*_MAKERS, "known"}
    assert set(policy_schema.BUDGET) == set(Budget.__dataclass_fields__)


def test_the_head_of_the_policy_shows_every_key() -> None:
    """Whoever writes a policy finds each key of it, of rules and of budgets in the docstring."""
    shown = policy_module.__doc__ or ""
    keys = {*policy_schema.RULE, *policy_schema.BUDGET, *set(KEYS) - {"rule", "label", "budget", "prices"}}
    assert [key for key in sorted(keys) if f"{key} =" not in shown and f"{key}." not in shown] == []
    assert all(f"[{table}]" in shown for table in ("[rule]", "[label]", "[budget]", "prices"))


def when(**predicates: object) -> dict[str, object]:
    """A rule with predicates on one argument."""
    return {"rule": [{"tool": "t", "effect": "allow", "when": {"x": predicates}}]}


def rule(effect: str, **more: object) -> dict[str, object]:
    """A rule of this effect."""
    return {"rule": [{"tool": "t", "effect": effect, **more}]}


VALID = {
    "whole length": when(min_length=1.0),
    "host": when(url={"host": ["a.org", "*.b.org", "::1", "10.0.0.1"], "scheme": "https", "port": [443, 80.0]}),
    "below": when(below="/a/..b/c"),
    "calls of 63 bits": {"budget": [{"calls": 2**63 - 1}]},
    "not": when(**{"not": {"min": 1}}),
    "known": when(known=False),
    "ask": rule("ask", timeout_s=1, on_timeout="stop", approvers=["a"]),
    "respond": rule("respond", value=None),
    "modify": rule("modify", set={"a": 1}),
    "whole calls": {"budget": [{"calls": 1.0}]},
    "rate": {"budget": [{"calls": 1, "every_s": 1}]},
    "tokens": {"budget": [{"tokens": 1, "per": "agent", "tool": "*"}]},
}
NOT_VALID = {
    **{
        f"host {host}": when(url={"host": host})
        for host in ("fe80::1%eth0", "a:80", "256.1.1.1", "1:2:3", "1", "a..b", "-a")
    },
    "port 1.5": when(url={"port": [1.5]}),
    "port 65536": when(url={"port": [65536]}),
    "calls of 65 bits": {"budget": [{"calls": 2**63}]},
    "calls of 65 bits, as a fraction": {"budget": [{"calls": 2.0**63}]},
    "length of 65 bits": when(max_length=2**63),
    "host null": when(url={"scheme": "https", "host": None}),
    "host in upper case": when(url={"host": "A.org"}),
    "host with a dot": when(url={"host": "a.org."}),
    "no port": when(url={"port": []}),
    "below //": when(below="//x"),
    "below ..": when(below="/a/../b"),
    "path_below ..": when(url={"path_below": "/.."}),
    "not known": when(**{"not": {"known": True}}),
    "not not known": when(**{"not": {"not": {"known": True}}}),
    "length 1.5": when(min_length=1.5),
    "long regex": when(regex="a" * 3000),
    "long cel": rule("allow", cel="a" * 5000),
    "timeout_s null": rule("ask", timeout_s=None),
    "timeout_s 1e10": rule("ask", timeout_s=1e10),
    "timeout_s for allow": rule("allow", timeout_s=1),
    "on_timeout alone": rule("ask", on_timeout="deny"),
    "respond without value": rule("respond"),
    "value for allow": rule("allow", value=1),
    "modify without set": rule("modify"),
    "set for allow": rule("allow", set={"a": 1}),
    "empty id": rule("allow", id=""),
    "budget of no tool": {"budget": [{"calls": 1, "tool": ""}]},
    "budget with null": {"budget": [{"calls": None, "cost": 1}]},
    "rate without calls": {"budget": [{"cost": 1, "every_s": 1}]},
    "calls 1.5": {"budget": [{"calls": 1.5}]},
    "tokens of a tool": {"budget": [{"tokens": 1, "tool": "a"}]},
    "tokens per tool": {"budget": [{"tokens": 1, "per": "tool"}]},
    "a glob in tools": {"tools": ["read_*"]},
    "an unknown token": {"prices": {"model:in": 1}},
    "globs of tokens": {"prices": {"model:*": 1}},
}


@pytest.mark.parametrize("name", [*VALID, *NOT_VALID])
def test_schema_and_loader_agree(name: str) -> None:
    """What an editor accepts by the schema can be loaded, and nothing else can."""
    data = {"default": "deny", **(VALID | NOT_VALID)[name]}
    is_valid = jsonschema.Draft202012Validator(policy_schema.schema()).is_valid(data)
    try:
        Policy.from_mapping(data)
        is_loaded = True
    except ConfigError:
        is_loaded = False
    assert (is_valid, is_loaded) == (name in VALID, name in VALID)

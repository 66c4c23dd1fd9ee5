"""The published schemas are those of the code, and what the code writes and reads fits them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

from smolagents_hardened.audit import schema as audit_schema
from smolagents_hardened.cli import main
from smolagents_hardened.governance import policy_schema
from smolagents_hardened.governance.budget import Budget
from smolagents_hardened.governance.policy import KEYS
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

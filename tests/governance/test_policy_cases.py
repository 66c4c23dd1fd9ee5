"""`hardened policy test`: a policy tried on calls that are written down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.governance.governed import tool_call

from smolagents_hardened.cli import main
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance import cases as module
from smolagents_hardened.governance.cases import try_cases
from smolagents_hardened.governance.flow import Flow
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.policy_schema import RULE


def rule(effect: str, tool: str = "*", **more: object) -> dict[str, object]:
    """One rule."""
    return {"tool": tool, "effect": effect, **more}


def policy(*rules: dict[str, object], default: str = "deny", source: str = "policy", **top: object) -> Policy:
    """A policy of these rules."""
    return Policy.from_mapping({"default": default, "rule": list(rules), **top}, source)


CASE = '[[case]]\ntool = "t"\nexpect = "deny"\n'
BAD_CASES = {
    "rule": (CASE + "rule = 1\n", "line 1: case 1: rule must be a text"),
    "known": (CASE + 'known = "x"\n', "line 1: case 1: known is a list"),
    "delegation": (CASE + 'delegation = "boss/worker"\n', "line 1: case 1: delegation is a list"),
    "labels": (CASE + 'labels = "x"\n', "line 1: case 1: labels is a list"),
    "task": (CASE + "task = 3\n", "line 1: case 1: task must be a text"),
    "agent": (CASE + "agent = 3\n", "line 1: case 1: agent must be a text"),
    "name": (CASE + "name = 3\n", "line 1: case 1: name must be a text"),
    "arguments": (CASE + "arguments = 3\n", "line 1: case 1: arguments is a table"),
    "expect": ('[[case]]\ntool = "t"\nexpect = "dney"\n', "line 1: case 1: expect is one of.* not 'dney'"),
    "top": (CASE + '[[cse]]\ntool = "t"\nexpect = "allow"\n', "unknown key 'cse'"),
}


@pytest.mark.parametrize("name", BAD_CASES)
def test_a_case_that_is_not_understood_is_refused(tmp_path: Path, name: str) -> None:
    """Wrong types, unknown verdicts and tables are errors with the line, not cases that pass or fail."""
    text, message = BAD_CASES[name]
    (tmp_path / "cases.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        try_cases(policy(), tmp_path / "cases.toml")


@pytest.mark.parametrize(
    ("name", "is_right"),
    [("pay", True), ("rule 11", True), ("pay (rule 11)", True), ("rule 1", False), ("pa", False), ("default", False)],
)
def test_a_case_names_its_rule_wholly(tmp_path: Path, name: str, is_right: bool) -> None:
    """By its id or its number; what is a part of either is another rule, and the failure says so."""
    rules = [rule("allow", f"t{number}") for number in range(1, 11)]
    (tmp_path / "cases.toml").write_text(f'[[case]]\ntool = "pay"\nexpect = "allow"\nrule = "{name}"\n')
    (tried,) = try_cases(policy(*rules, rule("allow", "pay", id="pay")), tmp_path / "cases.toml")
    assert tried.is_right is is_right
    assert (f"; expected was it by {name!r}" in str(tried)) is not is_right


def test_the_head_of_the_module_is_a_file_of_cases(tmp_path: Path) -> None:
    """What the docstring shows can be copied, and shows every key."""
    text = (module.__doc__ or "").split("::\n")[1]
    (tmp_path / "cases.toml").write_text(text)
    (tried,) = try_cases(policy(rule("allow", "transfer", id="small")), tmp_path / "cases.toml")
    assert tried.is_right
    assert all(f"{key} =" in text for key in module._CASE_KEYS)
    assert set(RULE["effect"]["enum"]) == {word for word in text.split('"') if word in RULE["effect"]["enum"]}


def test_the_command_tells_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each case that is not as expected, with its line."""
    (tmp_path / "p.toml").write_text('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\n')
    (tmp_path / "cases.toml").write_text(
        '[[case]]\ntool="a"\nexpect="allow"\n[[case]]\ntool="b"\nexpect="allow"\nrule="rule 1"\n'
    )
    assert main(["policy", "test", str(tmp_path / "p.toml"), str(tmp_path / "cases.toml")]) == 1
    said = capsys.readouterr().out
    assert "line 4: case 2: deny by default" in said
    assert "expected was allow by 'rule 1'" in said
    assert "1 of 2 cases as expected" in said


@pytest.mark.parametrize(
    ("task", "known", "value", "is_known"),
    [
        ("", ["Ann"], ["Ann"], True),
        ("", ["write to Ann"], "Ann", True),
        ("", [{"to": ["Ann", 1]}], {"Ann": 1}, True),
        ("write to Ann", [], "Ann", True),
        ("write to Ann", ["5 times"], ["Ann", 5], True),
        ("write to Anna", [], "Ann", False),
        ("", ["Ann"], "An", False),
        ("", [], "Ann", False),
    ],
)
def test_what_is_known_in_a_case_is_known_in_a_run(
    tmp_path: Path, task: str, known: list[object], value: object, is_known: bool
) -> None:
    """The task and the results so far are searched in the same way."""
    flow, made = Flow(), policy(rule("allow", when={"to": {"known": True}}))
    flow.begin(task)
    flow.learn(known)
    case = {"tool": "send", "arguments": {"to": value}, "known": known, "expect": "allow" if is_known else "deny"}
    (tmp_path / "cases.json").write_text(json.dumps({"case": [case | ({"task": task} if task else {})]}))
    (tried,) = try_cases(made, tmp_path / "cases.json")
    assert tried.is_right
    call = replace(tool_call("send", to=value), is_known=flow.is_known)
    assert tried.decision == made.before_tool_call(call)

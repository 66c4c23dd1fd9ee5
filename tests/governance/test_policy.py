"""Rules as data: strict to read, plain to follow, closed where nothing is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.governance.governed import bench, tool_call

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.hooks import Verdict
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.served import Refused, Value


def judge(rules: list[dict[str, object]], default: str = "deny", tool: str = "weather", **arguments: object) -> str:
    """The verdict of a policy on one call."""
    policy = Policy.from_mapping({"default": default, "rule": rules})
    return policy.before_tool_call(tool_call(tool, **arguments)).verdict.value


def rule(effect: str = "allow", tool: str = "weather", **more: object) -> dict[str, object]:
    """One rule."""
    return {"tool": tool, "effect": effect, **more}


@pytest.mark.parametrize("default", ["allow", "deny"])
def test_the_default_decides_where_no_rule_does(default: str) -> None:
    """A tool that no rule matches gets the default, whatever it is called."""
    assert judge([rule("ask", "other")], default, tool="unheard_of") == default


@pytest.mark.parametrize("effect", ["allow", "ask", "deny", "stop"])
def test_a_matching_rule_decides(effect: str) -> None:
    """Each effect becomes its verdict."""
    assert judge([rule(effect)]) == effect


@pytest.mark.parametrize("order", [1, -1])
def test_the_strictest_effect_wins(order: int) -> None:
    """Of several matching rules the strictest counts, in whatever order they stand."""
    rules = [rule("allow"), rule("ask"), rule("deny"), rule("stop")]
    for strictest in ("stop", "deny", "ask", "allow"):
        assert judge(rules[::order]) == strictest
        rules.pop()


def test_the_first_rule_of_an_effect_gives_the_reason() -> None:
    """Of two denials the first one's reason is told."""
    rules = [rule("deny", reason="first"), rule("deny", reason="second")]
    policy = Policy.from_mapping({"default": "deny", "rule": rules})
    assert policy.before_tool_call(tool_call()).reason == "first"


@pytest.mark.parametrize(
    ("pattern", "tool", "is_match"),
    [
        ("weather", "weather", True),
        ("weather", "Weather", False),
        ("weather", "weather2", False),
        ("read_*", "read_file", True),
        ("read_*", "unread_file", False),
        ("?ab", "tab", True),
        ("[ab]x", "bx", True),
        ("a.c", "abc", False),
        ("*", "anything", True),
    ],
)
def test_tools_match_by_name_or_glob(pattern: str, tool: str, is_match: bool) -> None:
    """Names are exact, globs cover the whole name, both mind upper and lower case."""
    assert (judge([rule(tool=pattern)], tool=tool) == "allow") is is_match


def test_agents_match_too() -> None:
    """A rule for one agent says nothing about another."""
    policy = Policy.from_mapping({"default": "deny", "rule": [rule(agent="research*")]})
    assert policy.before_tool_call(tool_call(agent="researcher")).verdict is Verdict.ALLOW
    assert policy.before_tool_call(tool_call(agent="main")).verdict is Verdict.DENY


@pytest.mark.parametrize(
    ("rules", "verdict"),
    [
        ([], "allow"),
        ([rule("allow", "weather")], "allow"),
        ([rule("deny", "*")], "deny"),
        ([rule("allow", "final_answer", when={"answer": {"equals": 1}})], "deny"),
        ([rule("allow", "final_answer", when={"answer": {"equals": 2}})], "allow"),
        ([rule("deny", "final_answer")], "deny"),
    ],
)
def test_the_default_spares_final_answer_unless_it_is_named(rules: list[dict[str, object]], verdict: str) -> None:
    """Default deny lets an agent answer; a rule that matches, or names it, decides instead."""
    assert judge(rules, tool="final_answer", answer=2) == verdict


@pytest.mark.parametrize(
    ("predicates", "value", "is_match"),
    [
        ({"equals": "a"}, "a", True),
        ({"equals": "a"}, "b", False),
        ({"equals": 1}, True, False),
        ({"equals": True}, 1, False),
        ({"equals": 1}, 1.0, True),
        ({"equals": 1}, "1", False),
        ({"in": ["a", 1]}, 1, True),
        ({"in": ["a", 1]}, True, False),
        ({"in": []}, "a", False),
        ({"regex": "https://good/.*"}, "https://good/x", True),
        ({"regex": "https://good/.*"}, "https://bad/?https://good/x", False),
        ({"regex": "a"}, "ab", False),
        ({"regex": "a$"}, "a\n", False),
        ({"regex": ".*rm.*"}, "ls\nrm\n", True),
        ({"regex": ".*"}, 3, False),
        ({"contains": "rm"}, "ls; rm x", True),
        ({"contains": "rm"}, ["rm"], False),
        ({"min": 1, "max": 3}, 2, True),
        ({"min": 1, "max": 3}, 4, False),
        ({"max": 3}, float("nan"), False),
        ({"max": 3}, "2", False),
        ({"max": 3}, True, False),
        ({"max_length": 2}, "ab", True),
        ({"max_length": 2}, "abc", False),
        ({"max_length": 2}, 5, False),
        ({"present": True}, None, True),
        ({"present": False}, None, False),
        ({"not": {"regex": "/data/.*"}}, "/etc/passwd", True),
        ({"not": {"regex": "/data/.*"}}, "/data/x", False),
    ],
)
def test_predicates_on_an_argument(predicates: dict[str, object], value: object, is_match: bool) -> None:
    """Each predicate holds for what it says, and for no value of another type."""
    assert (judge([rule(when={"x": predicates})], x=value) == "allow") is is_match


@pytest.mark.parametrize(
    "predicates", [{"equals": None}, {"regex": ".*"}, {"not": {"equals": 1}}, {"present": True}, {"in": [None]}]
)
def test_an_absent_argument_matches_nothing(predicates: dict[str, object]) -> None:
    """Only `present = false` holds for an argument that was not given."""
    assert judge([rule(when={"x": predicates})]) == "deny"
    assert judge([rule(when={"x": {"present": False}})]) == "allow"


BAD = [
    ("", "default"),
    ('default = "maybe"', "default"),
    ('default = "deny"\nruel = 1', "unknown key 'ruel'"),
    ('default = "deny"\nrule = 1', "list of tables"),
    ('default = "deny"\n[[rule]]\neffect = "deny"', "line 2: rule 1: tool"),
    ('default = "deny"\n[[rule]]\ntool = "a"', "effect"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "permit"', "permit"),
    (
        'default = "deny"\n[[rule]]\ntool = "a"\neffect = "deny"\n\n[[rule]]\ntol = "b"',
        "line 6: rule 2: unknown key 'tol'",
    ),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\nwhen = 3', "when is a table"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\nwhen.x = 3', "when.x is a table"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\nwhen.x = {}', "when.x is a table"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\nwhen.x = {equal = 3}', "unknown predicate 'equal'"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\nwhen.x = {regex = "("}', "regex"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\nwhen.x = {in = "ab"}', "needs a list"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\nwhen.x = {max = "1"}', "needs? a number|need a number"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\nwhen.x = {not = {}}', "not needs"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\nreason = 3', "reason"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "allow"\ntimeout_s = 3', "for effect ask only"),
    ('default = "deny"\n[[rule]]\ntool = "a"\neffect = "ask"\ntimeout_s = -1', "positive"),
    ('default = "deny"\ndefault = "allow"', "not valid"),
    ('default = "deny"\n\ntool = ?\n', "not valid.*line 3"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """Unknown keys, effects, predicates and wrong types are errors that name file, line and rule."""
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        Policy.from_file(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["missing.toml", "policy.yaml", "policy.json"])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str) -> None:
    """A missing file, an unknown format, repeated keys: the message names the file."""
    path = tmp_path / name
    if name != "missing.toml":
        path.write_text('{"default": "deny", "default": "allow"}')
    with pytest.raises(ConfigError, match=name):
        Policy.from_file(path)


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    """The same rules in both formats give the same verdicts and digest; other rules give another digest."""
    data = {"default": "deny", "rule": [rule("ask", reason="sure?", timeout_s=5, when={"city": {"equals": "Paris"}})]}
    text = 'default="deny"\n[[rule]]\ntool="weather"\neffect="ask"\nreason="sure?"\n'
    text += 'timeout_s=5\nwhen.city.equals="Paris"\n'
    (tmp_path / "p.json").write_text(json.dumps(data))
    (tmp_path / "p.toml").write_text(text)
    one, other = Policy.from_file(tmp_path / "p.json"), Policy.from_file(tmp_path / "p.toml")
    assert one.digest == other.digest != Policy.from_mapping({"default": "deny"}).digest
    assert one.before_tool_call(tool_call(city="Paris")) == other.before_tool_call(tool_call(city="Paris"))
    assert other.before_tool_call(tool_call(city="Paris")).timeout_s == 5


def test_no_path_of_the_host_reaches_the_model(tmp_path: Path) -> None:
    """The reason of a refusal names the policy file without its directory."""
    path = tmp_path / "p.toml"
    path.write_text('default="deny"\n[[rule]]\ntool="a"\neffect="deny"\n')
    policy = Policy.from_file(path)
    for tool in ("a", "b"):
        reason = policy.before_tool_call(tool_call(tool)).reason
        assert "p.toml" in reason
        assert str(tmp_path) not in reason


def test_a_policy_is_a_hook() -> None:
    """A governor takes a policy as it is, and the record names it."""
    policy = Policy.from_mapping({"default": "deny", "rule": [rule(when={"city": {"equals": "Paris"}})]})
    with bench(policy) as it:
        assert isinstance(it.serve(), Value)
        assert it.serve(tool_call(city="Rome")) == Refused(
            "no rule of policy:policy allows this call", "denied_by_default"
        )
        assert it.last()["decisions"][0]["hook"] == "policy:policy"  # type: ignore[index]

"""What a rule in CEL says: of every spelling, in bounded time, and of types only what it asks for."""

from __future__ import annotations

import pytest
from tests.governance.governed import tool_call
from tests.governance.test_spelling import longest_gap

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.cel import Expression
from smolagents_hardened.governance.policy import Policy


def verdict(effect: str, expression: str, **arguments: object) -> str:
    """What a policy of this one rule decides."""
    rule = {"tool": "t", "effect": effect, "cel": expression}
    policy = Policy.from_mapping({"default": "deny" if effect == "allow" else "allow", "rule": [rule]})
    return policy.before_tool_call(tool_call("t", **arguments)).verdict.value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("args.x in ['rm']", "ｒm"),
        ("args.x == ['rm']", ["ｒm"]),
        ("args.x == {'cmd': 'rm'}", {"ｃmd": "rm"}),
        ("args.x == 'ｒm'", "ｒm"),
    ],
)
def test_an_expression_is_about_every_spelling(expression: str, value: object) -> None:
    """A deny rule fits one of them, an allow rule all."""
    assert verdict("deny", expression, x=value) == "deny"
    assert verdict("allow", expression, x=value) == "deny"
    assert verdict("allow", f"!({expression})", x=value) == "deny"
    assert verdict("deny", expression, x="lｓ") == "allow"
    assert verdict("allow", f"!({expression})", x="lｓ") == "allow"


@pytest.mark.parametrize("value", ["22", [22], None, True])
def test_another_type_is_what_the_expression_makes_of_it(value: object) -> None:
    """Equality across types is false and no error: a rule that means a number asks for its type first."""
    assert verdict("deny", "args.x == 22", x=value) == "allow"
    assert verdict("deny", "type(args.x) != int || args.x == 22", x=value) == "deny"
    assert verdict("deny", "type(args.x) != int || args.x == 22", x=21) == "allow"
    assert verdict("allow", "type(args.x) == int && args.x != 22", x=value) == "deny"
    assert verdict("allow", "type(args.x) == int && args.x != 22", x=21) == "allow"


def test_an_argument_that_is_not_there_is_asked_for() -> None:
    """Without `has` such an expression cannot tell: a deny rule fits every call without the argument."""
    assert verdict("deny", "args.path.startsWith('/etc')", x=1) == "deny"
    guarded = "has(args.path) && args.path.startsWith('/etc')"
    assert verdict("deny", guarded, x=1) == "allow"
    assert verdict("deny", guarded, path="/etc/passwd") == "deny"


@pytest.mark.parametrize(
    "expression",
    [
        "args.x.all(i, args.y.exists(j, i == j))",
        "args.x . map ( i, [1] // (\n . filter(j, j == i))",
        r"args.x.all(i, i != r'\' && [1].exists_one(j, true))",
        "args.x.all(i, {'a': [args.y.existsOne(j, j == i)]}.a[0])",
    ],
)
def test_a_loop_in_a_loop_is_refused(expression: str) -> None:
    """The box chooses how long lists are: the time would be the product, and nothing else runs meanwhile."""
    with pytest.raises(ConfigError, match="within another loop"):
        Expression.compile(expression, "rule 1")


@pytest.mark.parametrize(
    "expression",
    [
        "args.x.filter(i, i != 'a').all(i, size(i) > 0)",
        "args.x.all(i, true) && args.x.exists(i, true)",
        "args.x.all(i, i != '.all(' && i != \"'.all('\" && i != '''it's .all(''' && i != r'\\')",
        "args.x.all(i, true) // .all(i, .all(j",
    ],
)
def test_loops_beside_each_other_are_taken(expression: str) -> None:
    """The positive control: one after the other, and what only looks like one in a text or a comment."""
    assert verdict("allow", expression, x=["b", "c"]) == "allow"


SLOW = {
    "a copy for each value": ("args.x.map(i, args.x).size() > 0", list(range(90)), "a"),
    "a list looked through for each value": ("args.x.all(i, !(-1 in args.x))", list(range(290)), "a"),
    "a text looked through for each value": (
        "args.x.all(i, !args.y.matches('.*a.*b.*c'))",
        list(range(290)),
        "a" * 9_900,
    ),
    "many values": ("args.x.size() > 0", list(range(4_900)), "a"),
    "a long text": ("!args.y.matches('.*a.*b.*c')", [], "a" * 499_000),
}


@pytest.mark.parametrize("name", SLOW)
def test_an_expression_takes_bounded_time(name: str) -> None:
    """Up to the bounds it is judged, soon; beyond them it cannot be told, at once."""
    text, listed, long = SLOW[name]
    made = Expression.compile(text, "rule 1")
    found: list[bool | None] = []
    assert longest_gap(lambda: found.append(made.holds(tool_call("t", x=listed, y=long)))) < 0.5
    assert longest_gap(lambda: found.append(made.holds(tool_call("t", x=listed * 4, y=long * 4)))) < 0.5
    assert found == [True, None]


def test_beyond_the_bounds_is_doubt() -> None:
    """A deny rule fits, an allow rule does not; a little less is judged."""
    for x, is_judged in ((["a"] * 200, True), (["a"] * 400, False), (["a" * 100] * 110, False)):
        assert verdict("allow", "args.x.all(i, i.startsWith('a'))", x=x) == ("allow" if is_judged else "deny")
        assert verdict("deny", "args.x.exists(i, i == 'b')", x=x) == ("allow" if is_judged else "deny")

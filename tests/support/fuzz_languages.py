"""Targets on the languages that policies are written in beside our own: Cedar and CEL."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import process_time
from typing import Any

import cedarpy
from tests.support.fuzz_choices import Choices
from tests.support.fuzz_files import CALLS

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.cedar import CedarPolicy
from smolagents_hardened.governance.cel import Expression
from smolagents_hardened.governance.hooks import Verdict
from smolagents_hardened.governance.policy import Policy

# ---- Cedar ------------------------------------------------------------------------------------------------------

_SCOPES = (
    *("principal, action, resource", 'principal == Agent::"a", action, resource', "principal, action, resource in [x]"),
    *(
        'principal in Agent::"researcher", action == Action::"call", resource == Tool::"read_file"',
        "?principal, action",
    ),
    *('principal, action in [Action::"call"], resource is Tool', "principal == ?principal, action, resource"),
)
_ATOMS = (
    "true", "false", "1", "-1", "9223372036854775807", '"x"', '"final_answer"', "context.arguments.path", "[]", "{}",
    "context.arguments.n", "context.arguments", "context", "principal", "resource", 'Agent::"a"', 'decimal("1.0")',
    "context.labels", "context.known", "context.delegation", 'context["arguments"]["path"]', 'ip("1.2.3.4")',
    '"\\u{1}"',
)  # fmt: skip
_JOINS = ("&&", "||", "==", "!=", "<", ">=", "+", "-", "*", "in", "is")
_FORMS = (
    "({})", "!{}", "-{}", "[{}, {}]", "{{a: {}}}", "{}.contains({})", "if {} then {} else {}", "{} has path", "{}.a",
    '{} like "*a*"', "{}.containsAny({})", '{}["x"]', "{} is Tool", "{} // \n", "{} has n", "{}.isEmpty()",
    "{}.lessThan({})",
)  # fmt: skip
_CEDAR_PIECES = (
    "permit(principal, action, resource);", "//", "/*", "*/", '"', "\\", ";", "{", "}", "(", ")", "[", "\n", "\r",
    "\r\n", "@id(", '@reason("x")', "forbid", "permit", "when", "unless", " when { true }", "::", "'", "\x00",
    "\ud800", "é", "\u2028", "true && ", "!", "- ", ".a", "1 + ", "if true then true else ", '"\\"', "//\r", "@a",
    "__cedar", "?resource", "\x0b", "%",
)  # fmt: skip
_NEVER = "\nforbid (principal, action, resource);"
_UNSURE = "\nforbid (principal, action, resource) when { context.arguments.of_no_such_name > 1 };"


def cedar(data: bytes) -> None:
    """A text gives a policy or a ConfigError whose line is in it; a policy counts its parts as the library does and decides
    every call; one more `forbid` forbids all of them, and so does one that cannot be evaluated.
    """
    choices = Choices(data)
    text = "\n".join(_cedar_policy(choices) for _ in range(choices.below(4)))
    for _ in range(choices.below(4)):
        at, piece = choices.below(len(text) + 1), choices.pick(_CEDAR_PIECES)
        repeats = 2 ** choices.below(10) if choices.chance(8) else 1
        text = text[:at] + piece * repeats + text[at + choices.below(24) :]
    made = _cedar(text)
    if made is None:
        return
    assert made.described()["rules"] == len(_as_the_library_has_it(text, made))
    for call in CALLS:
        assert made.before_tool_call(call).verdict in (Verdict.ALLOW, Verdict.DENY)
    for more in (_NEVER, _UNSURE):
        stricter = _cedar(text + more)
        assert stricter is not None, text
        for call in CALLS:
            assert stricter.before_tool_call(call).verdict is Verdict.DENY, (text + more, call)


def _cedar(text: str) -> CedarPolicy | None:
    try:
        return CedarPolicy(text, "p.cedar")
    except ConfigError as error:
        told = str(error)
    found = re.match(r"p\.cedar, line (\d+): ", told)
    assert found is not None, told
    assert 1 <= int(found[1]) <= text.count("\n") + 1, (text, told)
    return None


def _as_the_library_has_it(text: str, made: CedarPolicy) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    for number, notes in enumerate(made._notes):
        assert told[f"policy{number}"].get("annotations", {}) == notes, text
    return told


def _cedar_policy(choices: Choices) -> str:
    notes = choices.pick(("", '@id("a") ', '@id("b; //")\n@reason("no\\"") ', "// it's\n", '@reason("permit(") '))
    effect, scope = choices.pick(("permit", "forbid")), choices.pick(_SCOPES) if choices.chance(3) else _SCOPES[0]
    kinds = [choices.pick(("when", "unless")) for _ in range(choices.below(3))]
    conditions = "".join(f" {kind} {{ {_formed(choices, 3, _ATOMS, _FORMS, _JOINS)} }}" for kind in kinds)
    return f"{notes}{effect} ({scope}){conditions};"


def _formed(choices: Choices, depth: int, atoms: Sequence[str], forms: Sequence[str], joins: Sequence[str]) -> str:
    if not depth or choices.is_over:
        return choices.pick(atoms)
    inner = partial(_formed, choices, depth - 1, atoms, forms, joins)
    if choices.below(2):
        return f"{inner()} {choices.pick(joins)} {inner()}"
    form = choices.pick(forms)
    return form.format(*(inner() for _ in range(form.count("{}") - form.count("{{}}"))))


# ---- CEL --------------------------------------------------------------------------------------------------------

_CEL_ATOMS = (
    "args.answer.map(x, args.answer)", "args.answer.all(x, args.answer.all(y, args.answer.all(z, z == z)))",
    "true", "false", "null", "1", "-1", "2u", "9223372036854775807", "1.5", "'x'", 'b"x"', "r'\\d'", "[]", "{}",
    "args", "tool", "agent", "labels", "args.path", "args.n", "args['answer']", "delegation", "nothing", "args.day",
    "1e308", "'é'",
)  # fmt: skip
_CEL_JOINS = ("&&", "||", "==", "!=", "<", ">=", "+", "-", "*", "/", "%", "in")
_CEL_FORMS = (
    "({})", "!{}", "-{}", "[{}, {}]", "{{'a': {}}}", "{} ? {} : {}", "size({})", "has(args.path)",
    "{}.startsWith({})", "{}.matches({})", "string({})", "int({})", "{}.all(x, {})", "{}.exists(x, {})", "{}[{}]",
    "{}.map(x, x)", "{}.map(x, {})", "{}.all(x, {}.exists(y, x == y))", "type({})", "timestamp({})", "duration({})", "{}.filter(x, x == {})", "uint({})", "double({})",
    "{}.contains({})", "{}.x", "bool({})",
)  # fmt: skip
_CEL_PIECES = (
    "//", "'", '"', "'''", "\\", "(", ")", "[", "]", "{", "}", "\n", "\r", "\x00", "é", "\ud800",
    "99999999999999999999", ".", "?", ":", "!", "-", "1 + ", "args.", "a && ", "[0]", ".x", "0x", "1e999", "b'\\xff'",
    "\\u12", "in ", "__", "`a`", "?.", "u", "/*",
)  # fmt: skip


_MANY = replace(CALLS[0], arguments={"answer": [1.5] * 300, "n": 5, "path": "x" * 9_000, "day": {"a": ["x"] * 99}})
_MOST_S = 5.0  # of an expression that goes through all of it; one with a loop too many takes minutes


def cel(data: bytes) -> None:
    """A text gives an expression or a ConfigError; an expression is true, false or untold of every call, its negation
    false, true or untold; an allow rule needs true, and a deny rule lets through only what is false. A call with a lot
    in it is judged, or cannot be told, in bounded time.
    """
    choices = Choices(data)
    text = _formed(choices, 4, _CEL_ATOMS, _CEL_FORMS, _CEL_JOINS)
    for _ in range(choices.below(4)):
        at, piece = choices.below(len(text) + 1), choices.pick(_CEL_PIECES)
        repeats = 2 ** choices.below(10) if choices.chance(8) else 1
        text = text[:at] + piece * repeats + text[at + choices.below(16) :]
    try:
        made, negated = (Expression.compile(one, "p.toml, line 1") for one in (text, f"!({text}\n)"))
    except ConfigError:
        return
    began = process_time()
    assert made.holds(_MANY) in (True, False, None)
    assert process_time() - began < _MOST_S, text
    lax, strict = (_judging(text, effect, default) for effect, default in (("deny", "allow"), ("allow", "deny")))
    for call in CALLS:
        held = made.holds(call)
        assert held in (True, False, None)
        assert negated.holds(call) is (None if held is None else not held), (text, call)
        assert (strict.before_tool_call(call).verdict is Verdict.ALLOW) is (held is True), (text, call)
        assert (lax.before_tool_call(call).verdict is Verdict.ALLOW) is (held is False), (text, call)


def _judging(text: str, effect: str, default: str) -> Policy:
    # final_answer is named, so that the default is for it, too
    never = {"tool": "final_answer", "agent": "nobody", "effect": "deny"}
    return Policy.from_mapping({"default": default, "rule": [{"tool": "*", "effect": effect, "cel": text}, never]})

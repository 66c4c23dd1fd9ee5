"""What counts as a hook, and what a Decision is."""

from __future__ import annotations

import functools

import pytest
from tests.governance.governed import tool_call

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.hooks import Decision, Hook, Verdict, as_hook
from smolagents_hardened.governance.policy import Policy


def function(call: ToolCall) -> Decision:
    """A plain hook."""
    return Decision.allow()


async def coroutine(call: ToolCall) -> Decision:
    """An async hook."""
    return Decision.allow()


class Whole:
    """A hook with all three halves and a name of its own."""

    name = "mine"

    def before_tool_call(self, call: ToolCall) -> Decision:
        return Decision.allow()

    def after_tool_call(self, call: object, outcome: object) -> None: ...

    def before_code(self, code: object) -> Decision:
        return Decision.allow()


class Callable_:
    """An object that is called."""

    def __call__(self, call: ToolCall) -> Decision:
        return Decision.allow()


@pytest.mark.parametrize(
    ("hook", "name"),
    [
        (function, "function"),
        (coroutine, "coroutine"),
        (functools.partial(function), "partial"),
        (Callable_(), "Callable_"),
        (Whole(), "mine"),
        (Whole().before_tool_call, "Whole.before_tool_call"),
        (Policy.from_mapping({"default": "allow"}, "x"), "policy:x"),
    ],
)
def test_hooks_of_every_kind_are_taken(hook: object, name: str) -> None:
    """Functions, coroutines, callables and objects become a Hook with a name for the trail."""
    made = as_hook(hook)
    assert isinstance(made, Hook)
    assert made.name == name
    assert as_hook(made) is made


def test_optional_halves_are_found() -> None:
    """An object's other two methods are used where it has them, and only there."""
    assert None not in (as_hook(Whole()).after, as_hook(Whole()).code)
    assert (as_hook(function).after, as_hook(function).code) == (None, None)


class Odd:
    """Has the right names and the wrong things."""

    before_tool_call = function
    after_tool_call = 3


@pytest.mark.parametrize("thing", [None, 3, "policy.toml", object(), Whole, Odd(), [function]])
def test_anything_else_is_a_config_error(thing: object) -> None:
    """What is no hook is refused at once, a class instead of its instance too."""
    with pytest.raises(ConfigError):
        as_hook(thing)


def test_a_decision_has_no_truth_value() -> None:
    """`if hook(call):` is an error rather than a hole."""
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(Decision.deny("no"))


def test_verdicts_are_ordered_by_strictness() -> None:
    """The order of the enum is the order that decides."""
    assert [verdict.value for verdict in Verdict] == ["stop", "deny", "ask", "respond", "modify", "allow"]


def test_a_hook_may_be_asked_directly() -> None:
    """The adapter answers as the hook does."""
    assert as_hook(function).before_tool_call(tool_call()).verdict is Verdict.ALLOW

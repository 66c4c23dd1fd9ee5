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


class CallableWhole(Whole):
    """Is called, and has other halves."""

    def __call__(self, call: ToolCall) -> Decision:
        return Decision.deny("the method comes first")


class CallableReader:
    """Is called, and looks at code and results as well."""

    def __call__(self, call: ToolCall) -> Decision:
        return Decision.allow()

    def after_tool_call(self, call: object, outcome: object) -> None: ...

    def before_code(self, code: object) -> Decision:
        return Decision.deny("no code")


def test_the_other_halves_of_a_callable_are_found() -> None:
    """A callable object is asked everything that it has a method for."""
    made = as_hook(CallableReader())
    assert None not in (made.after, made.code)
    assert as_hook(CallableWhole()).before_tool_call(tool_call()).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"before_tool_call": lambda self: None}, "ToolCall -> Decision"),
        ({"before_tool_call": lambda self, call, context: None}, "ToolCall -> Decision"),
        ({"after_tool_call": lambda self, outcome: None}, "ToolCall, ToolOutcome -> ToolOutcome"),
        ({"before_code": lambda self: None}, "CodeCall -> Decision"),
    ],
)
def test_a_hook_that_cannot_be_called_is_a_config_error(members: dict[str, object], told: str) -> None:
    """A wrong signature is told at once, instead of denying every call; of a plain function as well."""
    with pytest.raises(ConfigError, match=told):
        as_hook(type("Odd", (Whole,), members)())
    with pytest.raises(ConfigError, match="ToolCall -> Decision"):
        as_hook(lambda call, context: Decision.allow())
    assert as_hook(lambda call, context=None: Decision.allow()).name


@pytest.mark.parametrize("name", ["name", "timeout_s", "before_tool_call", "after_tool_call", "before_code"])
def test_an_attribute_that_raises_is_a_config_error(name: str) -> None:
    """What cannot be looked at is no hook."""

    def fail(self: object) -> object:
        raise RuntimeError("no")

    with pytest.raises(ConfigError, match="RuntimeError"):
        as_hook(type("Odd", (Whole,), {name: property(fail)})())


@pytest.mark.parametrize("timeout_s", [0, -1, True, "1", 1e12, float("inf"), float("nan")])
def test_a_limit_that_cannot_be_waited_is_a_config_error(timeout_s: object) -> None:
    """A hook's own limit is a number of seconds that a wait can take."""
    with pytest.raises(ConfigError, match="timeout_s"):
        as_hook(type("Odd", (Whole,), {"timeout_s": timeout_s})())
    assert as_hook(type("Sound", (Whole,), {"timeout_s": 5})()).timeout_s == 5


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

"""Whatever foreign code answers is a value of our own, or none: nothing else gets through, and nothing raises."""

from __future__ import annotations

import enum
import math
from dataclasses import replace

import pytest
from tests.governance.governed import bench, code_call

from smolagents_hardened.governance.answers import decision_of
from smolagents_hardened.governance.call import ToolCall, ToolOutcome
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.served import Refused, Value


class Lazy:
    """Like a proxy outside of its context: even its class cannot be asked for."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("working outside of context")


class Lying(Decision):
    """A Decision that changes its mind, or has none."""

    @property
    def verdict(self) -> object:  # type: ignore[override]
        raise RuntimeError("no verdict")


def nested() -> Decision:
    """An ask whose silence asks, and so on."""
    decision = Decision.deny("x")
    for _ in range(5000):
        decision = Decision.ask("?", otherwise=decision)
    return decision


@pytest.mark.parametrize(
    "make",
    [Lazy, lambda: object.__new__(Lying), lambda: object.__new__(Decision), nested, lambda: Decision.deny(b"no")],
)
def test_an_answer_that_cannot_be_looked_at_denies(make: object) -> None:
    """Proxies, subclasses, hollow and endless Decisions are denials with a code of their own."""
    with bench(lambda call: make()) as it:  # type: ignore[operator]
        served = it.serve()
        assert isinstance(served, Refused)
        assert served.code.startswith("hook_error:")
        assert (it.tool.calls, it.kinds()) == ([], ["refusal"])


def test_an_unsound_answer_of_a_person_denies() -> None:
    """What an approver answers is looked at in the same way."""
    with bench(lambda call: Decision.ask("?"), approver=lambda request: Lazy()) as it:
        assert it.serve().code == "approval_error"  # type: ignore[union-attr]


class Code(enum.StrEnum):
    """Codes of somebody's own."""

    TOO_FAR = "too_far"


def test_an_enums_text_is_plain_on_record() -> None:
    """A StrEnum as code or reason stands on record as its value."""
    with bench(lambda call: Decision.deny(Code.TOO_FAR, code=Code.TOO_FAR)) as it:
        served = it.serve()
        assert (it.last()["code"], it.last()["reason"]) == ("too_far", "too_far")
    assert type(served.code) is str  # type: ignore[union-attr]


def test_a_sound_answer_is_itself() -> None:
    """Nothing is copied that need not be."""
    answer = Decision.allow("fine")
    assert decision_of(answer) is answer


def test_one_approver_is_one_name() -> None:
    """`approvers="alice"` is Alice and not five letters."""
    assert Decision.ask("?", approvers="alice").approvers == ("alice",)


@pytest.mark.parametrize("verdict", [Decision.respond(1), Decision.ask("?", otherwise=Decision.respond(1))])
def test_what_does_not_fit_a_snippet_is_a_hook_error(verdict: Decision) -> None:
    """A snippet has no value to answer with, not in case of silence either."""

    class Reader:
        def before_tool_call(self, call: ToolCall) -> Decision:
            return Decision.allow()

        def before_code(self, code: object) -> Decision:
            return verdict

    with bench(Reader(), approver=lambda request: True) as it:
        refused = it.governor.judge_code(code_call())
    assert refused is not None
    assert (refused.code, "respond, which does not fit a snippet" in refused.reason) == ("hook_error:type", True)


class BrokenShadow:
    """A hook that cannot say whether it is a shadow, once it is armed."""

    is_armed = False

    def before_tool_call(self, call: ToolCall) -> Decision:
        return Decision.allow()

    @property
    def is_shadow(self) -> bool:
        if self.is_armed:
            raise RuntimeError("no")
        return False


def test_a_hook_that_cannot_say_whether_it_counts_denies() -> None:
    """`is_shadow` that raises is a broken hook; before, the same hook allows."""
    hook = BrokenShadow()
    with bench(hook) as it:
        assert isinstance(it.serve(), Value)
        hook.is_armed = True
        assert it.serve().code == "hook_error:exception"  # type: ignore[union-attr]


# ---- outcomes ---------------------------------------------------------------------------------------------------

SOUND = ToolOutcome("ok", 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "okay"),
        ("status", []),
        ("duration_s", None),
        ("duration_s", math.nan),
        ("duration_s", math.inf),
        ("error_type", None),
        ("error_message", 5),
        ("labels", ["x"]),
        ("labels", frozenset({1})),
    ],
)
def test_an_unsound_outcome_is_told_by_its_field(field: str, value: object) -> None:
    """An after-hook's ToolOutcome with a wrong field withholds the result, names the field, and is on record."""

    class Odd:
        answer = SOUND

        def before_tool_call(self, call: object) -> Decision:
            return Decision.allow()

        def after_tool_call(self, call: object, outcome: object) -> ToolOutcome:
            return self.answer

    hook = Odd()
    with bench(hook) as it:
        assert it.serve() == Value(1)
        hook.answer = replace(SOUND, **{field: value})  # type: ignore[arg-type]
        served = it.serve()
        assert isinstance(served, Refused)
        assert (served.code, served.has_run, it.last()["kind"]) == ("hook_error:type", True, "outcome")
        assert field in served.reason

"""Ask every hook about a call, as often as its arguments change, until one verdict stands. Doubt refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from smolagents_hardened.audit.digest import digest
from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.arguments import for_hook, private_copy
from smolagents_hardened.governance.asking import TimedOut, ask
from smolagents_hardened.governance.call import CodeCall, ToolCall
from smolagents_hardened.governance.hooks import Decision, NamedHook, Verdict
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.verdicts import Opinion, strictest

# A hook that changes what another hook has changed could go on for ever.
MAX_ROUNDS = 3

Check = Callable[[Mapping[str, object]], Mapping[str, object]]
Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict on one call: `call` with the arguments it is about, and every opinion that led there.

    `decision` is stop, deny, respond or allow. `asks` have to be granted on top, whatever it allows.
    """

    call: ToolCall
    arguments: dict[str, object]  # the governor's own copy: what runs
    decision: Decision
    opinions: tuple[Opinion, ...] = ()
    asks: tuple[Opinion, ...] = ()


@dataclass(frozen=True, slots=True)
class Jury:
    """The hooks of one governor, in their order, and how to ask them."""

    hooks: Sequence[NamedHook]
    loop: LoopThread
    timeout_s: float | None = None

    def judge(self, call: ToolCall, check: Check) -> Judged:
        """Ask all hooks; check a changed call and ask them all again, in at most MAX_ROUNDS rounds.

        An ask is kept through later rounds: a hook that asks once only must not lose its question to another's change.
        """
        try:
            current = _Current.of(call, call.arguments)
        except ValueError as error:
            return Judged(call, {}, Decision.deny(str(error), code="invalid_arguments"))
        opinions: list[Opinion] = []
        asks: dict[int, Opinion] = {}
        for number in range(1, MAX_ROUNDS + 1):
            latest = self._round(current, number)
            opinions += latest
            asks |= {place: one for place, one in enumerate(latest) if one.decision.verdict is Verdict.ASK}
            decision = strictest(latest)
            if decision.verdict is Verdict.MODIFY:
                changed = current.changed(decision, check)
                if isinstance(changed, _Current):
                    if changed.call.digest != current.call.digest:
                        current = changed
                        continue
                    changed = Decision.allow(decision.reason)
                decision = changed
            return Judged(current.call, current.arguments, decision, tuple(opinions), tuple(asks.values()))
        reason = f"the hooks still change its arguments after {MAX_ROUNDS} rounds"
        denial = Decision.deny(reason, code="too_many_modifications")
        return Judged(current.call, current.arguments, denial, tuple(opinions), tuple(asks.values()))

    def judge_code(self, code: CodeCall) -> tuple[Opinion, ...]:
        """Ask the hooks that look at code; they may allow, deny, ask or stop."""
        opinions = []
        for hook in self.hooks:
            if hook.code is None:
                continue
            decision = self._decision(hook, hook.code, code)
            if decision.verdict in (Verdict.MODIFY, Verdict.RESPOND):
                decision = _wrong(hook.name, f"{decision.verdict}, which does not fit a snippet")
            opinions.append(Opinion(hook.name, 1, decision))
        return tuple(opinions)

    def _round(self, current: _Current, number: int) -> list[Opinion]:
        made = []
        for hook in self.hooks:
            shown = replace(current.call, arguments=for_hook(current.arguments))
            made.append(Opinion(hook.name, number, self._decision(hook, hook.before, shown)))
        return made

    def _decision(
        self, hook: NamedHook, function: Callable[[Subject], object], subject: Subject
    ) -> Decision:
        try:
            answer = ask(lambda: function(subject), self.loop, self.timeout_s)
        except RunStopped as stop:
            return Decision.stop(stop.reason)
        except TimedOut:
            return Decision.deny(f"hook {hook.name} did not answer within {self.timeout_s} s", code="hook_error:timeout")
        except (KeyboardInterrupt, SystemExit):
            raise  # the person at the keyboard, not the hook
        except BaseException as error:  # noqa: BLE001  whatever goes wrong in a hook is a denial
            return Decision.deny(f"hook {hook.name} failed with {type(error).__name__}", code="hook_error:exception")
        return _checked(hook.name, answer)


@dataclass(frozen=True, slots=True)
class _Current:
    """The call as it stands in one round, and the private arguments its digest was made of."""

    call: ToolCall
    arguments: dict[str, object]

    @classmethod
    def of(cls, call: ToolCall, arguments: Mapping[str, object]) -> _Current:
        own = private_copy(arguments)
        return cls(replace(call, arguments=for_hook(own), digest=digest(call.tool, own)), own)

    def changed(self, decision: Decision, check: Check) -> _Current | Decision:
        """The call with a hook's arguments, checked like the snippet's own."""
        try:
            return _Current.of(self.call, check(private_copy(decision.arguments or {})))
        except Exception as error:  # noqa: BLE001  arguments that cannot be checked are not run
            told = str(error) if isinstance(error, ValueError | TypeError) else type(error).__name__
            return Decision.deny(f"a hook changed the arguments to ones that do not fit: {told}", code="invalid_arguments")


def _checked(hook: str, answer: object) -> Decision:
    """A Decision that is what it says; anything else is a denial that names the hook."""
    if answer is None:
        return Decision.deny(f"hook {hook} returned None instead of a Decision", code="hook_error:none")
    if not isinstance(answer, Decision) or not isinstance(answer.verdict, Verdict):
        return _wrong(hook, type(answer).__name__)
    if answer.verdict is Verdict.MODIFY:
        arguments = answer.arguments
        if not isinstance(arguments, Mapping) or not all(type(name) is str for name in arguments):
            return _wrong(hook, "modify without arguments by keyword")
    if not isinstance(answer.reason, str) or not isinstance(answer.code, str):
        return _wrong(hook, "a Decision whose reason or code is no text")
    return answer


def _wrong(hook: str, what: str) -> Decision:
    return Decision.deny(f"hook {hook} returned {what} instead of a Decision", code="hook_error:type")

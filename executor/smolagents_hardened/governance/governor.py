"""The one way to a tool: judged, recorded, run, recorded. Whatever is in doubt is refused.

Order matters: no tool runs before its INTENT is on record, nothing is given back before its OUTCOME is, and
what runs is the governor's own copy of what the hooks were shown, proven by its digest.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence

from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.after import Aftermath, review
from smolagents_hardened.governance.approval import Approval, Approver, Desk
from smolagents_hardened.governance.arguments import private_copy
from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome
from smolagents_hardened.governance.hooks import Decision, Verdict, as_hook
from smolagents_hardened.governance.judge import Candidate, Check, Judgement, Jury
from smolagents_hardened.governance.ledger import Ledger
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.served import Failed, Refused, Served, StillRunning, Value
from smolagents_hardened.governance.verdicts import Opinion, strictest

Run = Callable[[Mapping[str, object]], object]

_INTERRUPTED = Decision.deny("the person at the keyboard interrupted the run", code="interrupted")


class Governor:
    """Serves the tool calls of one executor.

    `clock` is monotonic, in seconds. `approver(call, prompt, timeout_s)` answers asks with True, False or a
    Decision; it runs in a thread of its own. `hook_timeout_s` limits each hook. Without hooks every call is
    allowed, and recorded. `loop` runs async hooks and may run async tools; `close` ends it.

    Raises ConfigError for something that is no hook.
    """

    def __init__(
        self,
        hooks: Sequence[object],
        trail: Trail,
        *,
        clock: Callable[[], float],
        run_id: str,
        approver: Approver | None = None,
        hook_timeout_s: float | None = None,
    ) -> None:
        self.trail = trail
        self.run_id = run_id
        self.loop = LoopThread()
        self._clock = clock
        self._ledger = Ledger(trail)
        self._jury = Jury(tuple(as_hook(hook) for hook in hooks), self.loop, hook_timeout_s)
        self._desk = Desk(approver, self.loop)

    def serve(self, call: ToolCall, check: Check, run: Run) -> Served:
        """Judge one call and, if it stands, run it.

        `call.arguments` have been checked already; `check` is for those a hook puts in their place: it
        returns the arguments to run with, or raises ValueError or TypeError. `run` gets them by keyword, as
        a mapping of its own; it raises StillRunning for a tool that it gave up waiting for.

        Raises RunStopped, after it is on record; AuditError when a record cannot be written (then the tool
        was not run; only if the message says that it has run, its result is withheld); KeyboardInterrupt
        and SystemExit as they come.
        """
        approvals: list[Approval] = []
        try:
            judgement = self._jury.judge(call, check)
            judgement.decision = self._settled(judgement, approvals)
        except (KeyboardInterrupt, SystemExit):
            self._ledger.refusal(Judgement(Candidate(call, {}), _INTERRUPTED), approvals)
            raise
        decision = judgement.decision
        if decision.verdict in (Verdict.STOP, Verdict.DENY):
            self._ledger.refusal(judgement, approvals)
            return _refused(decision)
        self._ledger.intent(judgement, approvals)
        if decision.verdict is Verdict.RESPOND:
            return self._conclude(judgement.candidate, ToolOutcome("responded", decision.value), None)
        return self._run(judgement.candidate, run)

    def judge_code(self, code: CodeCall) -> Refused | None:
        """Judge one snippet before it runs and record it; None lets it run. Raises RunStopped and
        AuditError.
        """
        approvals: list[Approval] = []
        try:
            opinions = self._jury.judge_code(code)
            decision = self._granted(code, strictest(opinions), opinions, approvals)
        except (KeyboardInterrupt, SystemExit):
            self._ledger.code(code, _INTERRUPTED, (), approvals)
            raise
        self._ledger.code(code, decision, opinions, approvals)
        return None if decision.verdict is Verdict.ALLOW else _refused(decision)

    def interrupt(self) -> None:
        """End every wait for an approval, now, as a refusal with the code `interrupted`. Any thread may
        call it.
        """
        self._desk.interrupt()

    def close(self) -> None:
        """End the thread for async hooks. Idempotent; the trail is its owner's to close."""
        self.loop.close()

    def _settled(self, judgement: Judgement, approvals: list[Approval]) -> Decision:
        """The last word: the hooks' decision, if every ask is granted for exactly the call that would run."""
        candidate, decision = judgement.candidate, judgement.decision
        call = candidate.call
        decision = self._granted(call, decision, tuple(judgement.asks.values()), approvals)
        if decision.verdict not in (Verdict.ALLOW, Verdict.RESPOND):
            return decision
        is_covered = all(approval.covers(call.call_id, call.digest) for approval in approvals)
        if not is_covered or not candidate.is_unchanged():
            return Decision.deny("its arguments changed while they were judged", code="arguments_changed")
        return decision

    def _granted(
        self,
        subject: ToolCall | CodeCall,
        decision: Decision,
        opinions: Sequence[Opinion],
        approvals: list[Approval],
    ) -> Decision:
        """`decision`, unless it refuses already or an ask among the opinions is not granted. Nobody is
        asked in vain.
        """
        if decision.verdict in (Verdict.STOP, Verdict.DENY):
            return decision
        for opinion in opinions:
            if opinion.decision.verdict is Verdict.ASK:
                approval = self._desk.ask(subject, opinion.decision)
                approvals.append(approval)
                if approval.decision.verdict is not Verdict.ALLOW:
                    return approval.decision
        return decision

    def _run(self, candidate: Candidate, run: Run) -> Served:
        # The after-hooks see what was judged, whatever the tool does to the arguments it gets.
        judged = Candidate(candidate.call, private_copy(candidate.arguments))
        started = self._clock()
        try:
            value = run(candidate.arguments)
        except StillRunning as error:
            return self._failed(judged, "unknown", error, started)
        except Exception as error:  # noqa: BLE001  a tool's exception is the snippet's to handle
            return self._failed(judged, "error", error, started)
        except BaseException as error:
            status = "stopped" if isinstance(error, RunStopped) else "interrupted"
            outcome = ToolOutcome(status, None, type(error).__name__, str(error), self._clock() - started)
            self._ledger.outcome(judged.call, Aftermath(outcome))
            raise
        return self._conclude(judged, ToolOutcome("ok", value, duration_s=self._clock() - started), None)

    def _failed(self, candidate: Candidate, status: str, error: Exception, started: float) -> Served:
        outcome = ToolOutcome(status, None, type(error).__name__, _message(error), self._clock() - started)
        return self._conclude(candidate, outcome, error)

    def _conclude(self, candidate: Candidate, outcome: ToolOutcome, error: Exception | None) -> Served:
        try:
            aftermath = review(self._jury, candidate, outcome)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            stop = RunStopped(type(interrupt).__name__)
            self._ledger.outcome(candidate.call, Aftermath(outcome, stop=stop))
            raise
        self._ledger.outcome(candidate.call, aftermath)
        if aftermath.stop is not None:
            raise aftermath.stop
        if aftermath.refused is not None:
            return aftermath.refused
        final = aftermath.outcome
        if final.status in ("ok", "responded"):
            return Value(final.value)
        return Failed(error if error is not None and final is outcome else _rebuilt(final))


def _refused(decision: Decision) -> Refused:
    if decision.verdict is Verdict.STOP:
        raise RunStopped(decision.reason)
    return Refused(decision.reason, decision.code or "denied")


def _message(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  an exception that cannot tell what it is must not hide that the tool ran
        return ""


def _rebuilt(outcome: ToolOutcome) -> Exception:
    """The exception that a hook's ToolOutcome tells of; of a builtin type, since it came as a name."""
    kind = getattr(builtins, outcome.error_type, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError | ExceptionGroup):
        return kind(outcome.error_message)
    return RuntimeError(outcome.error_message or "a hook replaced the result by an error")

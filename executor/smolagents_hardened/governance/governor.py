"""The one way to a tool: judged, recorded, run, recorded. Whatever is in doubt is refused.

Order matters: no tool runs before its INTENT is on record, nothing is given back before its OUTCOME is, and what runs is the
governor's own copy of what the hooks were shown, proven by its digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from smolagents_hardened.audit.digest import digest
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import AuditError, RunStopped
from smolagents_hardened.governance.after import Aftermath, review
from smolagents_hardened.governance.approval import Approval, Approver, Desk
from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome
from smolagents_hardened.governance.hooks import Decision, Verdict, as_hook
from smolagents_hardened.governance.judge import Check, Judged, Jury
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.served import Failed, Refused, Served, StillRunning, Value
from smolagents_hardened.governance.verdicts import Opinion, strictest

Run = Callable[[Mapping[str, object]], object]


class Governor:
    """Serves the tool calls of one executor.

    `clock` is monotonic, in seconds. `approver(call, prompt, timeout_s)` answers asks with True, False or a Decision; it runs
    in a thread of its own. `hook_timeout_s` limits each hook. `loop` runs async hooks and approvers; one of its own is made
    and ended by `close` when none is given. Without hooks every call is allowed, and recorded.

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
        loop: LoopThread | None = None,
    ) -> None:
        self.trail = trail
        self.run_id = run_id
        self._clock = clock
        self._is_loop_ours = loop is None
        self._loop = loop if loop is not None else LoopThread()
        self._jury = Jury(tuple(as_hook(hook) for hook in hooks), self._loop, hook_timeout_s)
        self._desk = Desk(approver, self._loop)

    def serve(self, call: ToolCall, check: Check, run: Run) -> Served:
        """Judge one call and, if it stands, run it.

        `call.arguments` have been checked already; `check` is for those a hook puts in their place: it returns the arguments
        to run with, or raises ValueError or TypeError. `run` gets them by keyword.

        Raises RunStopped, after it is on record; AuditError when the record cannot be written (the tool was not run, or, if
        the message says so, it was and nothing more is known); KeyboardInterrupt and SystemExit as they come.
        """
        try:
            judged = self._jury.judge(call, check)
            decision, approvals = self._settled(judged)
        except (KeyboardInterrupt, SystemExit):
            self._refuse(Judged(call, dict(call.arguments), Decision.deny("interrupted", code="interrupted")), ())
            raise
        judged = _with(judged, decision)
        match decision.verdict:
            case Verdict.STOP | Verdict.DENY:
                return self._refuse(judged, approvals)
            case Verdict.RESPOND:
                self._intend(judged, approvals)
                return self._conclude(judged, ToolOutcome("responded", decision.value), None)
            case Verdict.ALLOW:
                self._intend(judged, approvals)
                return self._run(judged, run)
            case _:
                raise AssertionError(f"{decision.verdict} is no final verdict")

"""A person's word on one call: asked for with a time limit, bound to the call's id and digest, used once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.asking import Interrupted, TimedOut, Worker
from smolagents_hardened.governance.call import CodeCall, ToolCall
from smolagents_hardened.governance.hooks import Decision, Verdict
from smolagents_hardened.governance.loop import LoopThread

# (call or snippet, prompt, time limit in seconds or None) -> granted?
Approver = Callable[[ToolCall | CodeCall, str, float | None], object]


@dataclass(frozen=True, slots=True)
class Approval:
    """An answer and what it was given for: good for this call with these arguments, and for no other."""

    call_id: str
    digest: str
    prompt: str
    decision: Decision  # allow, deny or stop

    def covers(self, call_id: str, digest: str) -> bool:
        """Whether it grants exactly this call."""
        return self.decision.verdict is Verdict.ALLOW and (self.call_id, self.digest) == (call_id, digest)

    def told(self) -> dict[str, object]:
        """What the trail keeps of it."""
        decision = self.decision
        return {
            "prompt": self.prompt,
            "verdict": decision.verdict.value,
            "reason": decision.reason,
            "code": decision.code,
        }


class Desk:
    """Where asks are answered. `interrupt` may be called from any thread and ends every wait at once."""

    def __init__(self, approver: Approver | None, loop: LoopThread) -> None:
        self._approver = approver
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: set[Worker] = set()

    def ask(self, subject: ToolCall | CodeCall, asked: Decision) -> Approval:
        """Put one question. Whatever is no clear yes is a denial with its code."""
        call_id = subject.call_id if isinstance(subject, ToolCall) else ""
        return Approval(call_id, subject.digest, asked.prompt, self._decision(subject, asked))

    def interrupt(self) -> None:
        """End the waits that are open now; each is a denial with the code `interrupted`."""
        with self._lock:
            waiting = tuple(self._waiting)
        for worker in waiting:
            worker.wake()

    def _decision(self, subject: ToolCall | CodeCall, asked: Decision) -> Decision:
        approver = self._approver
        if approver is None:
            reason = f"it needs a person's approval ({asked.prompt}), and there is nobody to ask"
            return Decision.deny(reason, code="approval_unavailable")
        try:
            return _granted(self._wait(lambda: approver(subject, asked.prompt, asked.timeout_s), asked.timeout_s))
        except TimedOut:
            return Decision.deny(f"nobody approved it within {asked.timeout_s} s", code="approval_timeout")
        except Interrupted:
            return Decision.deny("the run was interrupted while it waited for approval", code="interrupted")
        except RunStopped as stop:
            return Decision.stop(stop.reason)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  whatever goes wrong while asking is no approval
            return Decision.deny(f"asking for approval failed with {type(error).__name__}", code="approval_error")

    def _wait(self, function: Callable[[], object], timeout_s: float | None) -> object:
        # Always in a thread of its own: `interrupt` must be able to end the wait.
        worker = Worker(function, self._loop, timeout_s)
        with self._lock:
            self._waiting.add(worker)
        try:
            return worker.wait()
        finally:
            with self._lock:
                self._waiting.discard(worker)


def _granted(answer: object) -> Decision:
    if answer is True:
        return Decision.allow()
    if answer is False:
        return Decision.deny("a person refused it", code="approval_denied")
    if isinstance(answer, Decision) and answer.verdict in (Verdict.ALLOW, Verdict.DENY, Verdict.STOP):
        return answer
    return Decision.deny(f"the approver answered {type(answer).__name__}, not yes or no", code="approval_error")

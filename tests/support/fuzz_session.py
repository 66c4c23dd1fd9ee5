"""A whole session against a guest that sends anything at any time: real toolbox, governor and trail, a clock of its own.

Time is virtual. A guest that is silent lets it run on at once, so that every deadline is reached in microseconds, and a
loop that would never end shows as too many reads.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from itertools import count

from tests.support import fuzz_messages
from tests.support.fuzz_choices import Choices
from tests.support.fuzz_trees import tree

from smolagents_hardened.audit.digest import digest
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.backends.base import Exit, Manifest, Received, Stream
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.errors import BackendError, BoxDied, BoxError, NotEnforced, RunStopped
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.limits import KIB, Limits
from smolagents_hardened.outcome import Broke, FinalAnswer, Finished, LimitHit, Raised
from smolagents_hardened.session import Session
from smolagents_hardened.toolbox import Toolbox
from smolagents_hardened.wire.messages import (
    PROTOCOL_VERSION,
    Call,
    Done,
    Hello,
    Listing,
    Log,
    Message,
    Picture,
    Piece,
    Ready,
    Values,
)
from smolagents_hardened.wire.paths import is_shown
from smolagents_hardened.wire.values import encode

LIMITS = Limits(
    start_s=5.0, wall_s=2.0, grace_s=0.5, frames=60, calls=8, logs_bytes=2 * KIB, scratch_files=6,
    frame_bytes=64 * KIB, value_bytes=16 * KIB, blob_bytes=256 * KIB, nodes=2000, depth=32, text_bytes=4 * KIB,
)  # fmt: skip
MOST_READS = 2000  # of one run of the target; frames, drips and deadlines all end far below it
OUTCOMES = (Finished, FinalAnswer, Raised, LimitHit, Broke)
TOOLS = ("echo", "fail", "forbidden", "keep", "use", "stop", "final_answer")


class VirtualBox:
    """Implements backends.base.Box and Channel: what comes is decided by `choices`, when it is asked for."""

    id = "virtual"
    enforcement = Enforcement("test", ())
    manifest = Manifest("none", "3.11", frozenset(), {})

    def __init__(self, choices: Choices) -> None:
        self.channel = self
        self.now = 0.0
        self.is_killed = False
        self.is_closed = False
        self.sent_tokens: list[int] = []  # of every call that was written to the wire, in order
        self._choices = choices
        self._is_gone = False  # the wire has ended
        self._pending: list[bytes] = []
        self._reads = 0
        self._seq = 0  # of the latest Run, as an honest guest would know it
        self._call = 0
        self._tokens = count(1)
        self._is_first = True

    # ---- Channel -----------------------------------------------------------------------------------------

    def send(self, data: bytes, timeout_s: float) -> None:
        assert not self.is_closed, "a box that was given up is written to"
        if self._is_gone:
            raise BoxDied("the box is gone")
        if self._choices.chance(64):
            self.now += timeout_s
            raise TimeoutError
        raw = json.loads(data[4:])
        if raw["type"] == "run":
            self._seq = raw["seq"]

    def receive(self, timeout_s: float) -> Received | None:
        assert not self.is_closed, "a box that was given up is read from"
        self._reads += 1
        assert self._reads < MOST_READS, "the session does not end"
        self.now += 0.001
        if self._is_gone:
            return Received(Stream.WIRE, b"")
        if self._pending:
            return Received(Stream.WIRE, self._pending.pop(0))
        if self._choices.is_over:
            self.now += timeout_s
            return None
        return self._act(timeout_s)

    def wake(self) -> None:
        return

    def _act(self, timeout_s: float) -> Received | None:
        match self._choices.below(16):
            case 0:
                self.now += timeout_s
                return None
            case 1:
                self.now += min(timeout_s, self._choices.below(8) / 4)
                return None
            case 2:
                return Received(Stream.STDERR, self._choices.raw(64) * (1 + self._choices.below(60)))
            case 3 if self._choices.chance(6):
                self._is_gone = True
                return Received(Stream.WIRE, b"")
            case 4:
                flood = fuzz_messages.frame_of(fuzz_messages.body(self._choices, "box"))
                self._pending = [flood] * self._choices.below(80)
            case 5:
                self._pending = self._choices.split(self._frame(self._message()))
            case 6 if self._choices.chance(3):
                self._pending = [self._choices.raw(64) or b"\0"]
            case 7:
                self._pending = [fuzz_messages.frame_of(fuzz_messages.body(self._choices, "box"))]
            case _:
                self._pending = [self._frame(self._message())]
        return Received(Stream.WIRE, self._pending.pop(0)) if self._pending else None

    def _message(self) -> Message:
        """A message that fits, more often than not: a liar who knows the protocol gets furthest."""
        choices, self._is_first, is_first = self._choices, False, self._is_first
        if is_first and choices.below(8):
            return Hello(PROTOCOL_VERSION, "3.11", {})
        match choices.below(12):
            case 9:
                names = ("a", "b", "b/c", "a%0A", choices.text())
                return Listing(
                    tuple((name, 1, 1) for name in names[choices.below(3) : choices.below(6)]), choices.chance(3)
                )
            case 10:
                data = choices.raw(20)
                tree_of = encode(data).tree if choices.below(4) else tree(choices)
                return Piece("none" if choices.below(4) else "changed", len(data) + choices.below(4), tree_of)
            case 11:
                return Picture(tree(choices))
            case 0:
                return Log(choices.text())
            case 1:
                return Ready("" if choices.below(4) else choices.text())
            case 2:
                return Values({"x": tree(choices)}, (), {"y": ("type", choices.text())} if choices.below(2) else {})
            case 3:
                kind = choices.pick(("value", "error", "final", "interrupted"))
                return Done(
                    self._seq, kind, choices.text(), "int", bool(choices.below(2)), tree(choices), choices.below(10)
                )  # type: ignore[arg-type]
            case 4:
                return fuzz_messages.from_box(choices)
            case _:
                return self._tool_call()

    def _tool_call(self) -> Call:
        """A call whose first argument tells it from every other."""
        choices = self._choices
        self._call += 1 if choices.below(8) else choices.below(3)
        token = next(self._tokens)
        self.sent_tokens.append(token)
        kwargs = {choices.pick(("extra", "self", "token")): tree(choices)} if choices.chance(3) else {}
        return Call(self._call, choices.pick(TOOLS), (token, tree(choices))[: 1 + choices.below(2)], kwargs)

    def _frame(self, message: Message) -> bytes:
        text = json.dumps(fuzz_messages.raw_tree(message), ensure_ascii=True)
        return fuzz_messages.frame_of(text.encode())

    # ---- Box ---------------------------------------------------------------------------------------------

    def verify(self, raw_report: dict[str, object]) -> Enforcement:
        if self._choices.chance(32):
            self.close()
            raise NotEnforced("by choice")
        return self.enforcement

    def interrupt(self) -> None:
        if self._choices.chance(32):
            raise BackendError("the engine is gone")

    def kill(self) -> None:
        self.is_killed = True

    def cpu_s(self) -> float | None:
        return None if self._choices.chance(4) else self.now / 2

    def exit(self) -> Exit:
        return Exit(self._choices.pick(("exit", "signal", "oom", "killed", "unknown")), None, "by choice")

    def close(self) -> None:
        self.is_killed = self.is_closed = True


class Host:
    """The host's side: six tools that note when they ran, a hook that refuses one of them and stops at another."""

    def __init__(self, box: VirtualBox) -> None:
        self.box = box
        self.ran: list[object] = []  # first argument of every tool that was run, in order
        self.stop_reasons: list[str] = []
        self.wrongs: list[str] = []
        self.is_latched = False
        self.is_running = False
        self.trail = Trail(clock=lambda: 0.0)
        self._ids = count(1)
        self._governor = Governor([self._judge], self.trail, clock=lambda: box.now, run_id="run")
        self._toolbox = Toolbox(
            self._governor, LIMITS, self._make_call, lambda: {"run": "run", "step": 1, "agent": "agent"}
        )
        self._toolbox.replace({name: self._tool(name) for name in TOOLS})
        self.session = Session(box, LIMITS, self._toolbox.serve, self._print)
        self.session._clock = lambda: box.now  # the only handle on time there is

    def close(self) -> None:
        self._governor.close()
        self.trail.close()

    def _tool(self, name: str) -> Callable[..., object]:
        def run(token: object, extra: object = None) -> object:
            # Noted, not raised: whatever a tool raises is served as its error.
            self.wrongs += ["a tool ran outside a step"] * (not self.is_running)
            self.wrongs += ["a tool ran after the final answer"] * self.is_latched
            self.wrongs += ["a tool ran for a box that was given up"] * self.box.is_closed
            self.ran.append(token)
            self.box.now += 0.3
            if name == "fail":
                raise ValueError(f"cannot: {extra!r}")
            if name == "keep":
                return object()
            self.is_latched = name == "final_answer"
            return extra

        return run

    def _judge(self, call: ToolCall) -> Decision:
        if call.tool == "forbidden":
            return Decision.deny("never")
        return Decision.stop("enough") if call.tool == "stop" else Decision.allow()

    def _make_call(self, tool: str, arguments: Mapping[str, object]) -> ToolCall:
        return ToolCall(
            str(next(self._ids)), "run", 1, "agent", ("agent",), tool, arguments, digest(tool, arguments), "code"
        )

    def _print(self, text: str) -> None:
        assert self.is_running
        assert len(text) <= LIMITS.frame_bytes


def session(data: bytes) -> None:
    """Whatever a guest sends, and whenever: each order ends in an Outcome or a typed error within its limits; a session
    that ended has given its box up and reads no more of it; tools run only during a step, before the final answer, once for
    each call that came, in that order, with INTENT and OUTCOME around each.
    """
    choices = Choices(data)
    box = VirtualBox(choices)
    host = Host(box)
    try:
        _life(host, choices)
        host.session.close()
        assert box.is_closed
        assert set(host.stop_reasons) <= {"enough"}
        _check_calls(host)
    finally:
        host.close()


def _life(host: Host, choices: Choices) -> None:
    session = host.session
    if not _typed(host, session.open):
        return
    for _ in range(1 + choices.below(4)):
        value = encode({"x": choices.raw(4)})
        orders: tuple[Callable[[], object], ...] = (
            lambda: _step(host),
            lambda: session.configure(("re",), TOOLS, "standard"),
            lambda value=value: session.set(value.tree, value),  # type: ignore[misc]
            lambda: _get(session),
            lambda: _list(session),
            lambda: _read(session, choices),
            lambda: session.picture(choices.below(3)),
        )
        if not _typed(host, choices.pick((orders[0], *orders))):
            return


def _typed(host: Host, act: Callable[[], object]) -> bool:
    """Do it; whether the session can go on. Any error that is not one of the typed ones leaves as it is."""
    started = host.box.now
    try:
        act()
    except BoxError:
        assert host.box.is_closed, "a box that misbehaved was not given up"
    except BackendError:
        pass  # the engine's fault, or a box that says it cannot take the variables: it may go on
    except RunStopped as stopped:
        host.stop_reasons.append(stopped.reason)
    # A step may end at its wall, then at the grace, then wait for nothing; tools take 0.3 s each, which does not count.
    assert host.box.now - started < 30
    assert host.session.is_alive != host.box.is_closed
    return host.session.is_alive


def _step(host: Host) -> None:
    host.is_running, host.is_latched, before = True, False, len(host.ran)
    try:
        outcome = host.session.run("code", LIMITS.wall_s)
    finally:
        host.is_running = False
    assert isinstance(outcome, OUTCOMES)
    assert len(host.ran) - before <= LIMITS.calls
    assert not isinstance(outcome, Broke) or host.box.is_closed
    assert isinstance(outcome, FinalAnswer) == host.is_latched
    if isinstance(outcome, FinalAnswer | LimitHit):
        assert outcome.state_lost == host.box.is_closed
    assert len(outcome.logs) <= LIMITS.logs_bytes + LIMITS.frame_bytes


def _get(session: Session) -> None:
    with contextlib.suppress(KeyError):
        session.get("x")


def _list(session: Session) -> None:
    paths = [path for path, _, _ in session.list_files()]
    assert paths == sorted(set(paths))
    assert all(is_shown(path) for path in paths)
    assert len(paths) <= LIMITS.scratch_files


def _read(session: Session, choices: Choices) -> None:
    offset, most = choices.below(4), choices.below(20)
    problem, size, data = session.read_piece("a", offset, most)
    assert len(data) == (max(0, min(most, size - offset)) if problem == "none" else 0)


def _check_calls(host: Host) -> None:
    assert host.wrongs == []
    ran = [token for token in host.ran if type(token) is int and token in host.box.sent_tokens]
    assert ran == sorted(set(ran)), "a call was run twice, or out of order"
    records = list(host.trail.records())
    intents = [record["call"] for record in records if record["kind"] == "intent"]
    outcomes = [record["call"] for record in records if record["kind"] == "outcome"]
    assert intents == outcomes
    assert len(intents) >= len(host.ran), "a tool ran without an INTENT"

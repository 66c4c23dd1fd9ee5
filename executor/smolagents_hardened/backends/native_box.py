"""One native box: interrupt it, end it, ask how it ended, remove it."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
import time

from smolagents_hardened.backends import native_scratch
from smolagents_hardened.backends.base import Exit, Manifest, may_start_processes
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.backends.native_channel import PipeChannel
from smolagents_hardened.backends.native_scratch import Watch
from smolagents_hardened.backends.native_witness import Witnesses, judge
from smolagents_hardened.backends.polling import has_ended
from smolagents_hardened.backends.spawner import Spawner, Started
from smolagents_hardened.backends.witness import combine
from smolagents_hardened.errors import BackendError, BoxDied

EXIT_S = 5.0  # from a kill to the end of the process, and from there to the spawner's word about it
CLOSED_S = 0.5  # from the end of the wire, which the kernel closes in the middle of an exit: milliseconds
SIGNALS = frozenset(number.value for number in signal.Signals)
GONE = -1  # in place of a descriptor
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class NativeBox:
    """A running box. `interrupt`, `kill` and `close` may be called by any thread.

    A process that is forked off the host inherits this object without owning the box: there every act does nothing.
    """

    def __init__(
        self,
        started: Started,
        channel: PipeChannel,
        status: int,
        witnesses: Witnesses,
        manifest: Manifest,
        spawner: Spawner,
    ) -> None:
        self.id = f"native-{os.getpid()}-{witnesses.user}-{started.pid}"
        self.channel = channel
        self.manifest = manifest
        self.enforcement: Enforcement = combine("native", [])  # nothing is known before HELLO
        self._pidfd = started.pidfd
        self._pid = started.pid
        self._stat = _open_stat(started.pid)  # held open: it is read around every tool call
        self._status = status  # how the box ended comes out of here
        self._witnesses = witnesses
        self._spawner = spawner  # held: it must outlive its boxes
        self._owner = os.getpid()
        self._lock = threading.Lock()  # guards the fields below and the two descriptors
        self._was_killed = False  # set by a `kill` that found the box alive
        self._exit: Exit | None = None  # set once, by the first `exit` that found the box ended
        self._is_closed = False

    def verify(self, raw_report: dict[str, object]) -> Enforcement:
        """Join the kernel's word and the box's own report. Raises NotEnforced and BoxDied; the box is gone then."""
        self.enforcement = judge(self._witnesses, raw_report)
        lacking = self.enforcement.lacking(self._witnesses.request.required)
        # Looked at last: what /proc told under that number was told of the box, or counts for nothing. One that is
        # ending has lost its namespaces a moment before it has ended.
        if self._wait(CLOSED_S if lacking else 0.0):
            ended = self.exit()
            self.close()
            raise BoxDied(f"the box ended while it started: {ended.detail}", ended.cause)
        if lacking is not None:
            self.close()
            raise lacking
        return self.enforcement

    def interrupt(self) -> None:
        """Send SIGINT to the box's first process; a box that has ended does not mind."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End everything in the box and wait until the kernel says so. Idempotent."""
        if self._signal(signal.SIGKILL):
            self._was_killed = True
        self._wait(EXIT_S)

    def cpu_s(self) -> float | None:
        """CPU seconds of the box's one process, its threads included, or of its group; None when it has ended."""
        if may_start_processes(self._witnesses.request.profile):
            return self._witnesses.group.cpu_s()
        try:
            raw = os.pread(self._stat, 1024, 0)
        except OSError:
            return None
        # proc(5): the name may hold anything, so count from its closing bracket; utime and stime are 14 and 15
        fields = raw.rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def exit(self) -> Exit:
        """How it ended; waits up to CLOSED_S for the end. A status of 128 + n reads as signal n."""
        has_ended = self._wait(CLOSED_S)
        with self._lock:
            if self._exit is not None:
                return self._exit
            if self._is_closed:
                return Exit("unknown", None, "the box was removed before anybody asked how it ended")
            if not has_ended:
                return Exit("unknown", None, "it closed the wire and ran on")
            self._exit = self._how(read_line(self._status, EXIT_S))
            return self._exit

    def close(self) -> None:
        """End the box and remove every trace of it. Idempotent. Raises BackendError where something stays."""
        if os.getpid() != self._owner:
            return
        self.kill()
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self.channel.close()
            stat, self._stat = self._stat, GONE
            for descriptor in {self._pidfd, stat, self._status} - {GONE}:
                os.close(descriptor)
        self._spawner.release()
        try:
            self._witnesses.group.remove()
        except OSError as error:
            raise BackendError(f"the control group of a native box cannot be removed: {error}") from error

    def _signal(self, number: signal.Signals) -> bool:
        """Whether there still was something to send it to."""
        with self._lock:
            if self._is_closed or os.getpid() != self._owner:
                return False
            if has_ended(self._pidfd, 0.0):
                return False
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return False
            return True

    def _wait(self, timeout_s: float) -> bool:
        """Wait for the end of the pid namespace's first process; without the lock, so that others can act."""
        with self._lock:
            if self._is_closed or os.getpid() != self._owner:
                return True
            mine = os.dup(self._pidfd)
        try:
            return has_ended(mine, timeout_s)
        finally:
            os.close(mine)

    def _how(self, told: dict[str, object]) -> Exit:
        code = told.get("code")
        if isinstance(code, int) and code - 128 in SIGNALS:
            code = 128 - code  # so the first process says how the runner ended where that is its child
        if self._witnesses.group.oom_kills():
            return Exit("oom", None, "it used more memory than its limit")
        if self._was_killed:
            return Exit("killed", None, "it was ended by the host")
        if not isinstance(code, int):
            return Exit("unknown", None, "the spawner ended before it could say how the box ended")
        if code < 0:
            name = signal.Signals(-code).name
            spent = " (as the CPU time limit and someone on the host do)" if name == "SIGKILL" else ""
            return Exit("signal", 128 - code, f"it was ended by {name}{spent}")
        return Exit("exit", code, f"it ended with status {code}")


class BareBox(NativeBox):
    """A box whose scratch is a directory of the host: it is ended where it writes too much, and its scratch with it."""

    def __init__(
        self,
        started: Started,
        channel: PipeChannel,
        status: int,
        witnesses: Witnesses,
        manifest: Manifest,
        spawner: Spawner,
    ) -> None:
        super().__init__(started, channel, status, witnesses, manifest, spawner)
        self._excess = ""  # set by the watch before it kills
        limits = witnesses.request.limits
        self._watch = Watch(witnesses.scratch, limits.scratch_bytes, limits.scratch_files, self._end_for)

    def close(self) -> None:
        """End the box and remove its scratch too."""
        super().close()
        if os.getpid() == self._owner:
            self._watch.stop()
            native_scratch.remove(self._witnesses.scratch)

    def _end_for(self, excess: str) -> None:
        self._excess = excess
        self.kill()

    def _how(self, told: dict[str, object]) -> Exit:
        if self._excess:
            return Exit("killed", None, f"it was ended by the host: its scratch directory held {self._excess}")
        return super()._how(told)


def read_line(status: int, timeout_s: float) -> dict[str, object]:
    """The next line of a status pipe as JSON; empty when the pipe has ended or nothing came."""
    line = b""
    deadline = time.monotonic() + timeout_s
    while not line.endswith(b"\n"):
        poller = select.poll()
        poller.register(status, select.POLLIN)
        if not poller.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            return {}
        piece = os.read(status, 1)
        if not piece:
            return {}
        line += piece
    found = json.loads(line)
    return found if isinstance(found, dict) else {}


def _open_stat(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return GONE

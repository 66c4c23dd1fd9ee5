"""One container: interrupt it, end it, ask how it ended, remove it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import docker
import requests
from docker.errors import APIError, NotFound

from smolagents_hardened.backends.base import Channel, Exit, Manifest
from smolagents_hardened.backends.docker_channel import AttachChannel
from smolagents_hardened.backends.docker_engine import lost
from smolagents_hardened.backends.docker_process import BoxProcess
from smolagents_hardened.backends.docker_witness import Witnesses, judge
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.backends.witness_kernel import CpuClock
from smolagents_hardened.errors import BackendError, BoxDied

EXIT_S = 10  # from the end of the wire to the engine's record of how the box ended
ENDING_S = 0.5  # from the first sign of an exit in /proc to its end: milliseconds
OOM_S = 0.5  # the engine hears of an out-of-memory kill by another path than of the exit, up to this much later
CONFLICT = 409  # the engine's answer when the container has ended already, or is being removed
SIGNALS = frozenset(number.value for number in signal.Signals)


class Debts:
    """Containers that could not be removed because the engine was away: the next box's start or end removes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}  # name or id -> until when one that does not exist may still come to be

    def owe(self, container: str, late_s: float = 0.0) -> None:
        """Note one. late_s: for so long the engine may still make it, where it was asked to and gave no answer."""
        with self._lock:
            self._noted[container] = time.monotonic() + late_s

    def settle(self, client: docker.DockerClient) -> None:
        """Remove what is noted. Raises BackendError, and keeps the rest noted, where the engine refuses."""
        with self._lock:
            for name, until in tuple(self._noted.items()):
                if remove(client, name) or time.monotonic() > until:
                    del self._noted[name]


class DockerBox:
    """A running container. `interrupt`, `kill` and `close` may be called by any thread.

    A process that is forked off the host inherits this object without owning the container: there no act does
    anything.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        channel: AttachChannel,
        witnesses: Witnesses,
        manifest: Manifest,
        debts: Debts,
    ) -> None:
        self._debts = debts
        self.id = str(witnesses.raw_inspect["Id"])
        self.channel: Channel = channel
        self._attached = channel
        self.manifest = manifest
        self.enforcement: Enforcement = judge(witnesses, None)  # the engine's word; `verify` adds the others'
        self._client = client
        self._witnesses = witnesses
        self._owner = os.getpid()
        self._lock = threading.Lock()  # guards the fields below
        self._was_killed = False  # set when the engine took our kill, and not when the box had ended before
        self._exit: Exit | None = None  # set once, by the first `exit` that found the box ended
        self._is_closed = False  # set once the container is gone
        pid = witnesses.pid
        self._process = BoxProcess(pid, self.id)
        self._clock = None if pid is None else CpuClock(pid)

    def verify(self, raw_report: dict[str, object]) -> Enforcement:
        """Join engine, kernel and the box's own report. Raises NotEnforced and BoxDied; the box is gone then."""
        self.enforcement = judge(self._witnesses, raw_report)
        lacking = self.enforcement.lacking(self._witnesses.plan.request.required)
        # Looked at last: what /proc told was told of the box, or counts for nothing. One that is ending has lost its
        # namespaces a moment before it has ended.
        if self._process.has_ended(ENDING_S if lacking else 0.0):
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
        """End everything in the box and wait until the kernel or the engine says so. Idempotent."""
        if self._signal(signal.SIGKILL):
            with self._lock:
                self._was_killed = True
        if not self._is_foreign() and not self._is_closed and self._process.has_ended(EXIT_S) is None:
            self._wait()

    def cpu_s(self) -> float | None:
        """CPU seconds of the box's cgroup; None with a remote engine, and when the box has ended."""
        return None if self._clock is None else self._clock.read()

    def exit(self) -> Exit:
        """How it ended; waits up to EXIT_S for the engine to know. A status of 128 + n reads as signal n."""
        with self._lock:
            if self._exit is not None:
                return self._exit
            if self._is_closed:
                return Exit("unknown", None, "the box was removed before anybody asked how it ended")
            was_killed = self._was_killed
        if not self._wait():
            return Exit("unknown", None, f"the box was still running after {EXIT_S} s")
        found = _how(self._state(was_killed), was_killed)
        with self._lock:
            self._exit = self._exit or found
            return self._exit

    def close(self) -> None:
        """Remove every trace of the box. Idempotent. Raises BackendError where the engine refuses."""
        if self._is_foreign():
            return
        self._attached.close()
        with self._lock:
            if self._is_closed:
                return
            try:
                remove(self._client, self.id)
            except BackendError:
                self._debts.owe(self.id)
                if not self._process.has_ended(0.0):
                    raise  # and where nothing of it runs any more, what is owed is but a row in the engine's books
            self._is_closed = True
            self._process.close()
        with contextlib.suppress(BackendError):  # what stays noted is tried again with the next box
            self._debts.settle(self._client)

    def _is_foreign(self) -> bool:
        return os.getpid() != self._owner

    def _signal(self, number: signal.Signals) -> bool:
        """Whether there still was something to send it to."""
        if self._is_foreign():
            return False
        was_there = self._process.signal(number)
        if was_there is not None:
            return was_there
        try:
            with lost(f"send {number.name} to the box"):
                self._client.api.kill(self.id, number.value)
        except BackendError as error:
            if _is_gone(error):
                return False
            raise
        return True

    def _wait(self) -> bool:
        """Wait until the engine knows that the box has ended; False when it still runs after EXIT_S."""
        try:
            with lost("wait for the box to end"):
                self._client.api.wait(self.id, timeout=EXIT_S)
        except BackendError as error:
            if isinstance(error.__cause__, requests.Timeout | requests.ConnectionError):
                return False
            return _is_gone(error)
        return True

    def _state(self, was_killed: bool) -> dict[str, object]:
        deadline = time.monotonic() + OOM_S
        while True:
            try:
                with lost("say how the box ended"):
                    state = dict(self._client.api.inspect_container(self.id)["State"])
            except BackendError as error:
                if _is_gone(error):
                    return {}
                raise
            is_unexplained = state.get("ExitCode") == 128 + signal.SIGKILL and not state.get("OOMKilled")
            if was_killed or not is_unexplained or time.monotonic() > deadline:
                return state
            time.sleep(0.05)


def remove(client: docker.DockerClient, container: str) -> bool:
    """Remove a container in whatever state it is; False where there is none. Raises BackendError."""
    try:
        with lost("remove the box"):
            client.api.remove_container(container, force=True, v=True)
    except BackendError as error:
        if not _is_gone(error):
            raise
        return not isinstance(error.__cause__, NotFound)  # or it is on its way out
    return True


def _is_gone(error: BackendError) -> bool:
    cause = error.__cause__
    if isinstance(cause, NotFound):
        return True
    return isinstance(cause, APIError) and cause.response is not None and cause.response.status_code == CONFLICT


def _how(state: dict[str, object], was_killed: bool) -> Exit:
    raw_status = state.get("ExitCode")
    status = raw_status if isinstance(raw_status, int) else None
    if state.get("OOMKilled"):
        return Exit("oom", status, "it used more memory than its limit")
    if was_killed:
        return Exit("killed", status, "it was ended by the host")
    if status is None:
        return Exit("unknown", None, "the engine does not know how it ended")
    if status - 128 in SIGNALS:
        name = signal.Signals(status - 128).name
        spent = " (as the CPU time limit and someone on the host do)" if name == "SIGKILL" else ""
        return Exit("signal", status, f"it was ended by {name}{spent}")
    return Exit("exit", status, f"it ended with status {status}")

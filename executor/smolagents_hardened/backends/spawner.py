"""The host's end of a spawner: start it, ask it for boxes, notice that it is gone.

It ends when this process does, however that ends: the kernel closes the control socket, the spawner leaves, and its pid
namespace takes every box along.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from smolagents_hardened.backends import native_cgroup, native_scope, native_scratch, rootfs
from smolagents_hardened.backends.native_causes import refusal
from smolagents_hardened.backends.native_plan import Host
from smolagents_hardened.errors import BackendError, BackendUnavailable

BOXES_EACH = 1000  # the boxes of one spawner share what a clone cannot change: hash seed and address layout
READY_S = 60.0  # to the first answer: pandas takes a second on an idle machine
ANSWER_S = 20.0  # one clone takes milliseconds, also on a loaded machine
END_S = 5.0  # from the end of the control socket to the end of the spawner, which does nothing in between
FAREWELL = b"farewell"  # as in spawner_loop.py: this process lives on
MESSAGE_BYTES = 64 * 1024
SOURCE = Path(__file__).resolve().parents[2]
LAUNCH = (
    "import sys; sys.path.insert(0, sys.argv[1]); from smolagents_hardened.backends.spawner_launch import main; main()"
)


@dataclass(frozen=True, slots=True)
class Started:
    """The spawner's answer: a box that is being set up."""

    pidfd: int
    pid: int  # as this host numbers it


class SpawnerGone(BackendError):
    """The spawner has ended; a fresh one can be started."""


class Spawner:
    """One spawner process. Any thread may call; requests go one at a time.

    settings: what native_plan.spawner_settings made for `host`. is_scoped: start it in a scope of systemd's.
    """

    def __init__(self, root: Path, host: Host, settings: dict[str, object], *, is_scoped: bool = False) -> None:
        self.host = host
        self._owner = os.getpid()
        self._lock = threading.Lock()  # guards the fields below and the order of questions and answers
        self._numbers = 0  # given out; the next box's number is one higher
        self._living = 0  # boxes started and not closed
        self._requests = 0  # sent; each answer says to which it belongs
        self._is_retired = False  # it makes no more boxes, and ends with its last one
        self._process: subprocess.Popen[bytes] | None = None
        self._root = _hold(root)
        self._diary = os.memfd_create("smolagents-hardened-spawner")  # what it prints, for the error message
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = _launch(root, theirs, self._diary, _command(theirs, settings, is_scoped=is_scoped))
            ready, _ = self._receive(READY_S)
            _refuse_failure(ready)
            self.scope = self._settle() if is_scoped else None  # where the groups of its boxes are made
        except BaseException:
            self.close()
            raise
        self.address_bytes = int(str(ready["address_bytes"]))  # of the spawner, and so of each box to begin with
        left_out = ready["left_out"]
        self.left_out: dict[str, str] = left_out if isinstance(left_out, dict) else {}
        _OPEN.add(self)

    @property
    def is_spent(self) -> bool:
        """Whether it has made as many boxes as it should."""
        return self._numbers >= BOXES_EACH

    def is_alive(self) -> bool:
        """Whether it is there, and is ours: not that of a process we were forked off."""
        if self._owner != os.getpid() or self._control.fileno() < 0 or self._process is None:
            return False
        return self._process.poll() is None

    def has_ended(self, timeout_s: float) -> bool:
        """Whether it ends within that time."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def retire(self) -> None:
        """Make no more boxes, and end with the last one."""
        with self._lock:
            self._is_retired = True
            is_last = not self._living
        if is_last:
            self.close()

    def release(self) -> None:
        """One box of it has been closed."""
        with self._lock:
            self._living -= 1
            is_last = self._is_retired and not self._living
        if is_last:
            self.close()

    def next_number(self) -> int:
        """The number of the next box; each is used once."""
        with self._lock:
            self._numbers += 1
            return self._numbers

    def spawn(self, plan: dict[str, object], descriptors: list[int]) -> Started:
        """Start a box with `descriptors`, which stay the caller's. Raises SpawnerGone and BackendUnavailable.

        The caller says `release` once the box has ended.
        """
        with self._lock:
            self._requests += 1
            spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)  # room for the answer's, before there is a box
            try:
                request = json.dumps(plan | {"request": self._requests})
                socket.send_fds(self._control, [request.encode()], descriptors)
            except OSError as error:
                raise self._gone(f"is gone: {error.strerror or error}") from error
            finally:
                os.close(spare)
            received = self._answer(self._requests)
            if not received:
                raise self._gone("could not hand over a box: this process has too many open files")
            self._living += 1
        try:
            return Started(received[0], pid_of(received[0]))
        except OSError:
            signal.pidfd_send_signal(received[0], signal.SIGKILL)
            os.close(received[0])
            self.release()
            raise

    def close(self) -> None:
        """End it, and with it every box of it. Idempotent."""
        with contextlib.suppress(OSError):
            self._control.settimeout(0)
            self._control.send(FAREWELL)
        self._control.close()
        if self._process is not None and self._owner == os.getpid():
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()  # takes the spawner along, which takes the boxes along
                self._process.wait()
        _OPEN.discard(self)
        with self._lock:
            descriptors, self._diary, self._root = {self._diary, self._root} - {-1}, -1, -1
        for descriptor in descriptors:
            os.close(descriptor)

    def _answer(self, request: int) -> list[int]:
        """The descriptor that answers this request. Where an earlier one was given up half-way, that box is ended."""
        while True:
            answer, descriptors = self._receive(ANSWER_S)
            if answer.get("request") == request:
                _refuse_failure(answer)
                return descriptors
            for descriptor in descriptors:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                os.close(descriptor)

    def _receive(self, timeout_s: float) -> tuple[dict[str, object], list[int]]:
        try:
            self._control.settimeout(timeout_s)
            raw, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, 1)
        except TimeoutError as error:
            if self._process is not None:
                self._process.kill()  # it hangs: waiting for it to end by itself would take as long again
            raise self._gone(f"did not answer within {timeout_s:g} s") from error
        except OSError as error:
            raise self._gone(f"is gone: {error.strerror or error}") from error
        if not raw:
            raise self._gone(f"has ended{self._last_words()}")
        answer: dict[str, object] = json.loads(raw)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return answer, descriptors

    def _settle(self) -> Path:
        assert self._process is not None
        try:
            return native_scope.settle(self._process.pid)
        except OSError as error:
            raise SpawnerGone(f"the spawner of native boxes has no scope: {error.strerror or error}") from error

    def _gone(self, text: str) -> SpawnerGone:
        """The error to raise. The socket is closed: a late answer would be taken for that to the next question."""
        self._control.close()
        return SpawnerGone(f"the spawner of native boxes {text}")

    def _last_words(self) -> str:
        size = os.fstat(self._diary).st_size
        text = os.pread(self._diary, 2000, max(0, size - 2000)).decode(errors="replace").strip()
        return f"; its last words: {text}" if text else ""


_OPEN: set[Spawner] = set()


def _let_go() -> None:
    """In a process forked off the host: the boxes are not its own, and its copy of the socket would keep them alive."""
    for spawner in _OPEN:
        spawner._control.close()


def close_all() -> None:
    """End every spawner of this process, and all boxes. Called when the interpreter ends; a kill does the same."""
    for spawner in list(_OPEN):
        spawner.close()
    native_cgroup.remove_own()  # of boxes that nobody has closed
    native_scratch.remove_own()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
atexit.register(close_all)


def _hold(root: Path) -> int:
    """A descriptor that keeps the root file system from being removed as unused (native_root.prune)."""
    import fcntl  # not on Windows, where this module can be imported too

    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError as error:
        raise SpawnerGone(f"the root file system {root} is gone: {error.strerror or error}") from error
    return descriptor


def _refuse_failure(answer: dict[str, object]) -> None:
    if "failed" in answer:
        number, label = int(str(answer["errno"] or errno.EPERM)), str(answer.get("label", ""))
        raise BackendUnavailable(refusal(str(answer["failed"]), number, label))


def pid_of(pidfd: int) -> int:
    """The process behind a pidfd as this host numbers it; 0 once it is gone."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return max(0, int(line.split()[1]))
    return 0


def _command(control: socket.socket, settings: dict[str, object], *, is_scoped: bool) -> list[str]:
    program = [str(rootfs.executable()), "-I", "-S", "-B", "-c", LAUNCH, str(SOURCE)]
    program += [str(control.fileno()), json.dumps(settings)]
    return native_scope.command(program) if is_scoped else program


def _launch(root: Path, control: socket.socket, diary: int, command: list[str]) -> subprocess.Popen[bytes]:
    """Start the launcher with nothing of ours but the control socket, in a session of its own."""
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=diary,
            stderr=diary,
            env=native_scope.environment() if command[0] == native_scope.RUN else {},
            cwd=root,
            close_fds=True,
            pass_fds=(control.fileno(),),
            start_new_session=True,
        )
    except OSError as error:
        raise BackendUnavailable(f"the spawner of native boxes cannot be started: {error}") from error

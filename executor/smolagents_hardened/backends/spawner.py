"""The host's end of a spawner: start it, ask it for boxes, notice that it is gone.

One per process, root file system and set of preloaded modules; it stays warm between sessions and is replaced after
BOXES_EACH boxes, because the boxes of one spawner share what a clone cannot change: hash seed and address layout. It ends
when this process does, however that ends: the kernel closes the control socket, and the pid namespace takes the boxes along.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path

from smolagents_hardened.backends import native_plan, rootfs
from smolagents_hardened.backends.native_causes import refusal
from smolagents_hardened.backends.native_plan import Host
from smolagents_hardened.errors import BackendError, BackendUnavailable

BOXES_EACH = 1000
READY_S = 60.0  # to the first answer: pandas takes a second on an idle machine
ANSWER_S = 20.0  # one clone takes milliseconds, also on a loaded machine
MESSAGE_BYTES = 64 * 1024
SOURCE = Path(__file__).resolve().parents[2]
LAUNCH = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from smolagents_hardened.backends.spawner_launch import main; main()"
)


@dataclass(frozen=True, slots=True)
class Started:
    """The spawner's answer: a box that is being set up."""

    pidfd: int
    pid: int  # as this host numbers it


class SpawnerGone(BackendError):
    """The spawner has ended; a fresh one can be started."""


class Spawner:
    """One spawner process. Any thread may call; requests go one at a time."""

    def __init__(self, root: Path, preload: tuple[str, ...], *, is_lean: bool = False) -> None:
        self.host: Host = native_plan.host_of(os.geteuid(), os.getegid())
        self.preload = preload
        self.boxes = 0  # started so far; the next one's number is one higher
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._diary = os.memfd_create("smolagents-hardened-spawner")  # what it prints, for the error message
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                settings = native_plan.spawner_settings(self.host, preload, is_lean=is_lean)
                self._process = _launch(root, theirs, self._diary, settings)
            ready = self._receive(READY_S)[0]
        except BaseException:
            self.close()
            raise
        self.address_bytes = int(str(ready["address_bytes"]))  # of the spawner, and so of each box to begin with
        left_out = ready["left_out"]
        self.left_out: dict[str, str] = left_out if isinstance(left_out, dict) else {}
        _LIVING.add(self)

    @property
    def is_spent(self) -> bool:
        """Whether it has made as many boxes as it should."""
        return self.boxes >= BOXES_EACH

    def is_alive(self) -> bool:
        """Whether the process is there, and is ours: not that of a process we were forked off."""
        return self._owner == os.getpid() and self._control.fileno() >= 0 and self._process.poll() is None

    def next_number(self) -> int:
        """The number of the next box; each is used once."""
        with self._lock:
            self.boxes += 1
            return self.boxes

    def spawn(self, plan: dict[str, object], descriptors: list[int]) -> Started:
        """Start a box with `descriptors`, which stay the caller's. Raises SpawnerGone and BackendUnavailable."""
        with self._lock:
            try:
                socket.send_fds(self._control, [json.dumps(plan).encode()], descriptors)
            except OSError as error:
                raise SpawnerGone(f"the spawner of native boxes is gone: {error.strerror or error}") from error
            _, received = self._receive(ANSWER_S)
        return Started(received[0], pid_of(received[0]))

    def close(self) -> None:
        """End it, and with it every box of it. Idempotent."""
        self._control.close()
        process = getattr(self, "_process", None)
        if process is not None and self._owner == os.getpid():
            try:
                process.wait(ANSWER_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._diary >= 0:
            os.close(self._diary)
            self._diary = -1

    def _receive(self, timeout_s: float) -> tuple[dict[str, object], list[int]]:
        self._control.settimeout(timeout_s)
        try:
            raw, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, 1)
        except TimeoutError as error:
            raise SpawnerGone(f"the spawner of native boxes did not answer within {timeout_s:g} s") from error
        except OSError as error:
            raise SpawnerGone(f"the spawner of native boxes is gone: {error.strerror or error}") from error
        if not raw:
            raise SpawnerGone(f"the spawner of native boxes has ended{self._last_words()}")
        answer = json.loads(raw)
        if "failed" in answer:
            raise BackendUnavailable(refusal(str(answer["failed"]), int(answer["errno"] or errno.EPERM)))
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return answer, descriptors

    def _last_words(self) -> str:
        size = os.fstat(self._diary).st_size
        text = os.pread(self._diary, 2000, max(0, size - 2000)).decode(errors="replace").strip()
        return f"; its last words: {text}" if text else ""


_LIVING: weakref.WeakSet[Spawner] = weakref.WeakSet()


def _let_go() -> None:
    """In a process forked off the host: the boxes are not its own, and its copy of the socket would keep them alive."""
    for spawner in _LIVING:
        spawner._control.close()


os.register_at_fork(after_in_child=_let_go)


def pid_of(pidfd: int) -> int:
    """The process behind a pidfd as this host numbers it; 0 once it is gone."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return max(0, int(line.split()[1]))
    return 0


def _launch(root: Path, control: socket.socket, diary: int, settings: dict[str, object]) -> subprocess.Popen[bytes]:
    """Start the launcher with nothing of ours but the control socket, in a session of its own."""
    command = [str(rootfs.executable()), "-I", "-S", "-B", "-c", LAUNCH, str(SOURCE)]
    command += [str(control.fileno()), json.dumps(settings)]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=diary,
            stderr=diary,
            env={},
            cwd=root,
            close_fds=True,
            pass_fds=(control.fileno(),),
            start_new_session=True,
        )
    except OSError as error:
        raise BackendUnavailable(f"the spawner of native boxes cannot be started: {error}") from error

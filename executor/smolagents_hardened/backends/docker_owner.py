"""Whose box it is, and who cleans up when the owner cannot: a reaper for each host process, a sweep, an exit hook.

The engine keeps a container whose maker is dead, also one that spins with every signal ignored. Each container
therefore carries its owner in a label: host, process, and when that process started, so that a number used again by
another process is not taken for it.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import platform
import select
import subprocess
import sys
import threading
import time
import weakref
from functools import cache
from pathlib import Path
from typing import Protocol

import docker
import psutil

from smolagents_hardened.backends.docker_box import remove
from smolagents_hardened.backends.docker_engine import translated, url
from smolagents_hardened.errors import BackendError, BackendUnavailable

OWNER_LABEL = "smolagents-hardened.owner"
PROGRAM = Path(__file__).with_name("docker_reaper.py")
# What the SDK reads to find the engine; nothing else of the host's environment reaches the reaper.
ENVIRONMENT = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG", "HOME", "PATH", "SSH_AUTH_SOCK")
READY_S = 30.0  # for an interpreter to start on a loaded machine
DISMISS_S = 2.0  # it answers in milliseconds while its engine does
FORGOTTEN_S = 24 * 3600  # another boot's or host's box that ended and that nobody has asked about for so long


class Closable(Protocol):
    """A box, as far as the exit hook is concerned."""

    def close(self) -> None: ...


class Reaper:
    """A process that removes this process' boxes once its standard input, a pipe that only we hold, ends."""

    def __init__(self, client: docker.DockerClient) -> None:
        order = {"owner": owner(), "label": OWNER_LABEL, "url": url(client), "path": sys.path}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(PROGRAM), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            start_new_session=True,  # a Ctrl-C at the terminal is not for it
        )
        self._expect_ready()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def dismiss(self) -> None:
        """Let it go: every box is closed, so it looks once and ends. Where its engine is gone it goes on alone."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(b"done", timeout=DISMISS_S)

    def disown(self) -> None:
        """In a forked child: close its copy of the pipe, which would keep the reaper waiting for the wrong process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.returncode = 0  # not this process' child: nothing to wait for

    def _expect_ready(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        poller = select.poll()
        poller.register(stream, select.POLLIN)
        if not poller.poll(READY_S * 1000) or stream.read(1) != b"r":
            self._process.kill()
            self._process.communicate()
            raise BackendUnavailable(
                f"the process that cleans up after a crash could not be started with {sys.executable!r}; "
                "without it a box could outlive this program"
            )


_lock = threading.Lock()
_reapers: dict[str, Reaper] = {}  # by the engine's address
_boxes: weakref.WeakSet[Closable] = weakref.WeakSet()


def watch(client: docker.DockerClient) -> None:
    """Make sure that a reaper for this engine waits for the end of this process; called before a box is made."""
    address = url(client) or "the environment's"
    with _lock:
        reaper = _reapers.get(address)
        if reaper is None or not reaper.is_alive():
            _reapers[address] = Reaper(client)


def adopt(box: Closable) -> None:
    """Close this box when the process ends in an orderly way, if nobody has by then."""
    _boxes.add(box)


def owner() -> str:
    """This process, as a label."""
    return f"{_host()}:{os.getpid()}:{_started(os.getpid())}"


def sweep(client: docker.DockerClient) -> int:
    """Remove the boxes of dead processes of this host, and long forgotten ones; their number."""
    with translated("list its containers"):
        found = client.api.containers(all=True, filters={"label": OWNER_LABEL})
    removed = 0
    for container in found:
        if _is_orphan(container["Labels"][OWNER_LABEL], str(container["State"]), float(container["Created"])):
            remove(client, container["Id"])
            removed += 1
    return removed


def _is_orphan(label: str, state: str, created: float) -> bool:
    host, _, process = label.partition(":")
    if host != _host():
        return state in ("exited", "dead") and time.time() - created > FORGOTTEN_S
    number, _, started = process.partition(":")
    return not number.isdigit() or _started(int(number)) != started


@cache
def _host() -> str:
    """This boot of this host, and this pid namespace in it: where a process number means what it means here."""
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        text = boot + os.readlink("/proc/self/ns/pid")
    else:
        text = f"{platform.node()} {psutil.boot_time()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _started(pid: int) -> str | None:
    """When the process started, None where there is none (any more)."""
    if sys.platform != "linux":
        try:
            return str(psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # proc(5): the name, in parentheses, may hold anything; state is the next field, the start time the 22nd
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _on_exit() -> None:
    for box in list(_boxes):
        with contextlib.suppress(BackendError):  # the reaper tries again
            box.close()
    for reaper in _reapers.values():
        reaper.dismiss()


def _in_child() -> None:
    """A forked child owns nothing: not the boxes, not the reaper; its own boxes get their own."""
    for reaper in _reapers.values():
        reaper.disown()
    _reapers.clear()
    _boxes.clear()
    _lock.release()


atexit.register(_on_exit)
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_in_child)

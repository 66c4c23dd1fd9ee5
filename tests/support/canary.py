"""What stands outside a box for attacks to reach for: a file, a variable, a process, listeners. And whether it still stands."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "HARDENED_CANARY"
SECRET = "canary-" + secrets.token_hex(16)
# Set when the tests are collected: before any backend starts a process that could hand it on.
os.environ[VARIABLE] = SECRET


@dataclass(slots=True)
class Listener:
    """A listening socket that counts who comes."""

    socket: socket.socket
    visits: int = 0

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return  # closed: the world has ended
            self.visits += 1
            connection.close()

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes accept, which close alone does not
        self.socket.close()


@dataclass(frozen=True, slots=True)
class World:
    """The outside, for one module of tests."""

    folder: Path
    file: Path
    playground: Path  # where controls may write
    sleeper: subprocess.Popen[bytes]
    tcp: Listener
    by_path: Listener
    abstract: Listener
    before: dict[str, object] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.tcp.socket.getsockname()[1])

    @property
    def socket_path(self) -> str:
        return str(self.by_path.socket.getsockname())

    @property
    def abstract_name(self) -> str:
        return str(self.abstract.socket.getsockname()[1:].decode())

    def a_root_with_an_engine(self) -> str:
        """A directory that looks like a root with an engine's socket in it."""
        planted = self.playground / "a-root" / "run" / "docker.sock"
        if not planted.is_symlink():
            planted.parent.mkdir(parents=True)
            planted.symlink_to(self.socket_path)
        return str(self.playground / "a-root")

    def look(self) -> dict[str, object]:
        """All that an attack could have changed."""
        return {
            "file": hashlib.sha256(self.file.read_bytes()).hexdigest(),
            "mode": self.file.stat().st_mode,
            "names": sorted(path.name for path in self.folder.iterdir()),
            "variable": os.environ.get(VARIABLE),
            "sleeper": self.sleeper.poll(),
            "visits": [self.tcp.visits, self.by_path.visits, self.abstract.visits],
            "children": sorted(_children()),
            "threads": threading.active_count(),
        }


def _children() -> set[int]:
    """The processes that this one has started, but those of the package, which backends start when they need them."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            numbers = (task / "children").read_text().split()
            found.update(int(number) for number in numbers if not _is_ours(number))
        except OSError:
            continue  # the thread or the process has ended meanwhile
    return found


def _is_ours(number: str) -> bool:
    return b"smolagents_hardened" in Path(f"/proc/{number}/cmdline").read_bytes()


def make_world(folder: Path) -> World:
    """Plant everything."""
    outside, playground = folder / "outside", folder / "playground"
    outside.mkdir()
    playground.mkdir()
    file = outside / "canary.txt"
    file.write_text(SECRET)
    listeners = [_listener(socket.AF_INET, ("127.0.0.1", 0))]
    listeners.append(_listener(socket.AF_UNIX, str(outside / "s")))
    listeners.append(_listener(socket.AF_UNIX, f"\0{SECRET}"))
    return World(outside, file, playground, subprocess.Popen(["sleep", "600"]), *listeners)


def end_world(world: World) -> None:
    """Take everything away."""
    for listener in (world.tcp, world.by_path, world.abstract):
        listener.close()
    world.sleeper.kill()
    world.sleeper.wait()


def _listener(family: socket.AddressFamily, address: object) -> Listener:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.bind(address)
    made.listen()
    listener = Listener(made)
    threading.Thread(target=listener.serve, daemon=True).start()
    return listener

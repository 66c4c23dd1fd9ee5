"""What the host plants for a box to find: canary files, a canary variable, a sentinel process, sockets that listen.

Each secret is random, so a box that says one has got it from where it lies.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

PREFIX = "hardened-selftest-"  # what a program may look for; what follows it is the secret
VARIABLE = "HARDENED_SELFTEST_CANARY"
MOST_ADDRESSES = 6  # of this host's own, to listen on
SETTLE_S = 0.05  # for a connection that was made to show up


@dataclass(frozen=True, slots=True)
class Hit:
    """Something reached a socket of the host's."""

    where: str


class Listeners:
    """Sockets on loopback, on this host's own addresses, on a path and on an abstract name; each hit is kept."""

    def __init__(self, directory: Path) -> None:
        self._selector = selectors.DefaultSelector()
        self._closing = threading.Event()
        self.hits: list[Hit] = []
        self.tcp: list[tuple[int, str, int]] = []
        self.udp: list[tuple[int, str, int]] = []
        self.path = str(directory / "socket")
        self.abstract = f"{PREFIX}{secrets.token_hex(8)}"
        for family, address in own_addresses():
            for kind, found in ((socket.SOCK_STREAM, self.tcp), (socket.SOCK_DGRAM, self.udp)):
                with contextlib.suppress(OSError):  # an address may have gone meanwhile; loopback is checked below
                    found.append((int(family), address, self._inet(family, kind, address)))
        for name in (self.path, f"\0{self.abstract}"):
            self._add(socket.socket(socket.AF_UNIX), name, f"unix {name.strip(chr(0))}")
        os.chmod(self.path, 0o777)  # nosec B103 - every user has to be able to reach it: that is what is tested
        if not self.tcp or self.tcp[0][1] != "127.0.0.1":
            raise OSError("the self-test cannot listen on 127.0.0.1")
        self._thread = threading.Thread(target=self._watch, daemon=True, name="hardened-selftest")
        self._thread.start()

    def take(self) -> list[Hit]:
        """What has come since the last time."""
        self._closing.wait(SETTLE_S)
        taken, self.hits = self.hits, []
        return taken

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            self._shut(key)
        self._selector.close()

    def _inet(self, family: socket.AddressFamily, kind: socket.SocketKind, address: str) -> int:
        listener = socket.socket(family, kind)
        self._add(listener, (address, 0), f"{'tcp' if kind is socket.SOCK_STREAM else 'udp'} {address}")
        return int(listener.getsockname()[1])

    def _add(self, listener: socket.socket, address: object, where: str) -> None:
        try:
            listener.bind(address)  # type: ignore[arg-type]  # a pair or a path, by family
        except OSError:
            listener.close()
            raise
        if listener.type == socket.SOCK_STREAM:
            listener.listen()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, where)

    def _watch(self) -> None:
        while not self._closing.is_set():
            for key, _ in self._selector.select(SETTLE_S):
                listener = key.fileobj
                assert isinstance(listener, socket.socket)  # nosec B101 - nothing else is registered
                with contextlib.suppress(OSError):
                    if listener.type == socket.SOCK_STREAM:
                        listener.accept()[0].close()
                    else:
                        listener.recv(100)
                    self.hits.append(Hit(str(key.data)))

    def _shut(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        assert isinstance(key.fileobj, socket.socket)  # nosec B101 - nothing else is registered
        key.fileobj.close()


def own_addresses() -> Iterator[tuple[socket.AddressFamily, str]]:
    """Loopback, then some of this host's other addresses."""
    yield socket.AF_INET, "127.0.0.1"
    yield socket.AF_INET6, "::1"
    others = [
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    for text in sorted(set(others))[:MOST_ADDRESSES]:
        yield socket.AF_INET, text


class Plant:
    """Everything that is planted; `close` takes it away. While it stands, VARIABLE is in this process' environment."""

    def __init__(self) -> None:
        self.file_secret, self.name_secret = secrets.token_hex(16), secrets.token_hex(16)
        self.variable_secret, self.process_secret = secrets.token_hex(16), secrets.token_hex(16)
        with contextlib.ExitStack() as undo:
            self.directories = [self._directory(place, undo) for place in _places()]
            self.listeners = Listeners(self.directories[0])
            undo.callback(self.listeners.close)
            os.environ[VARIABLE] = PREFIX + self.variable_secret
            undo.callback(os.environ.pop, VARIABLE, None)
            self._sentinel = self._start_sentinel()
            undo.callback(lambda: _end(self._sentinel))
            self._undo = undo.pop_all()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no box can know."""
        return (self.file_secret, self.name_secret, self.variable_secret, self.process_secret)

    def given(self) -> dict[str, object]:
        """What every program is told: where things lie, never what is in them."""
        return {
            "prefix": PREFIX,
            "directories": [str(directory) for directory in self.directories],
            "files": [str(directory / "canary") for directory in self.directories],
            "tcp": self.listeners.tcp,
            "udp": self.listeners.udp,
            "path": self.listeners.path,
            "abstract": self.listeners.abstract,
            "sentinel": self._sentinel.pid,
        }

    def is_sentinel_alive(self) -> bool:
        """Whether the sentinel still runs; a dead one is replaced."""
        if self._sentinel.poll() is None:
            return True
        _end(self._sentinel)
        self._sentinel = self._start_sentinel()
        return False

    def take_litter(self) -> list[str]:
        """Names in the canary directories that the host has not put there; they are removed."""
        known = {"canary", f"{PREFIX}{self.name_secret}", "socket"}
        found = [path for directory in self.directories for path in directory.iterdir() if path.name not in known]
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return [str(path) for path in found]

    def close(self) -> None:
        """Take everything away."""
        self._undo.close()

    def _directory(self, place: str, undo: contextlib.ExitStack) -> Path:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o777)  # nosec B103 - every user may write there: whether one does is what is tested
        (directory / "canary").write_text(f"{PREFIX}{self.file_secret}\n")
        (directory / f"{PREFIX}{self.name_secret}").touch()
        return directory

    def _start_sentinel(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", "-c", "input()", PREFIX + self.process_secret]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _places() -> list[str]:
    """Directories for canaries: the one for temporary files, and shared memory, which a box might share by its ipc."""
    places = [tempfile.gettempdir(), "/dev/shm", "/var/tmp"]  # nosec B108 - nothing is read back from there by name
    return [place for place in dict.fromkeys(places) if os.access(place, os.W_OK | os.X_OK)]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()

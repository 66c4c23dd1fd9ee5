"""A Docker engine of the tests' own, to be killed, stopped and slowed down. The machine's engine is never touched.

It lives in network and mount namespaces of its own: an engine without a bridge removes `docker0` from whatever network
namespace it is in, and its mounts go when it goes. Everything it has is under one directory.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import psutil
from tests.support.backends import DATA

from smolagents_hardened.backends import docker_image, docker_owner
from smolagents_hardened.backends.docker import DockerBackend
from smolagents_hardened.backends.docker_owner import OWNER_LABEL, owner

READY_S = 30.0
CALL_S = 2.0  # for one engine call in these tests: the product waits longer, the behaviour is the same


class Engine:
    """One `dockerd` under `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"unix://{directory}/sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = directory / "log"
        (directory / "config.json").write_text("{}")

    # ---- its life ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it answers."""
        here = self.directory
        # Whose process number is still in here is dead, but where nobody reaps orphans the engine takes it for alive.
        for name in ("pid", "exec/containerd/containerd.pid"):
            (here / name).unlink(missing_ok=True)
        command = [
            *(
                "unshare",
                "--net",
                "--mount",
                "--propagation",
                "private",
                "dockerd",
                "--config-file",
                f"{here}/config.json",
            ),
            *(
                "--data-root",
                f"{here}/data",
                "--exec-root",
                f"{here}/exec",
                "--pidfile",
                f"{here}/pid",
                "--host",
                self.url,
            ),
            *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
            *("--storage-driver", self._driver(), "--shutdown-timeout", "1"),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        ends = time.monotonic() + READY_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"the tests' own engine does not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it with SIGKILL; its containerd goes with it, its containers do not."""
        assert self._process is not None
        below = psutil.Process(self._process.pid).children()
        self._process.kill()
        self._process.wait()
        ends = time.monotonic() + READY_S
        while any(is_running(process.pid) for process in below):
            assert time.monotonic() < ends
            time.sleep(0.02)

    def restart(self) -> None:
        """End it in an orderly way and start it again."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(READY_S)
        self.start()

    def stop(self) -> None:
        """Freeze it: it takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def heal(self) -> None:
        """Whatever was done to it: it runs and answers after this."""
        assert self._process is not None
        if self._process.poll() is not None:
            self.start()
            return
        self._process.send_signal(signal.SIGCONT)
        ends = time.monotonic() + READY_S
        while not self.answers():
            assert time.monotonic() < ends
            time.sleep(0.05)

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        """Frozen for most of the time, in here."""
        is_over = threading.Event()

        def stutter() -> None:
            while not is_over.is_set():
                self.stop()
                time.sleep(0.15)
                assert self._process is not None
                self._process.send_signal(signal.SIGCONT)
                time.sleep(0.02)

        thread = threading.Thread(target=stutter)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def close(self) -> None:
        """End it, whatever still runs below it, and remove its directory."""
        with contextlib.suppress(RuntimeError):
            self.heal()
            self._end_of_process()  # a reaper would look for an engine that is no more
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(READY_S)
        self._end_leftovers()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end_leftovers(self) -> None:
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.directory) in part for part in process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def _driver(self) -> str:
        """The machine's engine knows which driver works on this kernel."""
        with contextlib.closing(docker.from_env()) as client:
            return str(client.info()["Driver"])

    # ---- its clients -------------------------------------------------------------------------------------

    def client(self, timeout_s: float = CALL_S) -> docker.DockerClient:
        """A client whose calls give up after `timeout_s`."""
        return docker.DockerClient(base_url=self.url, version="1.41", timeout=timeout_s)  # type: ignore[arg-type]

    def answers(self) -> bool:
        """Whether it does, within a second. By hand: the SDK leaves a socket open where it cannot connect."""
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(str(self.directory / "sock"))
                probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return probe.recv(64).startswith(b"HTTP/1.0 200")
        except OSError:
            return False

    def load(self) -> None:
        """Copy the image of this installation from the machine's engine, which builds it if it has none."""
        with DockerBackend() as backend:
            for tag in (backend.manifest().image, backend.manifest(DATA).image):
                pieces = backend._client.api.get_image(tag)
                with contextlib.closing(self.client(60.0)) as client:
                    client.api.load_image(pieces)
                    assert docker_image.find(client, tag) is not None

    def _end_of_process(self) -> None:
        """What the end of this process does for this engine: its reaper removes what nobody has closed."""
        reaper = docker_owner._reapers.pop(self.url, None)
        if reaper is not None:
            reaper.dismiss()

    def boxes(self) -> list[str]:
        """The containers of this process, in whatever state."""
        with contextlib.closing(self.client(10.0)) as client:
            found = client.api.containers(all=True, filters={"label": f"{OWNER_LABEL}={owner()}"})
            return [str(container["Id"]) for container in found]


def is_running(pid: int) -> bool:
    """Whether it is there and no zombie: whoever adopts an orphan may collect it late."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False

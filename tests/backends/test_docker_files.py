"""The files of a Docker box, mounted and streamed; a stream is forced here, as for an engine on another host."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from tests.support.docker_boxes import containers

from smolagents_hardened import ConfigError, HardenedExecutor, Limits
from smolagents_hardened.backends import docker_files
from smolagents_hardened.backends.docker import DockerBackend
from smolagents_hardened.errors import BackendUnavailable

HOST = """
import sys, time
from smolagents_hardened import HardenedExecutor
from smolagents_hardened.backends.docker import DockerBackend
executor = HardenedExecutor(backend=DockerBackend(), files={"a": b"x"})
executor.start()
print(executor._keeper.session._box.id, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def streaming() -> Iterator[DockerBackend]:
    """A backend that takes its engine for one on another host."""
    with DockerBackend(stream_files=True) as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with links, a secret file and a large one."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.txt").write_text("deep")
    (tmp_path / "link").symlink_to("sub/x.txt")
    (tmp_path / "secret").write_text("of the owner")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "large").write_bytes(os.urandom(3_000_001))
    return tmp_path


def volumes(client: docker.DockerClient) -> set[str]:
    """The engine's volumes."""
    return {volume["Name"] for volume in client.api.volumes()["Volumes"] or ()}


def test_a_stream_brings_everything_and_leaves_nothing(
    streaming: DockerBackend, client: docker.DockerClient, source: Path
) -> None:
    """[R17] Contents, links and names are whole; the volume and its carrier are gone with the box."""
    before = volumes(client), containers(client)
    files = {"set/": source, "deep/b.bin": b"bytes", "ä b.txt": source / "secret"}
    with HardenedExecutor(["*"], backend=streaming, files=files) as executor:
        code = (
            "import os, hashlib\n(sorted(os.listdir('/files/set')), os.readlink('/files/set/link'), open('/files/set/link').read(),"
            " open('/files/ä b.txt').read(), open('/files/deep/b.bin').read(), hashlib.sha256(open('/files/set/large', 'rb').read()).hexdigest())"
        )
        names, link, through, secret, data, digest = executor(code).output
        assert names == ["large", "link", "secret", "sub"]
        assert (link, through, secret, data) == ("sub/x.txt", "deep", "of the owner", "bytes")
        assert digest == hashlib.sha256((source / "large").read_bytes()).hexdigest()
        attempt = "try:\n    open('/files/set/new', 'w')\n    n = 0\nexcept OSError as error:\n    n = error.errno\nn"
        assert executor(attempt).output != 0
        assert executor.enforcement is not None
        assert executor.enforcement["root_filesystem"].level == "full"
        assert len(volumes(client)) == len(before[0]) + 1
    assert (volumes(client), containers(client)) == before


def test_mounted_and_streamed_stand_side_by_side(client: docker.DockerClient, source: Path) -> None:
    """On this host only what cannot be mounted is copied."""
    before = volumes(client)
    files = {"open/x": source / "sub" / "x.txt", "secret": source / "secret", "b": b"1"}
    with DockerBackend() as backend, HardenedExecutor(["*"], backend=backend, files=files) as executor:
        code = "[open(f'/files/{name}').read() for name in ('open/x', 'secret', 'b')]"
        assert executor(code).output == ["deep", "of the owner", "1"]
        (source / "sub" / "x.txt").write_text("mounted")  # the host's own file
        assert executor("open('/files/open/x').read()").output == "mounted"
    assert volumes(client) == before


def test_a_source_that_shrinks_while_it_is_streamed_is_refused(
    streaming: DockerBackend, client: docker.DockerClient, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was announced has to come; nothing is left of the attempt."""
    before = volumes(client), containers(client)
    read = os.read

    def shrink(descriptor: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(source / "large"):  # everything else reads as well
            os.truncate(source / "large", 1_500_000)
        return read(descriptor, size)

    monkeypatch.setattr(docker_files.os, "read", shrink)
    executor = HardenedExecutor(backend=streaming, files={"large": source / "large"})
    with pytest.raises((ConfigError, BackendUnavailable)):
        executor.start()
    monkeypatch.undo()
    assert (volumes(client), containers(client)) == before


def test_too_much_for_a_stream_is_refused_before_it_begins(streaming: DockerBackend, source: Path) -> None:
    """The limit of what is copied holds for files too where they cannot be mounted."""
    limits = Limits(files_copied_bytes=1_000_000)
    with pytest.raises(ConfigError, match="files_copied_bytes"):
        HardenedExecutor(backend=streaming, files={"large": source / "large"}, limits=limits).start()


def test_a_killed_host_leaves_no_volume(client: docker.DockerClient) -> None:
    """[R17] The reaper removes the box's volume with the box."""
    before = volumes(client)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True, env=env) as host:
        assert host.stdout is not None
        assert host.stdout.readline().strip()
        assert len(volumes(client)) == len(before) + 1
        host.send_signal(signal.SIGKILL)
        host.wait()
    deadline = time.monotonic() + 20
    while volumes(client) != before:
        assert time.monotonic() < deadline
        time.sleep(0.1)

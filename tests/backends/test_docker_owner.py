"""A box outlives nobody: killed hosts, forked hosts, orderly ends, and what an earlier run left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import docker
from tests.support.docker_boxes import containers

from smolagents_hardened.backends.docker_owner import OWNER_LABEL, _host, owner, sweep

MAKE = """
import os, sys, time
from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.limits import Limits
from tests.support.docker_boxes import Boxes, ChangedBackend, read
box = Boxes(ChangedBackend()).program('''
import os, signal
for number in range(1, 32):
    if number not in (9, 19):
        signal.signal(number, signal.SIG_IGN)
os.write(1, b'!')
while True: pass
''')
assert read(box) == b"!"
print(box.id, flush=True)
"""


def _start(tail: str) -> tuple[subprocess.Popen[str], str]:
    """A host process with one spinning box in it; the box's id."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    host = subprocess.Popen([sys.executable, "-c", MAKE + tail], stdout=subprocess.PIPE, text=True, env=env)
    assert host.stdout is not None
    return host, host.stdout.readline().strip()


def _gone_after_s(client: docker.DockerClient, box: str, patience_s: float = 20.0) -> float:
    started = time.monotonic()
    while box in containers(client, OWNER_LABEL):
        assert time.monotonic() - started < patience_s, "the box is still there"
        time.sleep(0.05)
    return time.monotonic() - started


def _end(host: subprocess.Popen[str]) -> None:
    host.kill()
    host.communicate()


def test_a_killed_host_leaves_no_spinning_box(client: docker.DockerClient) -> None:
    """kill -9 on the host, and within seconds a box that ignores every signal is removed."""
    host, box = _start("time.sleep(60)")
    assert box in containers(client, OWNER_LABEL)
    host.send_signal(signal.SIGKILL)
    host.communicate()
    assert _gone_after_s(client, box) < 10


def test_a_forked_child_is_no_owner(client: docker.DockerClient) -> None:
    """A child that lives on neither keeps the box alive nor ends it when it ends."""
    host, box = _start("child = os.fork()\nif not child: time.sleep(30); os._exit(0)\ntime.sleep(60)")
    try:
        time.sleep(0.5)
        assert box in containers(client, OWNER_LABEL)
    finally:
        host.send_signal(signal.SIGKILL)
        host.wait()
    assert _gone_after_s(client, box) < 10
    assert host.stdout is not None
    host.stdout.close()


def test_a_forked_child_that_ends_leaves_the_box_alone(client: docker.DockerClient) -> None:
    """Its exit hooks run and close nothing of the parent's."""
    host, box = _start("if not os.fork(): sys.exit(0)\nos.wait()\nprint('ended', flush=True)\ntime.sleep(60)")
    try:
        assert host.stdout is not None
        assert host.stdout.readline() == "ended\n"
        assert box in containers(client, OWNER_LABEL)
    finally:
        _end(host)
    _gone_after_s(client, box)


def test_an_orderly_end_closes_its_boxes(client: docker.DockerClient) -> None:
    """When the process has ended, the box has too."""
    host, box = _start("sys.exit(0)")
    assert host.wait(timeout=30) == 0
    assert host.stdout is not None
    host.stdout.close()
    assert box not in containers(client, OWNER_LABEL)


def _leave(client: docker.DockerClient, image: str, label: str) -> str:
    created = client.api.create_container(image, labels={OWNER_LABEL: label}, network_disabled=True)
    return str(created["Id"])


def test_the_sweep_removes_what_dead_processes_left(client: docker.DockerClient, backend: object) -> None:
    """Of this host: a number nobody has, and a number that another process has now. Of others: nothing recent."""
    image = backend.manifest().image  # type: ignore[attr-defined]
    number = owner().split(":")[1]
    dead = [_leave(client, image, f"{_host()}:4194305:1"), _leave(client, image, f"{_host()}:{number}:1")]
    alive = [_leave(client, image, owner()), _leave(client, image, "another-host:1:1")]
    try:
        assert sweep(client) >= 2
        left = containers(client, OWNER_LABEL)
        assert [box in left for box in dead + alive] == [False, False, True, True]
    finally:
        for box in alive:
            client.api.remove_container(box, force=True)

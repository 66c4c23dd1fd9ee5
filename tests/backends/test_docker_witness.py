"""Nothing is claimed that is not in force: take each mechanism away, and the start is refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable

import docker
import pytest
from tests.support.docker_boxes import Boxes, containers, hello, read

from smolagents_hardened.backends.docker_config import PYTHON, Config
from smolagents_hardened.backends.docker_witness import Witnesses, judge
from smolagents_hardened.backends.enforcement import REQUIRED, Level
from smolagents_hardened.backends.witness_report import Report
from smolagents_hardened.errors import NotEnforced


def _host(**options: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        host = config["HostConfig"]
        assert isinstance(host, dict)
        host.update(options)

    return change


def _networked(config: Config) -> None:
    config["NetworkDisabled"] = False
    _host(NetworkMode="bridge")(config)


WITHOUT = {
    "seccomp_start": _host(SecurityOpt=["no-new-privileges", "seccomp=unconfined"]),
    # Not with our filter: the runtime may only install one without privilege if this is set, and would fail by itself.
    "no_new_privileges": _host(SecurityOpt=["seccomp=unconfined"]),
    "capabilities": _host(CapDrop=[], CapAdd=["NET_RAW"]),
    "user": lambda config: config.update(User="0:0"),
    "namespaces": _host(PidMode="host"),
    "network": _networked,
    "root_filesystem": _host(ReadonlyRootfs=False),
    "scratch": _host(Tmpfs={"/tmp": "rw,mode=1777"}),
    "memory": _host(Memory=0, MemorySwap=0),
    "tasks": _host(PidsLimit=0),
    "cpu": _host(NanoCpus=0),
    "file_limits": _host(Ulimits=[]),
    "output": _host(LogConfig={"Type": "json-file", "Config": {}}),
}


@pytest.mark.parametrize("layer", sorted(WITHOUT))
def test_a_missing_mechanism_refuses_the_start(boxes: Boxes, client: docker.DockerClient, layer: str) -> None:
    """The engine's own description shows the gap; the error names the layer, and the box is gone."""
    with pytest.raises(NotEnforced, match=rf"\b{layer} is absent"):
        boxes.runner(required=frozenset({layer}), change=WITHOUT[layer])
    assert containers(client) == []


KERNEL_SEES = sorted(set(WITHOUT) - {"output"})


@pytest.mark.parametrize("layer", KERNEL_SEES)
def test_the_kernel_sees_what_an_engine_hides(boxes: Boxes, layer: str) -> None:
    """Where the engine's word is what was asked for and yet the mechanism is off, the kernel's word makes it Absent."""
    honest = boxes.runner()
    report = hello(honest)

    def change(config: Config) -> None:
        config["Cmd"] = [*PYTHON, "import os; os.write(1, b'!'); os.read(0, 1)"]
        WITHOUT[layer](config)

    box = boxes.runner(change=change)
    assert read(box) == b"!"
    # The description of the honest box, and the first process of the other.
    lying = {**honest._witnesses.raw_inspect, **{key: box._witnesses.raw_inspect[key] for key in ("Id", "State")}}
    judged = judge(Witnesses(honest._witnesses.engine, honest._witnesses.plan, lying), report)[layer]
    assert judged.level is Level.ABSENT
    assert "kernel:" in judged.evidence


def test_every_layer_is_full_when_nothing_is_taken_away(boxes: Boxes) -> None:
    """The positive control."""
    box = boxes.runner(required=REQUIRED)
    assert {layer.level for layer in box.verify(hello(box)) if layer.name in REQUIRED} == {Level.FULL}


def _lie(path: str, value: object) -> Callable[[Report], None]:
    def change(report: Report) -> None:
        *above, last = path.split(".")
        here = report
        for name in above:
            inner = here[name]
            assert isinstance(inner, dict)
            here = inner
        here[last] = value

    return change


LIES = [
    ("status.Seccomp", "0", "seccomp_start"),
    ("status.Seccomp", ["2"], "seccomp_start"),
    ("probes.execve", "success", "seccomp_run"),
    ("probes", {}, "seccomp_run"),
    ("probes", None, "seccomp_run"),
    ("status.NoNewPrivs", "0", "no_new_privileges"),
    ("status.CapBnd", "00000000a80425fb", "capabilities"),
    ("status.CapEff", "zz", "capabilities"),
    ("status.Uid", [0, 0, 0, 0], "user"),
    ("status.Groups", "none", "user"),
    ("status.Pid", "17", "namespaces"),
    ("network.interfaces", {"lo": "up", "eth0": "up"}, "network"),
    ("network.routes", True, "network"),
    ("mounts", [], "root_filesystem"),
    ("mounts", [{"point": "/", "options": "rw", "type": "overlay"}], "root_filesystem"),
    ("mounts", 5, "scratch"),
    ("rlimits.nofile", [256, 1024], "file_limits"),
    ("rlimits.core", ["0", "0"], "file_limits"),
    ("rlimits", {}, "file_limits"),
    ("landlock", {"abi": 7, "enforced": 1, "probe": "EACCES"}, "landlock"),
]


@pytest.fixture
def reported(boxes: Boxes) -> tuple[Witnesses, Report]:
    """A box that is up, and its honest report."""
    box = boxes.runner()
    return box._witnesses, hello(box)


def test_an_odd_report_lowers_its_layer_only(reported: tuple[Witnesses, Report]) -> None:
    """Each lie makes the layer it is about Absent, and no other layer changes."""
    witnesses, report = reported
    honest = judge(witnesses, report).to_dict()
    for path, value, layer in LIES:
        told = copy.deepcopy(report)
        _lie(path, value)(told)
        judged = judge(witnesses, told).to_dict()
        assert judged[layer]["level"] == "absent", (path, value)
        about = {"root_filesystem", "scratch"} if path == "mounts" else {layer}
        assert {name for name in judged if judged[name] != honest[name]} == about, (path, value)


def test_an_empty_report_is_refused(boxes: Boxes, client: docker.DockerClient) -> None:
    """A box that says nothing about itself is removed."""
    box = boxes.runner(required=REQUIRED)
    hello(box)
    with pytest.raises(NotEnforced, match="seccomp_run"):
        box.verify({})
    assert containers(client) == []


def test_a_report_raises_nothing_that_the_engine_denies(boxes: Boxes) -> None:
    """A perfect report does not make up for an option the engine did not apply."""
    box = boxes.runner(change=WITHOUT["memory"])
    assert box.verify(hello(box))["memory"].level is Level.ABSENT

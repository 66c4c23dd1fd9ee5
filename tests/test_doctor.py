"""The doctor tells what a host can enforce by starting a box, and what to do where it cannot."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.support.backends import DECLARED
from tests.support.docker_boxes import ChangedBackend

from smolagents_hardened import doctor
from smolagents_hardened.backends.docker_config import Config
from smolagents_hardened.backends.enforcement import LAYERS, Level
from smolagents_hardened.cli import main
from smolagents_hardened.doctor import Diagnosis, Finding, examine
from smolagents_hardened.fixes import ENGINE_FIXES, NATIVE_FIXES
from smolagents_hardened.versions import Version, of_host, parse


@pytest.fixture(scope="module", params=DECLARED)
def finding(request: pytest.FixtureRequest) -> Finding:
    """What the doctor finds on one declared backend."""
    [found] = examine(str(request.param)).findings
    return found


def test_a_good_host_is_found_good(finding: Finding) -> None:
    """[R18] A box was really started, and every layer is told with its evidence."""
    assert finding.ok
    assert finding.problem == ""
    assert finding.start_s > 0
    assert finding.enforcement is not None
    assert [layer.name for layer in finding.enforcement] == list(LAYERS)
    assert all(layer.evidence for layer in finding.enforcement)


@pytest.fixture
def weak(monkeypatch: pytest.MonkeyPatch) -> Finding:
    """What the doctor finds on an engine that forgets the memory limit."""

    def forget(config: Config) -> None:
        config["HostConfig"].update({"Memory": 0, "MemorySwap": 0})  # type: ignore[attr-defined]
        config["HostConfig"].pop("MemorySwappiness", None)  # type: ignore[attr-defined]

    made = ChangedBackend()
    made.change = forget
    monkeypatch.setattr(doctor, "choose", lambda *_: made)
    [found] = examine("docker").findings
    return found


def test_a_gap_comes_with_its_fix(weak: Finding) -> None:
    """[R18] The layer that is not in force is named, with what to do, and the backend will not do."""
    assert [(gap.layer, gap.level, gap.is_required) for gap in weak.gaps] == [("memory", "absent", True)]
    assert "swapaccount" in weak.gaps[0].fix
    assert not weak.ok
    told = str(Diagnosis((), (weak,)))
    assert "to do (required, memory is absent)" in told
    assert "no backend of this host enforces everything required" in told


def test_one_good_backend_is_enough(weak: Finding, finding: Finding) -> None:
    """A weak backend beside a good one does not spoil the host."""
    assert Diagnosis((), (weak, finding)).ok
    assert not Diagnosis((), (weak,)).ok


def test_a_missing_engine_is_told_not_raised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an engine the exit status is 1, and the text says how to get one."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    assert main(["doctor", "--backend", "docker"]) == 1
    assert "systemctl start docker" in capsys.readouterr().out


def test_the_command_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` is one object; exit status 0 where the backend enforces everything required."""
    assert main(["doctor", "--backend", DECLARED[0], "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    found = document["backends"][DECLARED[0]]
    assert found["enforcement"]["network"]["level"] == Level.FULL.value
    assert found["gaps"] == [gap for gap in found["gaps"] if not gap["required"]]
    assert {version["name"] for version in document["versions"]} >= {"kernel", "Python", "smolagents"}


def test_every_layer_has_a_fix() -> None:
    """No gap is told without what to do about it."""
    assert set(ENGINE_FIXES) == set(NATIVE_FIXES) == set(LAYERS)
    assert all([*ENGINE_FIXES.values(), *NATIVE_FIXES.values()])


def test_versions_of_this_host_are_above_their_floors() -> None:
    """What the suite runs on is what the package asks for."""
    assert [version.name for version in of_host() if version.is_below] == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("6.1.0-18-amd64", (6, 1, 0)), ("20.10.24+dfsg1", (20, 10, 24)), ("v1.1", (1, 1)), ("", ()), ("unknown", ())],
)
def test_versions_are_read_as_they_are_written(text: str, numbers: tuple[int, ...]) -> None:
    """The leading numbers count; a text without any is below every floor."""
    assert parse(text) == numbers


def test_a_version_below_its_floor_spoils_the_host(finding: Finding) -> None:
    """Below a required floor nothing is claimed, whatever a box says; below an optional one it is only told."""
    old = Version("kernel", "3.10", "4.6", is_below=True, is_required=True, fix="update")
    assert not Diagnosis((old,), (finding,)).ok
    assert Diagnosis((replace(old, is_required=False),), (finding,)).ok
    assert "older than 4.6: update" in str(old)

"""The self-test holds on a sound box, fails on a leaking one, and passes nothing that it could not try."""

from __future__ import annotations

import json
import os
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from sarif_pydantic import Sarif
from tests.support.backends import DECLARED, backend
from tests.support.docker_boxes import ChangedBackend

from smolagents_hardened import toolbox
from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.backends.docker_config import PYTHON, START, Config
from smolagents_hardened.backends.enforcement import REQUIRED
from smolagents_hardened.cli import main
from smolagents_hardened.confinement.profile import load_profile
from smolagents_hardened.errors import BackendUnavailable, ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.served import Value
from smolagents_hardened.limits import Limits
from smolagents_hardened.selftest import as_json, junit, kernel, resources, sarif, table
from smolagents_hardened.selftest.bench import Bench
from smolagents_hardened.selftest.plant import VARIABLE, Plant
from smolagents_hardened.selftest.probe import Evidence, Probe, Report, Result, State
from smolagents_hardened.selftest.promises import PROMISES
from smolagents_hardened.selftest.run import ITEMS, attempt, run, select
from smolagents_hardened.toolbox import Toolbox

PROBES = [item for item in ITEMS if isinstance(item, Probe)]
WHOLE_S = 60.0


# ---- a sound box --------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=DECLARED)
def report(request: pytest.FixtureRequest) -> Report:
    """The whole self-test of the default configuration."""
    return run({"backend": str(request.param)})


def hold(report: Report, promise: str) -> bool:
    """Whether there are probes of the promise and every one held; a failure shows what was seen."""
    results = [result for result in report.results if result.promise == promise]
    assert [f"{result.id}: {result.message}" for result in results if result.state is not State.HELD] == []
    return bool(results)


def test_no_file_of_the_host_is_read(report: Report) -> None:
    """[R1] A box finds no canary of the host, no device, no descriptor that leads out."""
    assert hold(report, "R1")


def test_nothing_is_written_outside_scratch(report: Report) -> None:
    """[R2] A box can write to its scratch directory and nowhere else."""
    assert hold(report, "R2")


def test_no_socket_of_the_host_is_reached(report: Report) -> None:
    """[R3] No connection, no datagram and no unix socket gets out of a box."""
    assert hold(report, "R3")


def test_no_process_outside_is_touched(report: Report) -> None:
    """[R4] A box neither sees nor signals a process of the host, and starts none."""
    assert hold(report, "R4")


def test_no_privilege_is_held(report: Report) -> None:
    """[R5] Every thread is without capability, with two filters and under a user that is not root."""
    assert hold(report, "R5")


def test_no_unlisted_system_call_is_answered(report: Report) -> None:
    """[R6] A sample of system calls is refused as published, and the doors of i386 and x32 are shut."""
    assert hold(report, "R6")


def test_no_limit_is_exceeded(report: Report) -> None:
    """[R7] Memory, tasks, open files and scratch end at their limits."""
    assert hold(report, "R7")


def test_no_step_outlives_its_time(report: Report) -> None:
    """[R8] A loop in C, ignored signals and a blocked pipe end in time."""
    assert hold(report, "R8")


def test_no_flood_reaches_the_host(report: Report) -> None:
    """[R9] Output beyond its limit is cut off, and this process does not grow."""
    assert hold(report, "R9")


def test_no_lie_on_the_wire_is_believed(report: Report) -> None:
    """[R10] Each lie ends the box with a typed outcome and costs the host no memory."""
    assert hold(report, "R10")


def test_no_tool_runs_without_the_hooks_word(report: Report) -> None:
    """[R11] A denied tool, and one whose hook fails, never runs; a stop ends the run."""
    assert hold(report, "R11")


def test_no_call_runs_but_as_it_was_judged(report: Report) -> None:
    """[R12] Odd names and wrong arguments reach no tool, and changed ones run as they were judged."""
    assert hold(report, "R12")


def test_no_second_answer_replaces_the_first(report: Report) -> None:
    """[R13] The first final answer stands."""
    assert hold(report, "R13")


def test_no_call_is_missing_on_record(report: Report) -> None:
    """[R14] Each call has its intent and its outcome, and tampering shows."""
    assert hold(report, "R14")


def test_no_secret_of_the_host_is_told(report: Report) -> None:
    """[R15] Neither environment nor paths of the host come out of a box."""
    assert hold(report, "R15")


def test_no_session_finds_another_ones_things(report: Report) -> None:
    """[R16] Files, variables and randomness of one session are not those of the next."""
    assert hold(report, "R16")


def test_nothing_is_left_behind(report: Report) -> None:
    """[R17] When all is over, or the host is killed, there is no box."""
    assert hold(report, "R17")


def test_every_required_layer_is_reported_in_force(report: Report) -> None:
    """[R18] Each required layer is one result, and it held."""
    assert hold(report, "R18")
    assert {r.id for r in report.results if r.group == "enforced"} == {f"enforced.{name}" for name in REQUIRED}


def test_it_takes_less_than_a_minute(report: Report) -> None:
    """Nobody waits longer than a minute for it."""
    assert report.seconds < WHOLE_S


def test_nothing_is_left_out(report: Report) -> None:
    """Every item has a result: there are no skips."""
    assert [result.id for result in report.results] == [item.id for item in ITEMS]
    assert report.ok


@pytest.mark.parametrize("name", DECLARED)
def test_the_host_looks_for_itself(name: str, tmp_path: Path) -> None:
    """[R19] The gate is off, and where the box is on this host its threads are read from the host's own kernel."""
    plant = Plant()
    bench = Bench({"backend": name}, plant, tmp_path)
    try:
        [rights] = [probe for probe in PROBES if probe.id == "processes.rights"]
        evidence = bench.run(rights)
        assert len(evidence.looks[0][0].threads) >= 4
        assert len(evidence.looks[0]) == 1
        assert {executor.config.gate for executor, _ in bench._lanes.values()} == {"off"}
    finally:
        bench.close()
        plant.close()


# ---- a leaking box ------------------------------------------------------------------------------

OPEN_START = START.replace(
    "from smolagents_hardened.guest.__main__ import main; main()",
    "import smolagents_hardened.guest.__main__ as m; m.lock_down = lambda *a: {}; m.main()",
)


def open_wide(config: Config) -> None:
    """Take every layer away that an engine or the guest could forget; of the host's files one directory is shown."""
    host = config["HostConfig"]
    assert isinstance(host, dict)
    config.update({"Cmd": [*PYTHON, OPEN_START, *config["Cmd"][-2:]], "User": "0:0", "NetworkDisabled": False})  # type: ignore[index]
    host.update(
        {
            "NetworkMode": "host",
            "PidMode": "host",
            "IpcMode": "shareable",
            "ReadonlyRootfs": False,
            "Tmpfs": {"/tmp": "rw,exec,mode=1777"},
            "Binds": [f"{tempfile.gettempdir()}:/host:ro"],
            "CapDrop": [],
            "SecurityOpt": ["seccomp=unconfined"],
            "MaskedPaths": [],
            "ReadonlyPaths": [],
            "PidsLimit": 0,
            "Memory": 0,
            "MemorySwap": 0,
            "NanoCpus": 0,
            "Ulimits": [],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        }
    )
    host.pop("MemorySwappiness", None)


@pytest.fixture(scope="module")
def leaks() -> dict[str, Result]:
    """The self-test of a box that is confined by nothing, by id."""
    with ChangedBackend() as made:
        made.change = open_wide
        items = select("enforced", "files", "network", "processes", "kernel.sample", "limits")
        found = run({"backend": made, "require": []}, items=items)
    assert not found.ok
    return {result.id: result for result in found.results}


@pytest.mark.parametrize(
    "probe",
    [
        "files.read",
        "files.write",
        "files.devices",
        "files.run-scratch",
        "network.connect",
        "network.connect-raw",
        "network.unix",
        "network.families",
        "network.interfaces",
        "processes.see",
        "processes.signal",
        "processes.start",
        "processes.rights",
        "kernel.sample",
        "limits.memory",
        "limits.tasks",
        "limits.open-files",
        "limits.scratch",
    ],
)
def test_a_leak_is_found(leaks: dict[str, Result], probe: str) -> None:
    """In a box that is confined by nothing, the probe is broken and says what it saw."""
    assert leaks[probe].state is State.BROKEN
    assert leaks[probe].message


@pytest.mark.parametrize("layer", sorted(REQUIRED))
def test_a_missing_layer_is_found(leaks: dict[str, Result], layer: str) -> None:
    """[R18] In a box that is confined by nothing, each layer is reported as not in force."""
    assert leaks[f"enforced.{layer}"].state is State.BROKEN


def test_one_missing_layer_is_told_from_the_others() -> None:
    """Where the root alone is writable, that layer alone is broken."""

    def writable(config: Config) -> None:
        config["HostConfig"]["ReadonlyRootfs"] = False  # type: ignore[index]

    with ChangedBackend() as made:
        made.change = writable
        found = run({"backend": made, "require": []}, items=select("enforced"))
    assert [result.id for result in found.failed()] == ["enforced.root_filesystem"]


def test_a_box_that_lacks_a_required_layer_is_refused() -> None:
    """[R18] Without a word of the user's, a weaker box is not used at all: no probe runs, and none holds."""

    def writable(config: Config) -> None:
        config["HostConfig"]["ReadonlyRootfs"] = False  # type: ignore[index]

    with ChangedBackend() as made:
        made.change = writable
        found = run({"backend": made}, items=select("enforced.network", "files.read"))
    assert {result.state for result in found.results} == {State.NOT_RUN}
    assert "root_filesystem is absent" in found.results[0].message


# ---- a weak host --------------------------------------------------------------------------------


def broken(prefix: str) -> set[str]:
    """The ids beneath `prefix` that the self-test calls broken on the first declared backend."""
    found = run({"backend": DECLARED[0]}, items=select(prefix))
    return {result.id for result in found.results if result.state is State.BROKEN}


def test_a_governor_that_lets_everything_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the hook's word and without records, the probes of both are broken."""
    monkeypatch.setattr(Governor, "serve", lambda self, call, check, run: Value(run(dict(call.arguments))))
    found = broken("governance")
    assert found >= {"governance.deny", "governance.hook-fails", "governance.stop", "governance.trail"}
    assert "governance.names" not in found


def test_a_toolbox_that_folds_names_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is only alike must not reach a tool."""
    serve = Toolbox.serve
    monkeypatch.setattr(Toolbox, "serve", lambda self, tool, *rest: serve(self, tool.casefold(), *rest))
    assert broken("governance.names") == {"governance.names"}


def test_a_toolbox_that_checks_no_types_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument of another type than was declared must not reach a tool."""
    monkeypatch.setattr(toolbox, "_ACCEPTS", {"any": lambda value: True})
    assert broken("governance.arguments") == {"governance.arguments"}


def test_a_host_that_tells_its_paths_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that names the home directory must not reach the box as it is."""
    monkeypatch.setattr(toolbox, "without_host_paths", lambda text, **_: text)
    assert broken("governance.host-paths") == {"governance.host-paths"}


def test_a_session_that_never_kills_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grace that is far too long shows in the time a step takes."""
    limits = Bench.limits
    monkeypatch.setattr(Bench, "limits", lambda self, lane: replace(limits(self, lane), grace_s=6.0))
    monkeypatch.setattr(resources, "SLACK_S", -4.0)  # what the user's limits say: a wall time and one second
    assert broken("time.c-loop") == {"time.c-loop"}


# ---- what could not be tried --------------------------------------------------------------------


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.id)
def test_no_probe_passes_on_silence(probe: Probe) -> None:
    """A program that does nothing is either judged broken, or missed by its end marker."""
    assert probe.must_end or probe.judge(Evidence(Limits()))


class Absent:
    """A backend that cannot make a box."""

    name = "absent"

    def manifest(self, imports: Sequence[str] = ()) -> object:
        return backend(DECLARED[0]).manifest(imports)

    def start(self, request: BoxRequest) -> object:
        raise BackendUnavailable("there is no engine")

    def close(self) -> None:
        """Nothing is held."""


def test_without_a_box_nothing_holds() -> None:
    """A backend that cannot make a box gives as many results as ever, and each of them failed."""
    found = run({"backend": Absent()})
    assert [result.id for result in found.results] == [item.id for item in ITEMS]
    assert {result.state for result in found.results} == {State.NOT_RUN}
    assert not found.ok


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on the first declared backend."""
    plant = Plant()
    made = Bench({"backend": DECLARED[0]}, plant, tmp_path)
    yield made
    made.close()
    plant.close()


BLIND = Probe(id="x.blind", promise="R1", title="sees nothing", program="pass", judge=lambda evidence: "")


def test_a_probe_that_cannot_tell_is_not_run(bench: Bench) -> None:
    """Where the judge calls the unconfined run sound, the probe says nothing, and so it failed."""
    result = attempt(bench, replace(BLIND, has_control=True))
    assert result.state is State.NOT_RUN
    assert "control" in result.message
    assert attempt(bench, BLIND).state is State.HELD


def test_a_program_that_does_not_end_is_not_run(bench: Bench) -> None:
    """A program that fails half-way proves nothing."""
    result = attempt(bench, replace(BLIND, program="1 / 0"))
    assert result.state is State.NOT_RUN
    assert "ZeroDivisionError" in result.message


def test_the_sample_is_of_refused_calls() -> None:
    """Each call of the kernel sample is refused by the published list, and the control is not."""
    rules = load_profile().run
    assert [name for name, number, arguments in kernel.CALLS if not rules.verdict(number, arguments)] == []
    assert rules.verdict(kernel.LISTED[1]) == 0


def test_every_promise_of_a_probe_exists() -> None:
    """Each item belongs to a promise, and no id is used twice."""
    assert {item.promise for item in ITEMS} <= PROMISES.keys()
    assert len({item.id for item in ITEMS}) == len(ITEMS)


def test_what_is_planted_is_taken_away() -> None:
    """Canaries, variable and sentinel are gone after the run."""
    plant = Plant()
    places, sentinel = plant.directories, plant._sentinel
    plant.close()
    assert not any(place.exists() for place in places)
    assert sentinel.poll() is not None
    assert VARIABLE not in os.environ


# ---- judgements of what cannot be weakened from outside -----------------------------------------

SEEN = Evidence(Limits(), seconds=1.0, printed=10, ran=[("reached", {"n": 1})], records=[{"kind": "limit"}])
VALUES = "".join(f"value {n} ={n}\n" for n in range(5))
CALL = ToolCall("id", "run", 1, "agent", (), "typed", {}, "digest", "code")
LIED = replace(SEEN, records=[{"kind": "violation"}])


@pytest.mark.parametrize(
    ("probe", "sound", "broken"),
    [
        ("time.c-loop", SEEN, replace(SEEN, seconds=100.0)),
        ("time.c-loop", SEEN, replace(SEEN, records=[])),
        ("output.lines", SEEN, replace(SEEN, printed=2**21)),
        ("output.lines", SEEN, replace(SEEN, grown_bytes=2**30)),
        ("protocol.length", LIED, replace(LIED, records=[{"kind": "box_died"}])),
        ("protocol.wide", LIED, replace(LIED, grown_bytes=2**30)),
        ("protocol.drip", SEEN, replace(SEEN, seconds=100.0)),
        (
            "governance.deny",
            Evidence(Limits(), ran=[("allowed", {})], records=[{"kind": "refusal"}] * 4),
            Evidence(Limits(), ran=[("allowed", {}), ("danger", {})], records=[{"kind": "refusal"}] * 4),
        ),
        (
            "governance.hook-fails",
            Evidence(Limits(), ran=[("allowed", {})], records=[{"kind": "refusal"}] * 3),
            Evidence(Limits(), ran=[("allowed", {})], records=[{"kind": "refusal"}] * 2),
        ),
        (
            "governance.names",
            Evidence(Limits(), ran=[("allowed", {})]),
            Evidence(Limits(), ran=[("allowed", {}), ("allowed", {})]),
        ),
        (
            "governance.arguments",
            Evidence(Limits(), ran=[("typed", {})]),
            Evidence(Limits(), ran=[("typed", {}), ("typed", {})]),
        ),
        (
            "governance.latch",
            Evidence(Limits(), ran=[("final_answer", {})], is_final=True, output="first"),
            Evidence(Limits(), ran=[("final_answer", {})], is_final=True, output="second"),
        ),
        (
            "governance.stop",
            Evidence(Limits(), ran=[("allowed", {})], stopped="enough"),
            Evidence(Limits(), ran=[("allowed", {}), ("allowed", {})], stopped="enough"),
        ),
        (
            "governance.host-paths",
            Evidence(Limits(), ran=[("fails", {}), ("fails", {})]),
            Evidence(Limits(), ran=[("fails", {}), ("fails", {})], said=f"no file {os.getcwd()}/x"),
        ),
        (
            "governance.change",
            Evidence(Limits(), ran=[("typed", {})] * 20, judged=[CALL] * 20),
            Evidence(Limits(), ran=[("typed", {"n": 1})] * 20, judged=[CALL] * 20),
        ),
        (
            "files.descriptors",
            Evidence(Limits(), said="descriptor pipe:[1]"),
            Evidence(Limits(), said="descriptor /etc/passwd"),
        ),
        ("files.set-id", Evidence(Limits(), said="files 200"), Evidence(Limits(), said="SETID /usr/bin/su\nfiles 200")),
        ("sessions.leftovers", Evidence(Limits(), secrets=("s3",)), Evidence(Limits(), secrets=("s3",), said="a s3 b")),
        (
            "sessions.random",
            Evidence(Limits(), said=VALUES, earlier=VALUES.replace("=", "!")),
            Evidence(Limits(), said=VALUES, earlier=VALUES.replace("=", "!", 4)),
        ),
        (
            "kernel.i386",
            Evidence(Limits(), ran=[("reached", {})], records=[{"kind": "box_died"}]),
            Evidence(Limits(), ran=[("reached", {})], said="OPEN"),
        ),
    ],
)
def test_a_judge_tells_sound_from_broken(probe: str, sound: Evidence, broken: Evidence) -> None:
    """The judge accepts the sound evidence and refuses the one that differs from it by the fault."""
    [judged] = [one for one in PROBES if one.id == probe]
    assert judged.judge(sound) == ""
    assert judged.judge(broken)


# ---- reports ------------------------------------------------------------------------------------

ODD = "seen: \x00\x1b[31m <&> \ud800 ünï"
SOME = Report(
    backend="docker",
    image="smolagents-hardened:0123",
    version="0.1.0",
    started="2026-01-02T03:04:05+00:00",
    seconds=12.34,
    config="conf/executor.json",
    results=(
        Result("files.read", "R1", "nothing is read", State.HELD, "", 0.5),
        Result("files.write", "R2", "nothing is written", State.BROKEN, ODD, 0.25),
        Result("network.unix", "R3", "no socket", State.NOT_RUN, "no control\nat all", 0.0),
    ),
)


def test_sarif_is_what_code_scanning_reads() -> None:
    """Version, schema, a rule per probe, a result per failure: each with rule, place, message and fingerprint."""
    document = json.loads(sarif.render(SOME))
    Sarif.model_validate(document)
    assert (document["version"], document["$schema"]) == ("2.1.0", sarif.SCHEMA)
    [one] = document["runs"]
    rules = one["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [result.id for result in SOME.results]
    assert [result["ruleId"] for result in one["results"]] == ["files.write", "network.unix"]
    for result in one["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        [location] = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "conf/executor.json"
        assert location["physicalLocation"]["region"]["startLine"] == 1
        assert result["partialFingerprints"]
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert 0 <= float(rule["properties"]["security-severity"]) <= 10


@pytest.mark.parametrize("path", ["/home/someone/secret/executor.json", "../executor.json"])
def test_sarif_keeps_places_inside_the_repository(path: str) -> None:
    """A path that is absolute or leads out of the repository is told by its name only."""
    [one, _] = json.loads(sarif.render(replace(SOME, config=path)))["runs"][0]["results"]
    assert one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "executor.json"


def test_junit_is_read_back() -> None:
    """The XML parses, whatever a message holds; broken is a failure, not run an error, and nothing is skipped."""
    root = ET.fromstring(junit.render(SOME))
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "3", "1", "1")
    cases = {case.get("name", "").split(" ")[1].rstrip(":"): case for case in root.iter("testcase")}
    assert [child.tag for child in cases["files.write"]] == ["failure"]
    assert [child.tag for child in cases["network.unix"]] == ["error"]
    assert list(cases["files.read"]) == []
    assert root.find(".//skipped") is None


def test_json_says_it_all() -> None:
    """One object with a verdict and every result."""
    document = json.loads(as_json.render(SOME))
    jsonschema.validate(
        document,
        {
            "type": "object",
            "required": ["schema_version", "ok", "backend", "image", "results"],
            "properties": {"ok": {"const": False}, "results": {"minItems": 3, "maxItems": 3}},
        },
    )
    assert [result["state"] for result in document["results"]] == ["held", "broken", "not run"]


def test_the_table_says_what_was_seen() -> None:
    """A person reads the verdict in the last line, and the reason beneath each failure."""
    lines = table.render(SOME).splitlines()
    assert lines[-1] == "1 of 3 held in 12.3 s: 2 did not hold"
    assert any("at all" in line for line in lines)


def test_an_empty_report_is_no_success() -> None:
    """Nothing tried is nothing held."""
    assert not replace(SOME, results=()).ok


# ---- the command --------------------------------------------------------------------------------


def test_the_command_succeeds_only_if_all_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 0, a report in the file, and one line for the person."""
    config, out = tmp_path / "executor.json", tmp_path / "report.sarif"
    config.write_text(json.dumps({"backend": DECLARED[0], "limits": {"memory_bytes": 2**28}}))
    arguments = [
        "selftest",
        "--config",
        str(config),
        "--only",
        "files.read",
        "enforced.memory",
        "--sarif",
        "-o",
        str(out),
    ]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("2 of 2 held")
    assert json.loads(out.read_text())["runs"][0]["results"] == []


@pytest.mark.parametrize("form", ["--json", "--junit", "--table"])
def test_each_form_is_printed_whole(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output holds the report and nothing else, in the form that was asked for."""
    asked = [] if form == "--table" else [form]
    assert main(["selftest", "--backend", DECLARED[0], "--only", "enforced.network", *asked]) == 0
    text = capsys.readouterr().out
    match form:
        case "--json":
            assert [result["id"] for result in json.loads(text)["results"]] == ["enforced.network"]
        case "--junit":
            assert ET.fromstring(text).get("tests") == "1"
        case _:
            assert text.splitlines()[-1].startswith("1 of 1 held")


def test_the_command_fails_where_a_host_is_weak(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1 where there is nothing to test."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    assert main(["selftest", "--backend", "docker", "--json"]) == 1
    assert "no Docker engine can be used here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"backend": "moon"}', '{"allow_pickle": true}', '{"governance": "no.such:hook"}']
)
def test_a_wrong_configuration_is_wrong_usage(tmp_path: Path, text: str) -> None:
    """Exit status 2, before anything is started; the user's hooks have to load although they are not asked."""
    config = tmp_path / "executor.json"
    config.write_text(text)
    assert main(["selftest", "--config", str(config)]) == 2


def test_an_unknown_selection_is_wrong_usage() -> None:
    """A prefix that no probe has would test nothing."""
    assert main(["selftest", "--only", "nothing"]) == 2


def test_unknown_options_are_refused() -> None:
    """The configuration is checked as the executor checks it."""
    with pytest.raises(ConfigError, match="unknown option"):
        run({"bakend": "docker"})

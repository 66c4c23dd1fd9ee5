"""People can read a trail, and the model that wrote into it cannot play with their terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from smolagents_hardened.audit.keeping import Keeping
from smolagents_hardened.audit.report import timeline
from smolagents_hardened.audit.sign import Signer
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.cli import main


def test_a_call_is_one_line(tmp_path: Path) -> None:
    """A line tells number, time, kind, agent, tool, arguments and decision."""
    path = tmp_path / "t"
    with Trail(path, clock=lambda: 0.0) as trail:
        decisions = [{"hook": "policy", "verdict": "allow"}]
        call = {"run": "r", "call": "c1", "agent": "main", "step": 2, "tool": "weather"}
        trail.append("intent", **call, arguments={"city": "Paris"}, decisions=decisions)
        trail.append("refusal", **call, arguments={}, reason="no", code="denied", decisions=[])
        trail.append("outcome", run="r", call="c1", tool="weather", status="ok", duration_us=1500, result="sunny")
    assert list(timeline(path)) == [
        '     1  1970-01-01 00:00:00  intent        main step 2: weather({"city": "Paris"})  policy=allow  #c1',
        "     2  1970-01-01 00:00:00  refusal       main step 2: weather({})  denied: no  #c1",
        "     3  1970-01-01 00:00:00  outcome       weather ok in 1.5 ms: sunny  #c1",
    ]


def test_terminal_escapes_are_shown_not_sent(tmp_path: Path) -> None:
    """Escapes, line breaks and direction marks in any field, even of a forged line, are written out."""
    path = tmp_path / "t"
    with Trail(path) as trail:
        trail.append("x\x1b[2J", text="\x1b]0;title\x07\u202e\x9b\n")
    with path.open("ab") as stream:
        stream.write(b"\x1b[2J not json\n[1]\n")
    told = list(timeline(path))
    assert len(told) == 3
    assert all(line.isprintable() for line in told)
    assert "\\x1b[2J" in told[0]


def test_odd_records_are_shown(tmp_path: Path) -> None:
    """Lines whose fields have unexpected types do not stop the report."""
    path = tmp_path / "t"
    path.write_text('{"kind":"intent","decisions":3}\n{"kind":"outcome","duration_us":"x"}\n{}\n' + "[" * 100_000)
    assert len(list(timeline(path))) == 4


def test_a_record_of_odd_values_is_still_shown(tmp_path: Path) -> None:
    """A tampered trail can hold anything where a number belongs: the timeline shows it and goes on."""
    trail = tmp_path / "odd.jsonl"
    trail.write_text('{"seq":null}\n{"kind":"outcome","duration_us":1' + "0" * 400 + '}\n{"seq":[1],"kind":3}\n')
    assert len(list(timeline(trail))) == 3


def test_json_is_json(tmp_path: Path) -> None:
    """Whatever a text holds, each line is the record, in ASCII; a line that is no record is named."""
    with Trail(tmp_path / "t") as trail:
        made = trail.append("x", text="caf\u00e9 10\u00a0000 \u200b\x7f \U0001f600 \x1b[2J")
    with (tmp_path / "t").open("ab") as stream:
        stream.write(b"\x1b[2J no\n")
    first, second = timeline(tmp_path / "t", is_json=True)
    assert (json.loads(first), first.isascii(), first.isprintable()) == (made, True, True)
    assert list(json.loads(second)) == ["not a record"]


def test_what_was_withheld_is_shown(tmp_path: Path) -> None:
    """A result that a hook has withheld, or which ended the run, does not look like a success; labels are told."""
    with Trail(tmp_path / "t") as trail:
        about = {"run": "r", "call": "c", "tool": "x", "duration_us": 1, "status": "ok", "result": 1}
        trail.append("outcome", **about, withheld="injected", code="screen")
        trail.append("outcome", **about, stopped="enough", labels=["untrusted"])
    first, second = timeline(tmp_path / "t")
    assert first.endswith("x ok in 0.0 ms: 1  WITHHELD screen: injected  #c")
    assert second.endswith("x ok in 0.0 ms: 1  STOPPED the run: enough  [untrusted]  #c")


def test_a_refusal_names_the_rule_or_the_delegation(tmp_path: Path) -> None:
    """Who said no stands behind the reason."""
    with Trail(tmp_path / "t") as trail:
        call = {"run": "r", "call": "c", "agent": "a", "step": 1, "tool": "pay", "arguments": {}, "code": "denied"}
        decision = {"hook": "policy.toml", "verdict": "deny", "rule": "no-paying"}
        trail.append("refusal", **call, reason="because", decisions=[decision])
        trail.append("refusal", **call, reason="over", decisions=[], refused_by="lent")
    first, second = timeline(tmp_path / "t")
    assert first.endswith("a step 1: pay({})  denied: because  policy.toml=deny (no-paying)  #c")
    assert second.endswith("a step 1: pay({})  denied: over  delegation lent  #c")


@pytest.fixture
def hourly(tmp_path: Path) -> Path:
    """Records at 8, 9, 10 and 11 o'clock UTC of 14 November 2023."""
    hours = iter(range(8, 12))
    with Trail(tmp_path / "t", clock=lambda: 1700000000 // 86400 * 86400 + next(hours) * 3600) as trail:
        for _ in range(4):
            trail.append("end", run="r")
    return tmp_path / "t"


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--since", "2023-11-14 10:00:00"), 2),
        (("--since", "2023-11-14T12:00:00+02:00"), 2),
        (("--since", "2023-11-14T10:00:00.5Z"), 1),
        (("--since", "2023-11-14"), 4),
        (("--until", "2023-11-14"), 0),
        (("--since", "2023-11-14 09:00", "--until", "2023-11-14 11:00"), 2),
        (("--kind", "end"), 4),
        (("--kind", "run"), 0),
    ],
)
def test_a_filter_is_what_it_says(
    hourly: Path, words: tuple[str, ...], count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Times are compared as times, in the forms that people and `show` itself write."""
    assert main(["audit", "show", *words, str(hourly)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == count


@pytest.mark.parametrize(
    "words", [("--since", "yesterday"), ("--until", "16:15"), ("--since", "2026-13-45"), ("--kind", "refusals")]
)
def test_a_filter_that_means_nothing_is_refused(hourly: Path, words: tuple[str, str]) -> None:
    """It would give an empty answer, or a full one."""
    with pytest.raises(SystemExit) as ended:
        main(["audit", "show", *words, str(hourly)])
    assert ended.value.code == 2


def test_any_terminal_will_do(tmp_path: Path) -> None:
    """Where the output is not UTF-8 what it cannot say is written out."""
    with Trail(tmp_path / "t") as trail:
        trail.append("x", text="caf\u00e9")
    command = [sys.executable, "-m", "smolagents_hardened.cli", "audit", "show", str(tmp_path / "t")]
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    shown = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert "caf\\xe9" in shown.stdout


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Status and output of `audit verify`."""
    capsys.readouterr()
    status = main(["audit", "verify", *map(str, words)])
    return status, capsys.readouterr().out


def test_verify_takes_the_head_that_lies_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the key a signed trail whose end was cut is found out by itself; where no head is at hand that is said."""
    path, key = tmp_path / "t", tmp_path / "key"
    Signer.generate(key)
    signer = Signer.from_file(key)
    with Trail(path, keeping=Keeping(signer=signer)) as trail:
        trail.append("x")
        trail.append("x")
    status, text = said(capsys, "--key", f"{key}.pub", path)
    assert (status, "ok: 2 records" in text, "The end is not checked" in text) == (0, True, False)
    assert "The end is not checked" in said(capsys, path)[1]
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    status, text = said(capsys, "--key", f"{key}.pub", path)
    assert (status, "TAMPERED" in text) == (1, True)
    (tmp_path / "t.head").unlink()
    status, text = said(capsys, "--key", f"{key}.pub", path)
    assert (status, "The end is not checked" in text) == (0, True)


def test_a_trail_that_was_never_signed_is_not_called_tampered(
    hourly: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not ok with a key, and nobody has tampered with it; the private key is not what is asked for."""
    Signer.generate(tmp_path / "key")
    status, text = said(capsys, "--key", tmp_path / "key.pub", hourly)
    assert (status, "NOT OK (unsigned)" in text, "TAMPERED" in text) == (1, True, False)
    assert main(["audit", "verify", "--key", str(tmp_path / "key"), str(hourly)]) == 2
    assert "give the public one" in capsys.readouterr().err

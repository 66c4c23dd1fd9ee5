"""People can read a trail, and the model that wrote into it cannot play with their terminal."""

from __future__ import annotations

from pathlib import Path

from smolagents_hardened.audit.report import timeline
from smolagents_hardened.audit.trail import Trail


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

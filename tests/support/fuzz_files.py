"""Targets on files that somebody else may have written: a trail that was tampered with, a policy with a slip in it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import MappingProxyType

from tests.support.fuzz_choices import Choices, mutated

from smolagents_hardened.audit.record import seal
from smolagents_hardened.audit.report import Filter, timeline
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import VerifyReport, verify
from smolagents_hardened.errors import AuditError, ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.wire.json_text import Tree

# Memory, where there is such a place: a target writes a file for each execution.
_DIRECTORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
# Lines of which a reader could make too much: a number that no int() takes, an object that no stack takes.
_ODD_LINES = (
    b'{"seq":' + b"9" * 5000 + b"}\n",
    b"[" * 5000 + b"\n",
    b'{"kind":"\\ud800"}\n',
    b"NaN\n",
    b'{"time":1e999}\n',
)
_KINDS = {"form", "edited", "missing", "order", "spliced", "torn", "head"}


@contextlib.contextmanager
def file_of(data: bytes, suffix: str) -> Iterator[Path]:
    """A file with this content, for as long as it is needed."""
    descriptor, name = tempfile.mkstemp(suffix, dir=_DIRECTORY)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(data)
        yield Path(name)
    finally:
        os.unlink(name)


@cache
def original() -> tuple[bytes, str]:
    """A trail of six records, one call without its OUTCOME, and the hash of its last record."""
    with file_of(b"", ".jsonl") as path, Trail(path, clock=lambda: 1.5e9) as trail:
        trail.append("box_start", run="r", enforcement={"memory": {"level": "full"}})
        for call in ("a", "b"):
            trail.append(
                "intent", run="r", call=call, tool="t", agent="a", step=1, arguments={"x": [1, 2.5, "é"]}, digest="d"
            )
        trail.append(
            "outcome", run="r", call="a", tool="t", status="ok", duration_us=12, result="\x1b[31m", result_digest="d"
        )
        trail.append(
            "refusal", run="r", call="c", tool="t", arguments={}, reason="no", code="denied", decisions=[{"hook": "h"}]
        )
        trail.append("box_end", run="r", number=2**60)
        return path.read_bytes(), trail.head


def tampered(choices: Choices, whole: bytes) -> bytes:
    """A trail, cut, doubled, swapped, edited; also with records that are sealed anew, as a forger could."""
    lines = whole.splitlines(keepends=True)
    for _ in range(choices.below(5)):
        place = choices.below(len(lines)) if lines else 0
        match choices.below(8):
            case 0:
                lines[place : place + 1] = []
            case 1:
                lines.insert(place, choices.pick(lines) if lines else b"\n")
            case 2 if lines:
                lines[place] = lines[place][: choices.below(400)]
            case 3 if lines:
                at = choices.below(400)
                lines[place] = lines[place][:at] + choices.raw(4) + lines[place][at + choices.below(4) :]
            case 4 | 5 if lines:
                lines[place] = _resealed(choices, lines[place])
            case 6:
                lines.insert(place, choices.raw(100) if choices.below(4) else choices.pick(_ODD_LINES))
            case _:
                lines.append(_resealed(choices, lines[-1]) if lines else b"{}\n")
    return b"".join(lines)


def _resealed(choices: Choices, line: bytes) -> bytes:
    """A record with changed members; with a hash of its own that is right, if it can have one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(record, dict):
        return line
    changed = mutated(choices, record, choices.pick((record, 10**4000, [[[]]], {"hash": "x"})))
    if not isinstance(changed, dict) or choices.chance(3):
        return json.dumps(changed, ensure_ascii=bool(choices.below(2))).encode("utf-8", "surrogatepass") + b"\n"
    changed.pop("hash", None)
    try:
        return seal(changed).line
    except ValueError:
        return line


def audit(data: bytes) -> None:
    """Checking a trail gives a report whatever is in the file; with the head kept elsewhere, an `ok` means that every byte
    up to it is as it was. Whatever is in it, it is shown as printable lines.
    """
    choices = Choices(data)
    raw = choices.rest() if choices.chance(4) else tampered(choices, original()[0])
    whole, head = original()
    with file_of(raw, ".jsonl") as path:
        for expected in (None, head):
            report = verify(path, expected)
            assert isinstance(report, VerifyReport)
            assert report.ok == (not report.problems)
            assert {problem.kind for problem in report.problems} <= _KINDS
        assert not report.ok or raw.startswith(whole), "a change went unseen"
        wanted = choices.pick(({}, {"tool": frozenset({"t"})}, {"call": frozenset({"a", choices.text()})}))
        shown = list(timeline(path, Filter(wanted, choices.pick(("", "2017")), ""), is_json=bool(choices.below(2))))
        assert all(line.isprintable() for line in shown)
        assert wanted or len(shown) <= raw.count(b"\n") + 1


def trail(data: bytes) -> None:
    """A trail is opened on any file, or AuditError leaves the file as it was; one that opens goes on and checks out, and the
    bytes before stay but for a torn last line.
    """
    choices = Choices(data)
    raw = choices.rest() if choices.chance(4) else tampered(choices, original()[0])
    with file_of(raw, ".jsonl") as path:
        try:
            with Trail(path, clock=lambda: 1.6e9) as opened:
                opened.append("note", text="after")
                count = opened.count
        except AuditError:
            assert path.read_bytes() == raw
            return
        written = path.read_bytes()
        assert written.startswith(raw[: raw.rfind(b"\n") + 1])
        report = verify(path)
        assert report.ok, report.problems
        assert report.count == count


_POLICY = """default = "deny"
[[rule]]
tool = "read_*"
agent = "re[s-z]earcher"
effect = "allow"
reason = "reading is fine"
when.path = { regex = "/data/.*", max_length = 40 }
when.n = { min = 1, max = 2.5, not = { equals = 2 } }
[[rule]]
tool = "final_answer"
effect = "ask"
timeout_s = 3
when.answer = { in = [1, "x", true], present = true, contains = "x" }
[[rule]]
tool = "*"
effect = "stop"
when.day = { equals = 2026-01-02 }
"""
_YAML = """default: deny
rule:
  - tool: "read_*"
    agent: researcher
    effect: allow
    when: {path: {regex: "/data/.*", max_length: 40}, "n": {min: 1, max: 2.5, not: {equals: 2}}}
  - tool: final_answer
    effect: ask
    timeout_s: 3
    when:
      answer: {in: [1, x, true], present: true}
"""
_RULES: Tree = {
    "default": "allow",
    "rule": [
        {"tool": "r?ad", "effect": "deny", "when": {"path": {"regex": "(a|b)+", "max_length": 4}}},
        {
            "tool": "*",
            "agent": "[!a]*",
            "effect": "ask",
            "timeout_s": 1.5,
            "when": {"n": {"min": 1, "not": {"in": [1]}}},
        },
    ],
}
_WORDS: tuple[Tree, ...] = (
    *(
        "[",
        "(",
        "a{99999999999}",
        "(" * 200,
        "[z-a]*",
        "\\",
        "(?P<x>",
        "\ud800",
        "stop",
        "regex",
        "not",
        "equals",
        10**400,
    ),
    *(float("inf"), float("nan"), [], {}, {"not": {"not": {"present": True}}}, None, -1, True, "x" * 5000),
)


def _calls() -> tuple[ToolCall, ...]:
    arguments: tuple[dict[str, object], ...] = (
        {},
        {"path": "/data/x", "n": 2, "answer": "x", "day": None},
        {"path": b"\xff", "n": float("nan"), "answer": [1], "day": True},
        {"path": "\ud800", "n": 10**400, "answer": {"x": 1}},
    )
    return tuple(
        ToolCall("c", "r", 1, agent, (agent,), tool, MappingProxyType(given), "d", "code")
        for tool, agent in (("read_file", "researcher"), ("final_answer", "a"))
        for given in arguments
    )


CALLS = _calls()


def policy(data: bytes) -> None:
    """A policy file gives a Policy or a ConfigError; a Policy has a decision on every call, whatever its arguments."""
    choices = Choices(data)
    if choices.below(2):
        text, suffix = choices.pick(((_POLICY, ".toml"), (_YAML, ".yaml")))
        at = choices.below(len(text))
        raw = text[:at].encode() + choices.raw(8) + text[at + choices.below(16) :].encode()
    elif choices.chance(4):
        raw, suffix = choices.rest(), choices.pick((".toml", ".json", ".yaml"))
    else:
        tree = _RULES
        for _ in range(1 + choices.below(3)):
            tree = mutated(choices, tree, choices.pick(_WORDS))
        raw, suffix = json.dumps(tree).encode(), choices.pick((".json", ".yaml"))  # YAML is a superset
    with file_of(raw, suffix) as path:
        try:
            made = Policy.from_file(path)
        except ConfigError as error:
            str(error).encode("utf-8", "backslashreplace")
            return
    for call in CALLS:
        assert isinstance(made.before_tool_call(call), Decision)

"""Signatures, heads, rotation, sinks, locks: how a trail is kept, and what each attempt to tamper is answered with."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import time
from pathlib import Path

import jsonschema
import pytest

from smolagents_hardened.audit.keeping import Keeping
from smolagents_hardened.audit.record import canonical
from smolagents_hardened.audit.redact import Redactor
from smolagents_hardened.audit.report import Filter, timeline
from smolagents_hardened.audit.schema import schema
from smolagents_hardened.audit.segments import segments
from smolagents_hardened.audit.sign import Head, Signer, Verifier
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.cli import main
from smolagents_hardened.errors import AuditError, ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the trail of one test lies."""
    return tmp_path / "t.jsonl"


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """A key of one's own."""
    return Signer.generate(tmp_path / "key")


def write(path: Path, count: int = 5, **keeping: object) -> None:
    """A trail of so many records, closed."""
    with Trail(path, keeping=Keeping(**keeping)) as trail:  # type: ignore[arg-type]
        for number in range(count):
            trail.append("signed" if number < 0 else "recovered", torn={"n": number, "f": 0.5, "t": "é"})


def kinds(path: Path, key: Signer, head: Head | None = None) -> list[str]:
    """The kinds of problems that a check with the public key finds."""
    return [problem.kind for problem in verify(path, head, Verifier.from_pem(key.public_pem())).problems]


# ---- signatures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3, 100])
def test_a_signed_trail_verifies_to_its_end(path: Path, signer: Signer, every: int) -> None:
    """Signed on each record or some, the last one always is; records fit the schema."""
    write(path, 7, signer=Signer(signer._key, every))
    assert kinds(path, signer) == []
    report = verify(path, key=Verifier.from_pem(signer.public_pem()))
    assert report.signed == report.count
    for line in path.read_text().splitlines():
        jsonschema.validate(json.loads(line), schema())


def test_a_forged_signature_is_named(path: Path, signer: Signer, tmp_path: Path) -> None:
    """A trail signed by somebody else fails on every signature; without the key it verifies."""
    write(path, 2, signer=Signer.generate(tmp_path / "other"))
    assert kinds(path, signer) == ["signature", "signature", "unsigned"]
    assert verify(path).ok


def test_a_rewritten_tail_cannot_be_signed(path: Path, signer: Signer) -> None:
    """Whoever rewrites records, hashes and all, has no signature for them."""
    write(path, 3, signer=signer)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    with Trail(path) as forger:
        forger.append("recovered", torn={"n": "forged"})
    assert kinds(path, signer) == ["unsigned"]


def test_a_signature_covers_what_stands_before_it(path: Path, signer: Signer) -> None:
    """A change in an unsigned record is found like in any, and its hash cannot be mended behind a signature."""
    write(path, 4, signer=Signer(signer._key, 4))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"n":1', b'"n":9')
    path.write_bytes(b"".join(lines))
    assert kinds(path, signer) == ["edited"]


def test_a_cut_end_shows_against_the_signed_head(path: Path, signer: Signer) -> None:
    """The head beside the file names what the last record was; a head by another key is no head."""
    write(path, 5, signer=signer)
    head = Head.read(path.with_name("t.jsonl.head"))
    assert kinds(path, signer, head) == []
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    assert kinds(path, signer) == []
    assert kinds(path, signer, head) == ["head"]
    assert kinds(path, signer, Head(head.seq - 1, json.loads(lines[-2])["hash"], head.sig)) == ["head"]


def test_a_trail_without_signatures_proves_nothing(path: Path, signer: Signer) -> None:
    """With the key an emptied trail, or one that was never signed, is not ok."""
    write(path, 3)
    problem = verify(path, key=Verifier.from_pem(signer.public_pem())).problems[0]
    assert (problem.kind, problem.message) == ("unsigned", "no record has a signature by this key: nothing is proven")
    path.write_bytes(b"")
    assert verify(path).ok
    assert kinds(path, signer) == ["unsigned"]


def test_intermediate_signatures_are_no_loss(path: Path, signer: Signer) -> None:
    """The last signature proves all that the ones before it did."""
    write(path, 3, signer=signer)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for record in lines[:-1]:
        del record["sig"]
    path.write_bytes(b"".join(canonical(record) + b"\n" for record in lines))
    assert kinds(path, signer) == []
    lines[1]["torn"]["n"] = 9
    path.write_bytes(b"".join(canonical(record) + b"\n" for record in lines))
    assert kinds(path, signer) == ["edited"]


def test_a_head_is_no_record_and_a_record_no_head(signer: Signer) -> None:
    """A signature of one kind is worth nothing as the other."""
    key, sha256 = Verifier.from_pem(signer.public_pem()), "a" * 64
    assert key.record(sha256, signer.record(sha256))
    assert not key.head(Head(1, sha256, signer.record(sha256)))
    assert not key.record(sha256, signer.head(1, sha256).sig)
    assert not key.record(sha256, None)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A private key is its owner's; an existing file is not overwritten; what is no key is named."""
    Signer.generate(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError):
        Signer.generate(tmp_path / "key")
    (tmp_path / "other.pub").write_text("precious")
    with pytest.raises(ConfigError, match="public key"):
        Signer.generate(tmp_path / "other")
    assert (tmp_path / "other.pub").read_text() == "precious"
    assert not (tmp_path / "other").exists()
    with pytest.raises(ConfigError, match="give the public one"):
        Verifier.from_pem((tmp_path / "key").read_bytes())
    os.chmod(tmp_path / "key", 0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Signer.from_file(tmp_path / "key")
    (tmp_path / "no").write_text("no key")
    os.chmod(tmp_path / "no", 0o600)
    with pytest.raises(ConfigError, match="no key"):
        Signer.from_file(tmp_path / "no")


def test_the_command_line_signs_and_verifies(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """keygen makes the pair; verify takes the public half and the head file."""
    assert main(["audit", "keygen", str(tmp_path / "k")]) == 0
    write(path, 3, signer=Signer.from_file(tmp_path / "k"))
    command = ["audit", "verify", str(path), "--key", str(tmp_path / "k.pub"), "--head", str(path) + ".head"]
    assert main(command) == 0
    assert "signed up to record 3" in capsys.readouterr().out
    path.write_bytes(path.read_bytes().replace(b'"n":1', b'"n":2'))
    assert main(command) == 1
    assert "t.jsonl, line 2: edited" in capsys.readouterr().out


# ---- rotation -------------------------------------------------------------------------------------------------


def test_a_rotated_trail_is_one_chain(path: Path) -> None:
    """Closed files and the growing one verify together, are shown together, and are continued after a restart."""
    write(path, 40, rotate_bytes=4096)
    write(path, 40, rotate_bytes=4096)
    assert len(segments(path)) >= 3
    report = verify(path)
    assert report.ok
    seqs = [json.loads(line)["seq"] for line in timeline(path, is_json=True)]
    assert seqs == list(range(1, report.count + 1))
    with Trail(path) as trail:
        assert [record["seq"] for record in trail.records()] == seqs


def test_a_restart_right_after_rotation_continues(path: Path) -> None:
    """With an empty or missing growing file the chain goes on from the last closed one."""
    write(path, 5)
    path.rename(path.with_name(path.name + ".000001"))
    write(path, 5)
    assert verify(path).ok
    assert verify(path).count == 11  # the first of the new file says which was before


def test_a_missing_closed_file_is_named(path: Path) -> None:
    """Without one of its files a trail does not verify."""
    write(path, 60, rotate_bytes=4096)
    segments(path)[1].unlink()
    assert [problem.kind for problem in verify(path).problems] == ["missing"]


def _append(path: str, count: int, head: str = "") -> None:
    with Trail(path, keeping=Keeping(rotate_bytes=4096)) as trail:
        for number in range(count):
            trail.append("recovered", torn={"pid": os.getpid(), "n": number, "head": head})


def test_processes_rotate_together(path: Path) -> None:
    """Three processes append to one rotating trail: one chain, nothing lost."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append, args=(str(path), 60)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    report = verify(path)
    assert report.ok, report.problems[:3]
    found = [json.loads(line) for line in timeline(path, is_json=True)]
    assert sum(record["kind"] == "recovered" for record in found) == 180


def test_a_rotation_while_another_process_opens_or_follows_loses_nothing(path: Path) -> None:
    """Files that are closed at every second record, six processes that open and append: one whole chain."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append, args=(str(path), 40, "x" * 1500)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert verify(path).ok
    assert sum(record["kind"] == "recovered" for record in map(json.loads, timeline(path, is_json=True))) == 240


def test_a_file_that_was_moved_away_is_noticed(path: Path) -> None:
    """Somebody else's rotation, under another name, stops the next append."""
    with Trail(path) as trail:
        trail.append("signed")
        path.rename(path.with_name("elsewhere"))
        with pytest.raises(AuditError, match="moved or replaced"):
            trail.append("signed")


# ---- sinks, locks, durability ---------------------------------------------------------------------------------


def test_sinks_get_every_record(path: Path) -> None:
    """A callable gets each record and its line, in order; one that fails is an AuditError."""
    got: list[bytes] = []
    write(path, 3, sinks=(lambda record, line: got.append(line),))
    assert b"".join(got) == path.read_bytes()

    def full(record: object, line: bytes) -> None:
        raise OSError("queue full")

    with Trail(keeping=Keeping(sinks=(full,))) as trail, pytest.raises(AuditError, match="queue full"):
        trail.append("signed")


def test_a_lock_that_is_never_released_ends_in_an_error(path: Path) -> None:
    """Another process that holds the lock costs the time limit, not for ever."""
    with Trail(path, keeping=Keeping(lock_timeout_s=0.1)) as trail, path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        started = time.monotonic()
        with pytest.raises(AuditError, match="held its lock"):
            trail.append("signed")
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("fsync", "expected"), [("never", []), ("intents", ["intent"]), ("always", ["intent", "outcome"])]
)
def test_what_is_written_through(path: Path, monkeypatch: pytest.MonkeyPatch, fsync: str, expected: list[str]) -> None:
    """By choice nothing, the announcements of effects, or every record is synced."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    with Trail(path, keeping=Keeping(fsync=fsync)) as trail:  # type: ignore[arg-type]
        for kind in ("intent", "outcome"):
            trail.append(kind)
    assert len(synced) == len(expected)


@pytest.mark.parametrize(
    "bad",
    [
        {"fsync": "sometimes"},
        {"rotate_bytes": 1},
        {"rotate_bytes": True},
        {"sinks": (3,)},
        *({"lock_timeout_s": bad} for bad in ("5", -1, float("nan"), None, True)),
    ],
)
def test_odd_ways_to_keep_are_refused(bad: dict[str, object]) -> None:
    """Unknown words and numbers that make no sense."""
    with pytest.raises(ConfigError):
        Keeping(**bad)  # type: ignore[arg-type]


# ---- patterns of secrets, filters ------------------------------------------------------------------------------


def test_patterns_hide_secrets_within_texts(path: Path) -> None:
    """A key inside a longer text is replaced, its neighbours are shown, and the digest is keyed."""
    redactor = Redactor.from_mapping({"patterns": ["sk-[a-z0-9]{8,}"], "names": ["ssn*"]})
    with Trail(path, redact=redactor) as trail:
        record = trail.append(
            "x", text="use sk-abcdef123456 now", digest="d", arguments={"SSN_no": "123", "city": "Paris"}
        )
    assert "sk-abcdef123456" not in path.read_text()
    assert '"123"' not in path.read_text()
    assert str(record["text"]).startswith("use [redacted ")
    assert str(record["text"]).endswith("] now")
    assert (record["keyed"], record["digest"] != "d") == (True, True)


@pytest.mark.parametrize("raw", [{"patterns": ["("]}, {"patterns": "x"}, {"words": []}, 3])
def test_odd_redaction_is_refused(raw: object) -> None:
    """Patterns that are none, unknown keys."""
    with pytest.raises(ConfigError):
        Redactor.from_mapping(raw)


def test_the_timeline_can_be_filtered(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By kind, tool, agent, run, call and time; as lines or as the records."""
    times = iter([0.0, 3600.0, 7200.0])
    with Trail(path, clock=lambda: next(times)) as trail:
        for number, tool in enumerate("aba"):
            trail.append("outcome", run="r", call=f"c{number}", tool=tool, status="ok", duration_us=1)
    assert len(list(timeline(path, Filter({"tool": frozenset("a")})))) == 2
    assert len(list(timeline(path, Filter({"tool": frozenset("a"), "call": frozenset({"c2"})})))) == 1
    assert len(list(timeline(path, Filter(since="1970-01-01T01")))) == 2
    assert main(["audit", "show", str(path), "--tool", "b", "--until", "1970-01-01T02", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["call"] == "c1"

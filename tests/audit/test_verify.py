"""Every change to a trail shows, and is named."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from smolagents_hardened.audit.chain import Problem
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import verify


def lines_of(path: Path, count: int = 6, word: str = "a") -> list[bytes]:
    """A fresh trail of so many records, as its lines."""
    path.unlink(missing_ok=True)
    with Trail(path) as trail:
        for number in range(count):
            trail.append("x", value=number, word=word, ratio=0.5, text="é")
    return path.read_bytes().splitlines(keepends=True)


def kinds(path: Path, lines: list[bytes]) -> list[str]:
    """What a check of these lines names."""
    path.write_bytes(b"".join(lines))
    return [problem.kind for problem in verify(path).problems]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the trail of one test lies."""
    return tmp_path / "audit.jsonl"


def test_an_untouched_trail_is_ok(path: Path) -> None:
    """What Trail writes verifies: the positive control of all that follows."""
    lines = lines_of(path)
    report = verify(path)
    assert (report.ok, report.count, report.problems) == (True, 6, ())
    assert report.head == json.loads(lines[-1])["hash"]


def test_an_empty_trail_is_ok(path: Path) -> None:
    """No record is no problem."""
    path.touch()
    assert verify(path).ok


def test_an_edit_is_named(path: Path) -> None:
    """A changed field makes one problem, in its line."""
    lines = lines_of(path)
    lines[2] = lines[2].replace(b'"word":"a"', b'"word":"b"')
    path.write_bytes(b"".join(lines))
    assert verify(path).problems == (Problem(3, "edited", "record 3 does not match its own hash", path.name),)


def test_a_deletion_is_named(path: Path) -> None:
    """Missing records make one problem that says which."""
    lines = lines_of(path)
    del lines[2:4]
    path.write_bytes(b"".join(lines))
    assert verify(path).problems == (Problem(3, "missing", "record 3..4 is missing before record 5", path.name),)


def test_an_insertion_is_named(path: Path) -> None:
    """A record that stands twice makes a problem of order."""
    lines = lines_of(path)
    assert kinds(path, [*lines[:4], lines[1], *lines[4:]]) == ["order", "missing"]


def test_a_reordering_is_named(path: Path) -> None:
    """Two records that changed places make problems of order."""
    lines = lines_of(path)
    lines[2], lines[3] = lines[3], lines[2]
    assert "order" in kinds(path, lines)


def test_a_splice_is_named(path: Path) -> None:
    """A record of another trail, valid in itself and with the right number, does not fit the chain."""
    lines, other = lines_of(path), lines_of(path, word="b")
    assert kinds(path, [*lines[:3], other[3], *lines[4:]]) == ["spliced", "spliced"]


def test_a_rewritten_record_breaks_the_chain(path: Path) -> None:
    """A record that is changed *and* hashed again does not fit the one after it."""
    lines = lines_of(path)
    record = json.loads(lines[2])
    del record["hash"]
    record["word"] = "b"
    record["hash"] = sha256(rfc8785.dumps(record)).hexdigest()
    lines[2] = rfc8785.dumps(record) + b"\n"
    assert kinds(path, lines) == ["spliced"]


def test_a_cut_end_shows_with_the_head_only(path: Path) -> None:
    """Without the head a cut trail is a shorter trail; with it, the cut is named."""
    lines = lines_of(path)
    head = verify(path).head
    assert verify(path, head).ok
    path.write_bytes(b"".join(lines[:-1]))
    assert verify(path).ok
    assert [problem.kind for problem in verify(path, head).problems] == ["head"]


def test_an_older_head_still_fits(path: Path) -> None:
    """A head noted earlier verifies a trail that has grown since."""
    lines = lines_of(path)
    assert verify(path, json.loads(lines[2])["hash"]).ok


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"kind":"x"', b'"kind": "x"'),
        (b'"kind":"x"', b'"kind":"x","kind":"x"'),
        (b'"ratio":0.5', b'"ratio":5e-1'),
        (b'"ratio":0.5', b'"ratio":0.50'),
        (b'"ratio":0.5', b'"ratio":NaN'),
        (b'"ratio":0.5', b'"ratio":1e999'),
        (b'"value":1', b'"value":1.0'),
        (b'"value":1', b'"value":9007199254740993'),
        (b'"value":1', b'"value":' + b"1" * 5000),
        (b'"value":1', b'"value":' + b"[" * 100_000),
        (b'"seq":2', b'"seq":true'),
        ("é".encode(), b"\\u00e9"),
        ("é".encode(), b"\xe9"),
        (b"{", b""),
        (b"\n", b"\r\n"),
        (b"\n", b"\n\n"),
        (b'"hash"', b'"hasch"'),
    ],
)
def test_another_form_of_a_record_is_no_record(path: Path, old: bytes, new: bytes) -> None:
    """Bytes that are not the canonical form are named, whatever a lenient reader would make of them."""
    lines = lines_of(path)
    assert old in lines[1]
    lines[1] = lines[1].replace(old, new, 1)
    assert kinds(path, lines)[0] == "form"


def test_a_nested_hash_is_no_trouble(path: Path) -> None:
    """Arguments that look like parts of a record are recorded and verified."""
    with Trail(path) as trail:
        first = trail.append("x")
        trail.append("x", arguments={"hash": first["hash"], "prev": 1, "kind": "outcome"})
    assert verify(path).ok


def test_calls_without_an_outcome_are_listed(path: Path) -> None:
    """An intent with an outcome is settled; one without is unknown; another run's outcome settles nothing."""
    with Trail(path) as trail:
        trail.append("intent", run="r", call="c1")
        trail.append("outcome", run="r", call="c1")
        trail.append("intent", run="r", call="c2")
        trail.append("outcome", run="s", call="c2")
    report = verify(path)
    assert (report.ok, report.unknown_outcomes) == (True, ("c2",))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_no_changed_byte_goes_unseen(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whichever byte of a trail is changed to whichever other, the check fails."""
    path = tmp_path_factory.mktemp("byte") / "t"
    whole = bytearray(b"".join(lines_of(path, 3)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    assert not verify(path).ok


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_no_rearrangement_goes_unseen(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any sequence of a trail's lines, and of another's, that is not a beginning of one of them is found out."""
    path = tmp_path_factory.mktemp("lines") / "t"
    one, other = lines_of(path, 4), lines_of(path, 4, "b")
    chosen = data.draw(st.lists(st.sampled_from(one + other), min_size=1, max_size=9))
    is_beginning = chosen in (one[: len(chosen)], other[: len(chosen)])
    assert (kinds(path, chosen) == []) == is_beginning


@pytest.mark.parametrize("change", [(b"0.5", b"0.50"), (b'"text":', b'"text":1,"text":'), (b",", b", ")])
def test_a_change_of_form_is_no_deletion(path: Path, change: tuple[bytes, bytes]) -> None:
    """A line that is no record is named once: what follows is taken for its place, and a gap behind it is a gap."""
    lines = lines_of(path)
    changed = lines[2].replace(*change, 1)
    assert kinds(path, [*lines[:2], changed, *lines[3:]]) == ["form"]
    assert kinds(path, [*lines[:2], changed, lines[3], lines[5]]) == ["form", "missing"]


def test_a_signature_has_its_form(path: Path) -> None:
    """Without the key, too, nothing but 128 hex digits stands in its place."""
    lines = lines_of(path)
    for sig, expected in (("ab" * 64, []), ("<script>" * 16, ["form"]), ("", ["form"])):
        record = json.loads(lines[0]) | {"sig": sig}
        assert kinds(path, [rfc8785.dumps(record) + b"\n", *lines[1:]]) == expected

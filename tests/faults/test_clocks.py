"""Clocks moved: the wall clock steps back and forth by years, and no deadline, order or check depends on it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.support.backends import backend

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.deadline import Deadline

YEAR_S = 365 * 86400.0


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock: each look at it is years away from the one before, forwards and backwards."""
    true, steps = time.time, itertools.cycle((0.0, 10 * YEAR_S, -10 * YEAR_S, 86400.0, -1.0))
    monkeypatch.setattr(time, "time", lambda: true() + next(steps))


def test_the_clock_does_jump(jumping: None) -> None:
    """The positive control: two looks at the wall clock are years apart."""
    looks = [time.time() for _ in range(5)]
    assert max(looks) - min(looks) > 19 * YEAR_S
    assert looks != sorted(looks)


def test_deadlines_do_not_see_the_wall_clock(jumping: None, backend_name: str, tmp_path: Path) -> None:
    """[R8] A step ends at its limit, another runs for as long as it may, and the trail checks out."""
    limits = Limits(wall_s=1.0, grace_s=0.5)
    audit = tmp_path / "audit.jsonl"
    with HardenedExecutor([], backend=backend(backend_name), limits=limits, audit=audit) as executor:
        executor.start()
        assert executor("import time\ntime.sleep(0.5)\n'slept'").output == "slept"
        started = time.monotonic()
        with pytest.raises(InterpreterError, match="exceeded the maximum execution time of 1 seconds"):
            executor("while True: pass")
        assert 0.9 < time.monotonic() - started < 4
    assert verify(audit).ok


def test_a_trail_is_ordered_by_its_chain_not_by_its_clock(tmp_path: Path) -> None:
    """Times that go backwards are written as they are; order and wholeness do not depend on them."""
    times = iter([2e9, 1e9, 1.5e9, 0.0])
    path = tmp_path / "audit.jsonl"
    with Trail(path, clock=lambda: next(times)) as trail:
        for number in range(4):
            trail.append("note", number=number)
        records = list(trail.records())
    assert [record["number"] for record in records] == [0, 1, 2, 3]
    assert [str(record["time"])[:4] for record in records] == ["2033", "2001", "2017", "1970"]
    assert verify(path).ok


def test_a_deadline_asks_only_the_clock_it_was_given() -> None:
    """A clock that stands still never lets a deadline pass; one that leaps lets it pass at once."""
    now = [0.0]
    deadline = Deadline(lambda: now[0], 5.0)
    assert deadline.remaining_s() == 5.0
    now[0] = 1e9
    assert deadline.has_passed()
    assert deadline.remaining_s() == 0.0

"""Boxes are made of what lies in the cache: nobody but its owner may be able to put anything there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.plain_user import NOBODY
from tests.support.probes import proves

from smolagents_hardened.backends import native_root, owned, packages
from smolagents_hardened.errors import BackendUnavailable

NAME = "smolagents-hardened"


def made_by_another(base: Path) -> None:
    """A directory that stood there before ours, of another user."""
    (base / NAME).mkdir(mode=0o755)
    os.chown(base / NAME, NOBODY, NOBODY)


def open_to_all(base: Path) -> None:
    """One of ours that anybody may write to."""
    (base / NAME).mkdir()
    (base / NAME).chmod(0o777)


def open_to_a_group(base: Path) -> None:
    """One of ours that a group may write to."""
    (base / NAME).mkdir()
    (base / NAME).chmod(0o775)


def below_an_open_one(base: Path) -> None:
    """One of ours, in a directory where anybody may rename it away."""
    base.chmod(0o777)


def below_anothers(base: Path) -> None:
    """One of ours, in another user's directory: `sudo` with the HOME of a user."""
    os.chown(base, NOBODY, NOBODY)


def behind_a_link(base: Path) -> None:
    """A link that another user has made, to a directory of his."""
    (base / "his").mkdir()
    os.chown(base / "his", NOBODY, NOBODY)
    (base / NAME).symlink_to(base / "his")


POISONS = (made_by_another, open_to_all, open_to_a_group, below_an_open_one, below_anothers, behind_a_link)
NEEDS_ROOT = {made_by_another, below_anothers, behind_a_link}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new place for caches."""
    made = tmp_path / "cache"
    made.mkdir(mode=0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(made))
    return made


@proves("cache.owner")
@pytest.mark.parametrize("poison", [p for p in POISONS if os.geteuid() == 0 or p not in NEEDS_ROOT])
def test_a_cache_that_another_can_change_is_refused(base: Path, poison: Callable[[Path], None]) -> None:
    """[R20] No box is made of a directory that another user owns, may write to, or may put another in the place of."""
    poison(base)
    with pytest.raises(BackendUnavailable, match="XDG_CACHE_HOME"):
        native_root.ensure(lambda line: None)
    assert not (base / NAME / "roots").exists()


@proves("cache.owner")
def test_a_cache_of_ones_own_is_taken(base: Path) -> None:
    """A new one is made for its owner alone; one in a directory with a sticky bit, as /tmp, is as good."""
    base.chmod(0o1777)
    assert packages.cache_directory() == base / NAME
    assert (base / NAME).stat().st_mode & 0o777 == 0o700


def test_owners_of_outside_are_known_by_the_map() -> None:
    """Where every number is mapped, as on a host, the number that stands for the unmapped is a user like any other."""
    is_host = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    assert (owned._owners_outside() == set()) is is_host

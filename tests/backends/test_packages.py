"""Packages: the right lines of the lock, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from smolagents_hardened.backends.packages import Target, install, key, lines_for
from smolagents_hardened.errors import BackendUnavailable

LOCK = """a==1 \\
    --hash=sha256:00
b==2 ; python_full_version < '3.12' \\
    --hash=sha256:11
b==3 ; python_full_version >= '3.12' \\
    --hash=sha256:22
"""
OLD, NEW = Target((3, 11), is_host=True), Target((3, 12), is_host=True)


def test_the_lines_of_one_python_are_chosen() -> None:
    """Each marker decides for the interpreter of the box, with its hashes."""
    assert lines_for(LOCK, OLD) == "a==1 \\\n    --hash=sha256:00\nb==2 \\\n    --hash=sha256:11"
    assert "b==3 \\\n    --hash=sha256:22" in lines_for(LOCK, NEW)
    assert "b==2" not in lines_for(LOCK, NEW)


def test_a_marker_nobody_understands_is_refused() -> None:
    """Doubt refuses."""
    with pytest.raises(ValueError, match="sys_platform"):
        lines_for("a==1 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n", OLD)


def test_a_failed_install_leaves_nothing_that_looks_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that does not fit is an error with the way out, and the next try starts anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    lock = "no-such-package==1 \\\n    --hash=sha256:" + "0" * 64 + "\n"
    with pytest.raises(BackendUnavailable, match="could not be installed"):
        install(lock, OLD, print)
    home = tmp_path / "smolagents-hardened" / "packages"
    assert [path.name for path in home.iterdir()] == [f"{key(lock, OLD)}.lock"]


def test_what_is_in_the_cache_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second install, and no line of progress."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = tmp_path / "smolagents-hardened" / "packages" / key(LOCK, OLD)
    done.mkdir(parents=True)
    lines: list[str] = []
    assert install(LOCK, OLD, lines.append) == done
    assert lines == []

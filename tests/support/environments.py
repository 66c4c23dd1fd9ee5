"""Packages that do not fit our lock, each set under a lock of its own: installed by pip with hashes, kept in the user's cache.

They lie before our own on the path of a Python process, so what they bring along (an older Pillow, another smolagents)
counts there and nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "tests" / "parity" / "environments"


def packages(name: str) -> Path:
    """The directory that holds what NAME.lock says. Raises RuntimeError that says what to do when it cannot be had."""
    lock = LOCKS / f"{name}.lock"
    content = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smolagents-hardened" / "environments"
    place = cache / f"{name}-{content}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as made:
            _install(lock, Path(made) / name)
            try:
                os.rename(Path(made) / name, place)
            except OSError:  # another test run was faster
                if not place.is_dir():
                    raise
    return place


def run_tests(name: str, files: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run these test files in a process of its own that finds NAME's packages first."""
    path = os.pathsep.join([str(ROOT / "executor"), str(ROOT), str(packages(name))])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *files]
    told = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=told)


def _install(lock: Path, place: Path) -> None:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
    ]
    exact = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(lock), "--target", str(place)]
    done = subprocess.run([*pip, *exact], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"the packages of {lock.name} could not be installed; tests need them. Check the network or pip's index"
            f" settings, then run again. pip said:\n{done.stderr.strip()[-2000:]}"
        )

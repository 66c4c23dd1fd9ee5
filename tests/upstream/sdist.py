"""The pinned sdist of smolagents, whose tests we run from outside: fetched by pip, checked by its hash, cached for the user."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "1.26.0"
SHA256 = "4ec92313265f9cfbcabfc88e192b4bc4505f8475dc5f33dc872062fc567037bd"
NAME = f"smolagents-{VERSION}"


def upstream_tests() -> Path:
    """The directory with upstream's tests. Raises RuntimeError that says what to do when the sdist cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smolagents-hardened"
    unpacked = cache / f"{NAME}-{SHA256[:12]}"
    if not unpacked.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as place:
            _fetch(Path(place))
            os.rename(Path(place) / NAME, unpacked)
    return unpacked / "tests"


def _fetch(place: Path) -> None:
    """Let pip download and check the archive, then take its Python tests out of it, as data."""
    pinned = place / "requirements.txt"
    pinned.write_text(f"smolagents=={VERSION} --hash=sha256:{SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--no-binary", "smolagents", "--require-hashes", "-r", str(pinned), "-d", str(place)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"the sdist of {NAME} could not be downloaded; its tests are needed here."
            f" Check the network or pip's index settings, then run again. pip said:\n{done.stderr.strip()}"
        )
    with tarfile.open(place / f"{NAME}.tar.gz") as archive:
        wanted = [member for member in archive if member.name.startswith(f"{NAME}/tests/") and member.isfile()]
        archive.extractall(place, members=[m for m in wanted if m.name.endswith(".py")], filter="data")

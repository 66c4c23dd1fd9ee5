"""From wishes ("scikit-learn==1.9.1") to a lock: every package at one version, with the hash of its wheel.

pip resolves and downloads nothing but metadata; no source distribution is built, so nothing of a package runs here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from smolagents_hardened.backends.packages import Target, pip, platform_options
from smolagents_hardened.errors import BackendUnavailable, ConfigError

NOT_FOUND = re.compile(r"No matching distribution found for (\S+)")
UNREACHABLE = re.compile(r"connection broken|ConnectionError|ConnectTimeout|name resolution|Name or service", re.I)


def of_names(lock: str, names: Sequence[str]) -> str:
    """The lines of a lock that belong to `names`."""
    wanted = {canonicalize_name(name) for name in names}
    entries = re.split(r"\n(?=\S)", lock.strip())
    return "\n".join(entry for entry in entries if canonicalize_name(entry.partition("==")[0]) in wanted) + "\n"


def names_in(lock: str) -> frozenset[str]:
    """The canonical names of what a lock holds."""
    return frozenset(canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))


def check(wishes: Sequence[str]) -> None:
    """ConfigError for a wish that is no name with a version: a path, an address, an option of pip's."""
    for wish in wishes:
        try:
            parsed = Requirement(wish)
        except InvalidRequirement as error:
            raise ConfigError(f"--with takes a package like 'polars' or 'polars==1.9', not {wish!r}") from error
        if parsed.url is not None:
            raise ConfigError(f"--with takes packages of the index, not addresses: {wish!r}")


def resolve(wishes: Sequence[str], pinned: str, target: Target) -> str:
    """A lock for `wishes` and what they require, with the lines of `pinned` as they are.

    Raises ConfigError for a package that does not exist or has no wheel, BackendUnavailable for an index out of reach.
    """
    check(wishes)
    pins = [f"{name}=={version}" for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", pinned, re.MULTILINE)]
    with tempfile.TemporaryDirectory() as nowhere:
        done = pip(
            ["install", "--dry-run", "--ignore-installed", "--report", "-", "--only-binary", ":all:"],
            [*platform_options(target), "--target", nowhere, "--", *pins, *wishes],
        )
    if done.returncode != 0:
        raise _refused(done, target)
    return "".join(sorted(_line(one) for one in json.loads(done.stdout)["install"]))


def _line(one: dict[str, dict[str, object]]) -> str:
    metadata, archive = one["metadata"], one["download_info"]["archive_info"]
    digest = archive["hashes"]["sha256"] if isinstance(archive, dict) else ""
    return f"{canonicalize_name(str(metadata['name']))}=={metadata['version']} \\\n    --hash=sha256:{digest}\n"


def _refused(done: subprocess.CompletedProcess[str], target: Target) -> ConfigError | BackendUnavailable:
    lines = done.stderr.strip().splitlines()
    tail = " ".join(" ".join(line for line in lines if line.startswith("ERROR"))[-400:].split()) or done.stderr[-400:]
    python = f"Python {target.version[0]}.{target.version[1]}"
    if UNREACHABLE.search(done.stderr):
        return BackendUnavailable(f"the package index cannot be reached; packages are resolved there. pip said: {tail}")
    found = NOT_FOUND.search(done.stderr)
    if found is None:
        return ConfigError(f"these packages do not go together on {python}. pip said: {tail}")
    return ConfigError(
        f"{found[1]} cannot be had as a wheel for {python} on x86-64 Linux: it does not exist there under that name and"
        f" version, or only as source, which is never built here. pip, of {sys.executable}, said: {tail}"
    )

"""What of this host's environment an import needs: its distribution, and what that requires in turn.

The environment is that of the running interpreter, as `importlib.metadata` tells it. A requirement counts where its
marker holds here, for the extras that were asked for; what a package can merely make use of is authorised by name.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from smolagents_hardened.backends.distribution_names import command_line, distribution_of
from smolagents_hardened.errors import MissingImports

Stamp = tuple[tuple[str, str, int], ...]  # entry of the path, directory that tells of a distribution, its time
# The gate of a box can ask for it; it is our own requirement, so it is always there.
ALWAYS = "restrictedpython"
OURS = "smolagents-hardened"  # a box has the part of it that belongs there, and no other


@dataclass(frozen=True, slots=True)
class Part:
    """One distribution, or a module that belongs to none (`distribution` is None), as a box gets it whole."""

    name: str
    distribution: Distribution | None
    modules: tuple[str, ...]  # top-level names, where no list of installed files says what belongs to it

    @property
    def version(self) -> str:
        """As its metadata says; "" for a module that belongs to no distribution."""
        return self.distribution.version if self.distribution is not None else ""


@dataclass(frozen=True)
class _Installed:
    """The environment, read once: canonical name -> distribution, and top-level name -> canonical names."""

    distributions: dict[str, Distribution]
    owners: dict[str, tuple[str, ...]]


def resolve(imports: Sequence[str], wishes: Sequence[str] = ()) -> tuple[Part, ...]:
    """The parts that `imports` (as authorised: "a", "a.b", "a.*", "*") and the box itself need, in a fixed order.

    Names of the standard library need none. Raises MissingImports for those that this environment does not have; what
    it lacks of `wishes` is left out.
    """
    names = sorted({name for name in (*imports, *wishes) if name.partition(".")[0] not in sys.stdlib_module_names})
    if not names:  # the common case costs no look at the whole environment
        return (Part(ALWAYS, importlib.metadata.distribution(ALWAYS), ()),)
    stamp = _stamp()
    installed = _read(stamp)
    owners = {name: _owners(name.removesuffix(".*"), installed) for name in names}
    alone = sorted({name.partition(".")[0] for name, found in owners.items() if not found})
    missing = [top for top in alone if _spec(top) is None]
    refused = {name.partition(".")[0] for name in imports}.intersection(missing)
    if refused:
        raise _missing(sorted(refused))
    wanted = {(ALWAYS, ""), *((owner, "") for found in owners.values() for owner in found)}
    parts = [_part(name, installed) for name in _closure(stamp, tuple(sorted(wanted)))]
    parts += [Part(top, None, (top,)) for top in alone if top not in missing]
    return tuple(sorted(parts, key=lambda part: (part.distribution is None, part.name)))


def _missing(names: Sequence[str]) -> MissingImports:
    wanted = sorted({distribution_of(name) for name in names})
    return MissingImports(
        f"Non-installed authorized modules: {', '.join(sorted(set(names)))}. A native box has the packages of this"
        f" Python's own environment, and these are not in it. Run: {sys.executable} -m pip install"
        f" {command_line(wanted)}"
    )


def _stamp() -> Stamp:
    """What changes whenever something is installed or removed: the directories that tell of it, and their times."""
    stamps = []
    for place in sys.path:
        try:
            entries = os.scandir(place or ".")
        except OSError:
            continue  # an entry that does not exist, or is an archive
        with entries:
            told = [entry for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
            stamps += sorted((place, entry.name, entry.stat().st_mtime_ns) for entry in told)
    return tuple(stamps)


@lru_cache(maxsize=2)
def _read(stamp: Stamp) -> _Installed:
    del stamp  # the key of the cache
    distributions: dict[str, Distribution] = {}
    for one in importlib.metadata.distributions():
        name = one.metadata["Name"]
        if name:  # what an installer left behind half removed has none
            distributions.setdefault(canonicalize_name(name), one)
    owners: dict[str, tuple[str, ...]] = {
        top: tuple(dict.fromkeys(canonicalize_name(name) for name in names))
        for top, names in importlib.metadata.packages_distributions().items()
    }
    return _Installed(distributions, owners)


def _owners(module: str, installed: _Installed) -> tuple[str, ...]:
    """The distributions that hold `module`; where several share its first name, those that hold the rest of it."""
    if module == "*":
        return tuple(name for name in installed.distributions if name != OURS)
    top, *rest = module.split(".")
    owners = installed.owners.get(top, ())
    if not owners:
        owner = _editable_owner(top, installed)
        return (owner,) if owner else ()
    while rest and len(owners) > 1:
        start = "/".join((top, *rest))
        holders = tuple(owner for owner in owners if _holds(installed.distributions[owner], start))
        if holders:
            return holders
        rest.pop()  # a name inside of a module
    return owners


def _holds(distribution: Distribution, start: str) -> bool:
    record = distribution.read_text("RECORD") or ""
    return any(line.startswith((f"{start}/", f"{start}.")) for line in record.splitlines())


def _editable_owner(top: str, installed: _Installed) -> str:
    """The distribution whose project directory holds the module: its own list of files names a .pth file only."""
    spec = _spec(top)
    places = [Path(place).resolve() for place in places_of(spec)] if spec is not None else []
    for name, distribution in installed.distributions.items():
        project = project_of(distribution)
        if project is not None and any(place.is_relative_to(project) for place in places):
            return name
    return ""


def project_of(distribution: Distribution) -> Path | None:
    """Where an editable installation has its source; None for any other. PEP 610."""
    text = distribution.read_text("direct_url.json")
    if text is None:
        return None
    told = json.loads(text)
    if not told.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(str(told["url"])).path)).resolve()


def places_of(spec: ModuleSpec) -> list[str]:
    """The directories of a package, or the file of a module."""
    if spec.submodule_search_locations is not None:
        return [place for place in spec.submodule_search_locations if os.path.isdir(place)]
    return [spec.origin] if spec.origin and os.path.isfile(spec.origin) else []


def _spec(top: str) -> ModuleSpec | None:
    """Where a top-level module is, if it is made of files; nothing of it runs."""
    if not top.isidentifier():  # a finder would take it for a path
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    return spec if spec is not None and places_of(spec) else None


@lru_cache(maxsize=32)
def _closure(stamp: Stamp, wanted: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """`wanted`, each with one extra or "", and everything required; what is required and not installed is left out."""
    installed = _read(stamp)
    seen: set[tuple[str, str]] = set()
    pending = list(wanted)
    while pending:
        one = pending.pop()
        name, extra = one
        if one in seen or name not in installed.distributions:
            continue
        seen.add(one)
        pending += _requirements(installed.distributions[name], extra)
    return frozenset(name for name, _ in seen if name != OURS)


def _requirements(distribution: Distribution, extra: str) -> Iterator[tuple[str, str]]:
    for text in distribution.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # of times before PEP 508: rather one too many
            match = re.match(r"[A-Za-z0-9][\w.-]*", text)
            if match is not None:
                yield canonicalize_name(match[0]), ""
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            name = canonicalize_name(requirement.name)
            yield name, ""
            yield from ((name, one) for one in requirement.extras)


def _part(name: str, installed: _Installed) -> Part:
    distribution = installed.distributions[name]
    if distribution.read_text("RECORD") is not None and project_of(distribution) is None:
        return Part(name, distribution, ())
    listed = (distribution.read_text("top_level.txt") or "").split()
    known = listed or [top for top, owners in installed.owners.items() if name in owners]
    return Part(name, distribution, tuple(sorted(known or _beneath_pth(distribution))))


def _beneath_pth(distribution: Distribution) -> list[str]:
    """The packages that an editable installation's .pth file adds: that of its own name, or else all that lie there."""
    found = []
    for file in distribution.files or ():
        if file.name.endswith(".pth"):
            for line in file.read_text().splitlines():
                if os.path.isabs(line) and os.path.isdir(line):
                    found += [entry.parent.name for entry in Path(line).glob("*/__init__.py")]
    own = canonicalize_name(distribution.metadata["Name"]).replace("-", "_")
    return [own] if own in found else found

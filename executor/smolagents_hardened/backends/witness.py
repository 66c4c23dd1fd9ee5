"""How several witnesses of one box become one judgement per layer: the worst word counts.

So the box's own report can lower a level that the engine and the kernel attest, and never raise one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from smolagents_hardened.backends.base import SHARED_MEMORY, may_start_processes
from smolagents_hardened.backends.enforcement import LAYERS, Enforcement, Layer, Level
from smolagents_hardened.confinement.profile import load_profile
from smolagents_hardened.limits import Limits

RANK = {Level.ABSENT: 0, Level.PARTIAL: 1, Level.FULL: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one witness says about one layer; `text` begins with who says it."""

    layer: str
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What a box should be, in terms that every witness can be asked about."""

    limits: Limits
    user: int | None  # as the host's kernel numbers it; None where the engine maps it, then any but root will do
    scratch: str  # the one path that can be written to
    rlimits: dict[str, int]  # name as in readback.LIMIT_LABELS -> soft and hard
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # what is mounted: name -> device, inode
    profile: str = "default"

    @property
    def writable(self) -> tuple[str, ...]:
        """Every place that can be written to: each is bounded."""
        return (self.scratch, SHARED_MEMORY) if may_start_processes(self.profile) else (self.scratch,)


def combine(backend: str, findings: Iterable[Finding], profile: str = "default") -> Enforcement:
    """One layer per name of LAYERS; a layer nobody spoke of is Absent."""
    heard = list(findings)
    layers = tuple(_layer(name, [one for one in heard if one.layer == name]) for name in LAYERS)
    return Enforcement(backend, layers, profile, load_profile(profile).warnings())


def _layer(name: str, findings: list[Finding]) -> Layer:
    if not findings:
        return Layer(name, Level.ABSENT, "not known before the box has reported")
    worst = min((finding.level for finding in findings), key=RANK.__getitem__)
    guilty = [finding for finding in findings if finding.level is worst]
    return Layer(name, worst, "; ".join(finding.text for finding in guilty))


def verdict(layer: str, problems: list[str], who: str, good: str) -> Finding:
    """Full with `good` where there is no problem, else Absent with all of them."""
    if problems:
        return Finding(layer, Level.ABSENT, f"{who}: {', '.join(problems)}")
    return Finding(layer, Level.FULL, f"{who}: {good}")

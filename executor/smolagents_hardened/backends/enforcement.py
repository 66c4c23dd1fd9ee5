"""Every layer of a box: Full, Partial or Absent, each with the evidence that was read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from smolagents_hardened.errors import NotEnforced


class Level(StrEnum):
    """How far a layer is in force."""

    FULL = "full"
    PARTIAL = "partial"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of one box: `evidence` says what was read, and from whom (engine, kernel, box)."""

    name: str
    level: Level
    evidence: str


# Every layer that a backend has to report. What is required by default is all of them but those in OPTIONAL.
LAYERS = (
    "seccomp_start",  # filter 1, on every thread since before the interpreter
    "seccomp_run",  # filter 2, before the first user byte
    "no_new_privileges",
    "capabilities",  # all five sets empty
    "user",  # no root, no group of the host
    "namespaces",  # own pid, mount, net, ipc, uts (and user where the backend makes one)
    "network",  # no interface but a downed loopback, no route
    "root_filesystem",  # read-only
    "scratch",  # bounded bytes and inodes, noexec
    "memory",  # with swap 0
    "tasks",
    "cpu",
    "file_limits",  # rlimits, soft = hard
    "output",  # the engine keeps no copy of what the box writes
    "landlock",
)
OPTIONAL = frozenset({"landlock"})  # a kernel without it still has two layers in front of each promise
REQUIRED = frozenset(LAYERS) - OPTIONAL


# What is required of a box that its user has asked for without namespaces (require="landlock").
REQUIRED_WITHOUT_NAMESPACES = frozenset(
    {"seccomp_start", "seccomp_run", "no_new_privileges", "memory", "cpu", "file_limits", "output", "landlock"}
)


@dataclass(frozen=True, slots=True)
class Enforcement:
    """The layers of one box, as read back, in the order of LAYERS; and in what it was asked to be weaker."""

    backend: str
    layers: tuple[Layer, ...]
    profile: str = "default"
    warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def lacking(self, names: frozenset[str]) -> NotEnforced | None:
        """The error that says which of these layers are not Full; None where all are."""
        missing = [layer for layer in self.layers if layer.name in names and layer.level is not Level.FULL]
        unknown = names - {layer.name for layer in self.layers}
        told = [f"{layer.name} is {layer.level} ({layer.evidence})" for layer in missing]
        told += [f"{name} was not reported" for name in sorted(unknown)]
        return (
            NotEnforced(f"required but not in force in this {self.backend} box: " + "; ".join(told)) if told else None
        )

    def require(self, names: frozenset[str]) -> None:
        """Raise NotEnforced unless each named layer is Full."""
        lacking = self.lacking(names)
        if lacking is not None:
            raise lacking

    def to_dict(self) -> dict[str, dict[str, str]]:
        """Plain data for JSON: name -> level and evidence."""
        return {layer.name: {"level": layer.level.value, "evidence": layer.evidence} for layer in self.layers}

    def __str__(self) -> str:
        width = max(len(layer.name) for layer in self.layers)
        rows = (f"{layer.name:<{width}}  {layer.level.value:<7}  {layer.evidence}" for layer in self.layers)
        return "\n".join([*rows, *(f"{'warning':<{width}}  {text}" for text in self.warnings)])

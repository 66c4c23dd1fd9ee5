"""What this host can enforce: a box is really started on each backend, and what it lacks is told with its fix."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.backends.choice import choose
from smolagents_hardened.backends.enforcement import REQUIRED, Enforcement, Layer, Level
from smolagents_hardened.config import BACKENDS
from smolagents_hardened.errors import BackendError, BoxError, ConfigError
from smolagents_hardened.fixes import fix
from smolagents_hardened.limits import Limits
from smolagents_hardened.session import Session
from smolagents_hardened.step import Answer
from smolagents_hardened.versions import Version, of_backend, of_host

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Gap:
    """A layer that is not fully in force, and what to do about it."""

    layer: str
    level: str
    evidence: str
    is_required: bool
    fix: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One backend as it was tried: `enforcement` is None where no box came up, and `problem` says why."""

    backend: str
    enforcement: Enforcement | None
    problem: str
    image: str
    start_s: float
    versions: tuple[Version, ...]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Every layer that is not Full."""
        if self.enforcement is None:
            return ()
        return tuple(_gap(self.backend, layer) for layer in self.enforcement if layer.level is not Level.FULL)

    @property
    def ok(self) -> bool:
        """Whether a box came up in which everything required is in force."""
        return self.enforcement is not None and not any(gap.is_required for gap in self.gaps)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The whole examination; `str()` is what a person reads."""

    versions: tuple[Version, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether at least one backend enforces everything required, on versions that are not below a floor."""
        return any(finding.ok for finding in self.findings) and not any(v.is_refused for v in self.versions)

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {
            "ok": self.ok,
            "versions": [version.to_dict() for version in self.versions],
            "backends": {finding.backend: _plain(finding) for finding in self.findings},
        }

    def __str__(self) -> str:
        blocks = ["host", *(f"  {version}" for version in self.versions)]
        for finding in self.findings:
            blocks += ["", *_told(finding)]
        names = [finding.backend for finding in self.findings if finding.ok]
        if self.ok:
            return "\n".join([*blocks, "", f"everything required is enforced by: {', '.join(names)}"])
        return "\n".join([*blocks, "", "no backend of this host enforces everything required: see the fixes above"])


def examine(backend: str | None = None, say: Say = lambda line: None) -> Diagnosis:
    """Try `backend`, or each one there is; `say` gets progress lines. What is missing is told, never raised."""
    names = [name for name in BACKENDS if name != "auto"] if backend is None else [backend]
    return Diagnosis(of_host(), tuple(_try(name, say) for name in names))


def _try(name: str, say: Say) -> Finding:
    say(f"doctor: trying {name}")
    try:
        return _started(name, say)
    except (BackendError, BoxError, ConfigError, ImportError) as error:
        return Finding(name, None, str(error), "", 0.0, ())


def _started(name: str, say: Say) -> Finding:
    """Start one box with nothing required, so that a weak host shows all its gaps at once."""
    backend = choose(name, frozenset(), say)
    try:
        limits = Limits()
        image = backend.manifest().image
        begun = time.monotonic()
        session = Session(backend.start(BoxRequest(limits)), limits, _no_tool, lambda text: None)
        try:
            session.open()
            took = time.monotonic() - begun
        finally:
            session.close()
        return Finding(name, session.enforcement, "", image, took, of_backend(name, say))
    finally:
        backend.close()


def _no_tool(tool: str, args: list[object], kwargs: dict[str, object]) -> Answer:
    return Answer("error", None, "NameError", f"there is no tool {tool!r}")


def _gap(backend: str, layer: Layer) -> Gap:
    is_required = layer.name in REQUIRED
    return Gap(layer.name, layer.level.value, layer.evidence, is_required, fix(backend, layer.name))


def _plain(finding: Finding) -> dict[str, object]:
    gaps = [
        {"layer": gap.layer, "level": gap.level, "required": gap.is_required, "fix": gap.fix} for gap in finding.gaps
    ]
    return {
        "ok": finding.ok,
        "problem": finding.problem,
        "image": finding.image,
        "start_s": round(finding.start_s, 3),
        "versions": [version.to_dict() for version in finding.versions],
        "enforcement": {} if finding.enforcement is None else finding.enforcement.to_dict(),
        "gaps": gaps,
    }


def _told(finding: Finding) -> list[str]:
    if finding.enforcement is None:
        return [f"backend {finding.backend}: cannot be used here", f"  {finding.problem}"]
    state = "enforces everything required" if finding.ok else "does NOT enforce everything required"
    lines = [f"backend {finding.backend}: {state} (a box was up after {finding.start_s:.2f} s)"]
    lines += [f"  {version}" for version in finding.versions]
    lines += [f"  {line}" for line in str(finding.enforcement).splitlines()]
    for gap in finding.gaps:
        kind = "required" if gap.is_required else "optional"
        lines.append(f"  to do ({kind}, {gap.layer} is {gap.level}): {gap.fix}")
    return lines

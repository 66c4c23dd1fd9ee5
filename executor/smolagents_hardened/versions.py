"""Versions against their floors. A floor is the oldest version that this package can work with or was tested with."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from smolagents_hardened.errors import BackendError

# Linux 4.6: cgroup namespaces, the youngest thing that a box cannot do without (TSYNC is of 3.17, ambient capabilities
# are of 4.3). 5.13: Landlock, which is optional.
KERNEL_FLOOR, KERNEL_WANTED = (4, 6), (5, 13)
PYTHON_FLOOR = (3, 11)  # pyproject.toml
SMOLAGENTS_FLOOR = (1, 24)  # pyproject.toml
ENGINE_FLOOR = (20, 10)  # API 1.41: private cgroup namespaces
RUNC_FLOOR = (1, 1)  # the oldest that the suite has run with


@dataclass(frozen=True, slots=True)
class Version:
    """One component: what was found, what is needed, what to do. `found` is "" where it is not there."""

    name: str
    found: str
    floor: str
    is_below: bool
    is_required: bool
    fix: str

    @property
    def is_refused(self) -> bool:
        """Whether nothing can work with this version."""
        return self.is_below and self.is_required

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "found": self.found,
            "floor": self.floor,
            "ok": not self.is_below,
            "required": self.is_required,
            "fix": self.fix if self.is_below else "",
        }

    def __str__(self) -> str:
        state = f"older than {self.floor}: {self.fix}" if self.is_below else f"at least {self.floor}: ok"
        return f"{self.name:<12} {self.found or 'not found':<22} {state}"


def parse(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: "6.1.0-18-amd64" is (6, 1, 0); () for a text without any."""
    match = re.match(r"\D{0,2}(\d+(?:\.\d+)*)", text)
    return tuple(int(number) for number in match[1].split(".")) if match else ()


def of_host() -> tuple[Version, ...]:
    """Kernel, Python, smolagents, and the machine they run on."""
    kernel = platform.release() if platform.system() == "Linux" else ""
    return (
        _version("kernel", kernel, KERNEL_FLOOR, "run boxes on a newer Linux; elsewhere Docker Desktop brings its own"),
        _version("for Landlock", kernel, KERNEL_WANTED, "a newer kernel adds Landlock", is_required=False),
        _version("Python", platform.python_version(), PYTHON_FLOOR, "install a newer CPython"),
        _version("smolagents", _installed("smolagents"), SMOLAGENTS_FLOOR, "pip install --upgrade smolagents"),
    )


def of_backend(name: str, say: Callable[[str], None]) -> tuple[Version, ...]:
    """What a backend stands on: for Docker the engine and its runtime."""
    if name != "docker":
        return ()
    from smolagents_hardened.backends import docker_engine

    try:
        client = docker_engine.connect()
        try:
            raw: dict[str, Any] = client.version()
        finally:
            client.close()
    except BackendError as error:
        say(f"doctor: {error}")
        return ()
    parts = {str(part.get("Name")): str(part.get("Version")) for part in raw.get("Components") or ()}
    found = [_version("engine", str(raw.get("Version", "")), ENGINE_FLOOR, "install Docker 20.10 or newer")]
    if "runc" in parts:
        found.append(_version("runc", parts["runc"], RUNC_FLOOR, "update runc", is_required=False))
    return tuple(found)


def _version(name: str, found: str, floor: tuple[int, ...], fix: str, *, is_required: bool = True) -> Version:
    is_below = parse(found) < floor
    return Version(name, found, ".".join(map(str, floor)), is_below, is_required, fix)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""

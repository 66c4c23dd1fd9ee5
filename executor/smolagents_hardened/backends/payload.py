"""What goes into every box beside Python and its packages: our guest, the wire, the filters; on every backend."""

from __future__ import annotations

import hashlib
from pathlib import Path

from smolagents_hardened.confinement import oci
from smolagents_hardened.confinement.bpf import compile_filter
from smolagents_hardened.confinement.profile import PROFILES, load_profile
from smolagents_hardened.errors import BackendUnavailable

PACKAGE = Path(__file__).resolve().parents[1]
HOME = "/opt/hardened"  # where it lies in the box
SHARED = ("__init__.py", "wire/*.py", "guest/*.py")  # of the package, nothing else is in a box


def images_directory() -> Path:
    """The directory with Containerfile, lock and filter 1: inside an installed package, else in the repository."""
    for path in (PACKAGE / "images", PACKAGE.parents[1] / "images"):
        if (path / "Containerfile").is_file():
            return path
    raise BackendUnavailable("the images/ directory is missing: reinstall smolagents-hardened")


def image_file(name: str) -> str:
    """The text of one file of images/. Raises BackendUnavailable where it is missing or empty."""
    path = images_directory() / name
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BackendUnavailable(f"{path} cannot be read ({error}): reinstall smolagents-hardened") from error
    if not text.strip():
        raise BackendUnavailable(f"{path} is empty: reinstall smolagents-hardened")
    return text


def files() -> dict[str, bytes]:
    """Path beneath HOME -> content, in a fixed order."""
    content: dict[str, bytes] = {}
    for pattern in SHARED:
        for path in PACKAGE.glob(pattern):
            content[f"{PACKAGE.name}/{path.relative_to(PACKAGE).as_posix()}"] = path.read_bytes()
    for profile, filter_bytes in filters().items():
        content[f"filters/{profile}.bpf"] = filter_bytes
    return dict(sorted(content.items()))


def digest(content: dict[str, bytes]) -> str:
    """One digest over names and contents."""
    total = hashlib.sha256()
    for name, data in content.items():
        total.update(f"{name}\0{len(data)}\0".encode())
        total.update(data)
    return total.hexdigest()


def engine_filter(profile: str) -> str:
    """Filter 1 of a profile as an engine takes it; that of the default profile is a file that anybody can read."""
    return image_file("seccomp.json") if profile == "default" else oci.to_json(load_profile(profile).start)


def filters() -> dict[str, bytes]:
    """Filter 2 of each profile, compiled."""
    return {name: compile_filter(load_profile(name).run) for name in PROFILES}

"""The figures that the latest step has shown, on the host: plain pixels, checked before anybody looks at them."""

from __future__ import annotations

from smolagents_hardened.errors import WireViolation
from smolagents_hardened.limits import Limits
from smolagents_hardened.session import Session
from smolagents_hardened.wire.neutral import Pixels

MODE = "RGB"


def shown(session: Session, limits: Limits) -> list[object]:
    """Fetch what a step has shown: PIL images, or `Pixels` where PIL is not installed."""
    found = []
    for number in range(session.pictures):
        picture = session.picture(number)
        if not _is_picture(picture, limits.picture_bytes):
            session.close()
            raise WireViolation("the box sent something else where a picture is due, or one that is too large")
        found.append(picture)
    return found


def _is_picture(picture: object, most_bytes: int) -> bool:
    if not isinstance(picture, Pixels) and not _is_image(picture):
        return False
    mode, (width, height) = picture.mode, picture.size  # type: ignore[attr-defined]  # both kinds have these
    return bool(mode == MODE and width * height * len(MODE) <= most_bytes)


def _is_image(picture: object) -> bool:
    try:
        from PIL.Image import Image
    except ImportError:
        return False
    return isinstance(picture, Image)

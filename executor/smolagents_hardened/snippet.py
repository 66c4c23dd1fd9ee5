"""Whether a snippet can be sent at all: found before anything is, so that a bad one costs nothing."""

from __future__ import annotations

import json


def unsendable(code: str, frame_bytes: int) -> str:
    """Why this snippet cannot be put into one frame; empty if it can."""
    try:
        size = len(json.dumps(code, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return "the code holds a lone surrogate, which is no text"
    return f"the code has {size} bytes; a step may have {frame_bytes // 2}" if size > frame_bytes // 2 else ""

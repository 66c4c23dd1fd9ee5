"""The kernel's surface as a box sees it: measured from inside, and the table that it has to be."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

from tests.support import every_syscall

from smolagents_hardened import HardenedExecutor

EXPECTED = Path(__file__).with_name("syscalls_expected.json")
SOURCE = Path(every_syscall.__file__).read_text(encoding="utf-8").rsplit("\nif __name__", 1)[0]
REACHED = "kernel"


def measure(box: HardenedExecutor, door: str) -> dict[str, Any]:
    """What every number of one door answers, from inside."""
    logs = box(f"{SOURCE}\nmain({door!r})").logs
    return dict(json.loads(logs.splitlines()[-1]))


def table(measured: dict[str, Any], allowed: frozenset[int]) -> dict[str, str]:
    """One word a number: the name of its refusal, or that it reaches the kernel for some arguments."""
    words = {}
    for number, answers in measured["answers"].items():
        names = [errno.errorcode.get(one, str(one)) if one else "0" for one in answers]
        words[number] = REACHED if int(number) in allowed else " ".join(sorted(set(names)))
    words.update(dict.fromkeys(map(str, measured["left_out"]), "left out"))
    return dict(sorted(words.items(), key=lambda item: int(item[0])))

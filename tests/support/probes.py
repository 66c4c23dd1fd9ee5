"""Attack programs: plain functions whose text is sent into a box, or to a process without one.

A program stands alone: it imports what it needs inside, and knows `prelude` besides. What it returns is JSON.
"""

from __future__ import annotations

import inspect
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tests.support import prelude, scratch_child
from tests.support.canary import World

from smolagents_hardened import HardenedExecutor

Program = Callable[..., object]
OUTSIDE_S = 20


def _nothing(world: World) -> tuple[object, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Attack:
    """One program, the answers that it must get in a box, and those that show that it works without one.

    property: a key of properties.PROPERTIES. given, given_outside: the arguments, once the world is known.
    outside: None where there is no control; `uncontrolled` says why. is_bounded: the control runs as the root of
    namespaces of its own, so that it does to nobody what it is able to do.
    """

    property: str
    program: Program
    inside: frozenset[str]
    outside: frozenset[str] | None
    given: Callable[[World], tuple[object, ...]] = _nothing
    given_outside: Callable[[World], tuple[object, ...]] | None = None
    uncontrolled: str = ""
    name: str = ""
    is_bounded: bool = False

    def __str__(self) -> str:
        return self.name or self.program.__name__


def one_of(*answers: str) -> frozenset[str]:
    """Answers that count."""
    return frozenset(answers)


def text_of(program: Program, *arguments: object) -> str:
    """The program as one snippet that ends in its call."""
    call = f"{program.__name__}(*json.loads({json.dumps(arguments)!r}))"
    return f"{inspect.getsource(prelude)}\n\n{inspect.getsource(program)}\nimport json\n{call}"


def inside(box: HardenedExecutor, program: Program, *arguments: object) -> object:
    """Run it in the box."""
    return box(text_of(program, *arguments)).output


def outside(program: Program, *arguments: object, is_bounded: bool = False) -> object:
    """Run it in a process of its own without a box, with a socket for its stdin; its positive control."""
    source, call = text_of(program, *arguments).rsplit("\n", 1)
    prologue = scratch_child.PROLOGUE if is_bounded else ""
    left, right = socket.socketpair()
    with left, right:
        done = subprocess.run(
            [sys.executable, "-c", f"{source}\n{prologue}\nprint(json.dumps({call}))"],
            stdin=left,
            capture_output=True,
            text=True,
            timeout=OUTSIDE_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def proves(*properties: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Say which properties a test holds up; `test_meta` counts."""
    del properties

    def same(test: Callable[..., None]) -> Callable[..., None]:
        return test

    return same

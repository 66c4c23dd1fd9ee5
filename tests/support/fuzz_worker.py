"""One fuzz target in a process of its own: `fuzz` it by coverage, count the `lines` that given inputs reach, or `choose` the
few inputs that reach what all of them reach.

What is measured has to be imported under the measuring tool, so nothing of the package is imported at the top.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType


def fuzz(name: str, flags: list[str]) -> None:
    """Hand the process over to libFuzzer; it ends with it."""
    import atheris

    with atheris.instrument_imports(include=["smolagents_hardened"]):
        from tests.support.fuzz_targets import TARGETS
    atheris.Setup([sys.argv[0], *flags], TARGETS[name])
    atheris.Fuzz()


def lines(name: str, directories: list[str]) -> str:
    """Run every input of some directories; "covered/all" lines of the modules that the target is about."""
    import coverage

    measured = coverage.Coverage(source_pkgs=["smolagents_hardened"], data_file=None)
    with measured.collect():
        from tests.support.fuzz_targets import ROOMS, TARGETS

        for directory in directories:
            for path in sorted(Path(directory).iterdir()):
                TARGETS[name](path.read_bytes())
    covered = every = 0
    for room in ROOMS[name]:
        _, known, _, missing, _ = measured.analysis2(sys.modules[f"smolagents_hardened.{room}"])
        every += len(known)
        covered += len(known) - len(missing)
    return f"{covered}/{every}"


def choose(name: str, directories: list[str]) -> str:
    """Paths of the inputs, the smallest first, that each go from one line to another as none before did."""
    from tests.support.fuzz_targets import TARGETS

    steps: set[tuple[str, int, int]] = set()

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., object] | None:
        if "smolagents_hardened" not in frame.f_code.co_filename:
            return None
        last = 0

        def local(frame: FrameType, event: str, argument: object) -> Callable[..., object]:
            nonlocal last
            steps.add((frame.f_code.co_filename, last, frame.f_lineno))
            last = frame.f_lineno
            return local

        return local

    chosen = []
    for path in sorted((p for d in directories for p in Path(d).iterdir()), key=lambda path: path.stat().st_size):
        before = len(steps)
        sys.settrace(trace)
        try:
            TARGETS[name](path.read_bytes())
        finally:
            sys.settrace(None)
        if len(steps) > before:
            chosen.append(str(path))
    return "\n".join(chosen)


if __name__ == "__main__":
    if sys.argv[1] == "fuzz":
        fuzz(sys.argv[2], sys.argv[3:])
    else:
        print({"lines": lines, "choose": choose}[sys.argv[1]](sys.argv[2], sys.argv[3:]))

"""One fuzz target in a process of its own: `fuzz` it by coverage, or count the `lines` that given inputs reach.

What is measured has to be imported under the measuring tool, so nothing of the package is imported at the top.
"""

from __future__ import annotations

import sys
from pathlib import Path


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


if __name__ == "__main__":
    if sys.argv[1] == "fuzz":
        fuzz(sys.argv[2], sys.argv[3:])
    else:
        print(lines(sys.argv[2], sys.argv[3:]))

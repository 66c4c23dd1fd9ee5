"""The kernel's surface, measured by trying it: from inside a box, and behind filter 1 alone; and the table that it has to be."""

from __future__ import annotations

import errno
import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support import every_syscall, locked, scratch_child

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.confinement.profile import load_profile
from smolagents_hardened.confinement.rules import Stage

# Stage -> number -> word. The stages' names are those of the filters; a box shows `run`, whatever its backend.
EXPECTED: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("syscalls_expected.json").read_text())
SOURCE = Path(every_syscall.__file__).read_text(encoding="utf-8").rsplit("\nif __name__", 1)[0]
REACHED = "kernel"
PROFILE = load_profile()
ALLOWED = {
    Stage.START: frozenset(syscall.number for syscall in PROFILE.start.syscalls),
    Stage.RUN: frozenset(syscall.number for syscall in PROFILE.run.syscalls),
}
ROOT = Path(__file__).parents[2]


def measure(box: HardenedExecutor, door: str) -> dict[str, Any]:
    """What every number of one door answers, from inside."""
    logs = box(f"{SOURCE}\nmain({door!r})").logs
    return dict(json.loads(logs.splitlines()[-1]))


def measure_behind(rules: str, scratch: Path) -> dict[str, Any]:
    """What every number answers behind one filter, an expression of the rules, and nothing else; no number acts outside."""
    take = f"lockdown_unsafe.forbid_gaining()\nlockdown_unsafe.install_filter(compile_filter({rules}))"
    ended = locked.run(f"{SOURCE}\n{scratch_child.PROLOGUE}\n{take}\nmain()", scratch, is_locked=False)
    assert ended.status == 0, ended.errors
    return ended.lines()[0]


def measure_behind_engine(image: str) -> dict[str, Any]:
    """What every number answers in a container that has filter 1 from its engine, and nothing of ours inside."""
    command = ["docker", "run", "--rm", "-i", "--network=none", "--cap-drop=ALL", "--user=12345:12345"]
    command += ["--security-opt=no-new-privileges", f"--security-opt=seccomp={ROOT / 'images' / 'seccomp.json'}"]
    command += ["--memory=256m", "--pids-limit=64", "--entrypoint=/usr/local/bin/python3", image, "-"]
    done = subprocess.run(command, input=f"{SOURCE}\nmain()", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(measured: dict[str, Any], stage: Stage) -> dict[str, str]:
    """One word a number: the name of its refusal, or that it reaches the kernel for some arguments."""
    words = {}
    for number, answers in measured["answers"].items():
        names = [errno.errorcode.get(one, str(one)) if one else "0" for one in answers]
        words[number] = REACHED if int(number) in ALLOWED[stage] else " ".join(sorted(set(names)))
    words.update(dict.fromkeys(map(str, measured["left_out"]), "left out"))
    return dict(sorted(words.items(), key=lambda item: int(item[0])))

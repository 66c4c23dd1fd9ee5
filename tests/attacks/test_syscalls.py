"""Every system call number, by every door, from inside a box."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.attacks.syscalls import (
    ALLOWED,
    EXPECTED,
    PROFILE,
    REACHED,
    measure,
    measure_behind,
    measure_behind_engine,
    table,
)
from tests.support import every_syscall, locked
from tests.support.backends import DECLARED, backend
from tests.support.probes import proves

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.confinement.rules import Stage

MOST_NAMES = 64


@proves("kernel.list")
def test_every_number_answers_as_the_table_says(box: HardenedExecutor) -> None:
    """[R6] Each number from 0 to 600 is refused with the errno of the table, or is one that the table lets through."""
    assert table(measure(box, "numbers"), Stage.RUN) == EXPECTED[Stage.RUN]


@proves("kernel.list")
@pytest.mark.parametrize("name", DECLARED)
def test_every_number_answers_as_the_table_says_before_the_lock_down(tmp_path: Path, name: str) -> None:
    """[R6] Behind filter 1 alone, as it is compiled or as an engine makes it of our JSON, each number answers as listed.

    Engines before 23.0 know no default errno: what no entry names is EPERM there, up to the last number they know.
    """
    if name == "native":
        found, by_default = table(measure_behind("load_profile().start", tmp_path), Stage.START), set[str]()
    else:
        image = backend(name).manifest().image  # type: ignore[attr-defined]
        found = table(measure_behind_engine(image), Stage.START)
        named = {str(answer.number) for answer in PROFILE.start.answers}
        by_default = {number for number, word in EXPECTED[Stage.START].items() if word == "ENOSYS"} - named
    assert {found[number] for number in by_default} <= {"ENOSYS", "EPERM"}
    assert found | dict.fromkeys(by_default, "ENOSYS") == EXPECTED[Stage.START]


@proves("kernel.list")
@pytest.mark.parametrize("stage", Stage)
def test_it_is_the_filter_that_refuses(tmp_path: Path, stage: Stage) -> None:
    """Where the filter's errno is one that no kernel gives, each refused number answers that: it never reaches a kernel."""
    rules = f"RuleSet(load_profile(pid=os.getpid()).{stage}.syscalls, (), 55)"  # ENOANO
    answers = measure_behind(rules, tmp_path)["answers"]
    refused = {int(number) for number, found in answers.items() if set(found) == {errno.ENOANO}}
    assert refused == {int(number) for number in answers} - ALLOWED[stage]


@proves("kernel.list")
def test_what_the_table_lets_through_reaches_the_kernel(box: HardenedExecutor) -> None:
    """An allowed number answers as only the kernel does, for one pattern of arguments at least."""
    measured = measure(box, "numbers")["answers"]
    mute = [
        number
        for number, word in EXPECTED[Stage.RUN].items()
        if word == REACHED and all(one == errno.ENOSYS for one in measured[number])
    ]
    assert mute == []


@proves("kernel.list")
@pytest.mark.parametrize("stage", Stage)
def test_the_table_knows_each_name(stage: Stage) -> None:
    """What passes is in the table of its stage; at most 64 names pass once user code runs."""
    reached = {int(number) for number, word in EXPECTED[stage].items() if word == REACHED}
    left_out = {int(number) for number, word in EXPECTED[stage].items() if word == "left out"}
    assert reached <= ALLOWED[stage] <= reached | left_out
    assert len(ALLOWED[Stage.RUN]) <= MOST_NAMES


@proves("kernel.doors")
@pytest.mark.parametrize("door", ["x32", "i386"])
def test_the_other_doors_are_shut(box: HardenedExecutor, door: str) -> None:
    """[R6] The numbers of x32 and of i386 are refused, or end the box; none of them does anything."""
    try:
        answers = set(measure(box, door)["answers"].values())
    except InterpreterError as error:
        answers = {errno.ENOSYS if "SIGSYS" in str(error) else 0}  # ended by the filter, at the first of them
    assert answers <= {errno.ENOSYS, errno.EPERM, errno.EACCES}


@proves("kernel.doors")
def test_the_i386_door_is_open_without_a_filter(tmp_path: Path) -> None:
    """The program that knocks at `int 0x80` gets an answer where nothing is locked down, if the kernel has the door."""
    source = locked.source_of("every_syscall").rsplit("\nif __name__", 1)[0]
    ended = locked.run(f"{source}\nmain('i386')", tmp_path, is_locked=False)
    assert ended.status != 0 or ended.lines()[0]["answers"]["20"] in (0, errno.ENOSYS)


@proves("kernel.list")
def test_the_measurement_can_fail(tmp_path: Path) -> None:
    """Without one name on the list, its number no longer reaches the kernel: the table would not be met."""
    source = locked.source_of("every_syscall").rsplit("\nif __name__", 1)[0]
    answers = locked.run(f"{source}\nmain('numbers')", tmp_path, without=("fdatasync",)).lines()[0]["answers"]
    assert set(answers["75"]) == {errno.ENOSYS}
    assert EXPECTED[Stage.RUN]["75"] == REACHED
    assert every_syscall.LAST == 600

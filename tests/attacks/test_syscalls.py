"""Every system call number, by every door, from inside a box."""

from __future__ import annotations

import errno
import json

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.attacks.syscalls import EXPECTED, REACHED, measure, table
from tests.support import every_syscall, locked
from tests.support.probes import proves

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.confinement.profile import load_profile

RULES = load_profile(pid=1).run
ALLOWED = frozenset(syscall.number for syscall in RULES.syscalls)
MOST_NAMES = 64


@proves("kernel.list")
def test_every_number_answers_as_the_table_says(box: HardenedExecutor) -> None:
    """Each number from 0 to 600 is refused with the errno of the table, or is one that the table lets through."""
    found = table(measure(box, "numbers"), ALLOWED)
    assert found == json.loads(EXPECTED.read_text())


@proves("kernel.list")
def test_what_the_table_lets_through_reaches_the_kernel(box: HardenedExecutor) -> None:
    """An allowed number answers as only the kernel does, for one pattern of arguments at least."""
    measured = measure(box, "numbers")["answers"]
    mute = [
        number
        for number, word in json.loads(EXPECTED.read_text()).items()
        if word == REACHED and all(one == errno.ENOSYS for one in measured[number])
    ]
    assert mute == []


@proves("kernel.list")
def test_the_list_is_short() -> None:
    """At most 64 names pass once user code runs, and the table knows each of them."""
    words = json.loads(EXPECTED.read_text())
    reached = {int(number) for number, word in words.items() if word == REACHED}
    assert reached | {int(n) for n, word in words.items() if word == "left out"} >= ALLOWED
    assert len(ALLOWED) <= MOST_NAMES


@proves("kernel.doors")
@pytest.mark.parametrize("door", ["x32", "i386"])
def test_the_other_doors_are_shut(box: HardenedExecutor, door: str) -> None:
    """The numbers of x32 and of i386 are refused, or end the box; none of them does anything."""
    try:
        answers = set(measure(box, door)["answers"].values())
    except InterpreterError as error:
        answers = {errno.ENOSYS if "SIGSYS" in str(error) else 0}  # ended by the filter, at the first of them
    assert answers <= {errno.ENOSYS, errno.EPERM, errno.EACCES}


@proves("kernel.doors")
def test_the_i386_door_is_open_without_a_filter(tmp_path: object) -> None:
    """The program that knocks at `int 0x80` gets an answer where nothing is locked down, if the kernel has the door."""
    source = locked.source_of("every_syscall").rsplit("\nif __name__", 1)[0]
    ended = locked.run(f"{source}\nmain('i386')", tmp_path, is_locked=False)
    assert ended.status != 0 or ended.lines()[0]["answers"]["20"] in (0, errno.ENOSYS)


@proves("kernel.list")
def test_the_measurement_can_fail(tmp_path: object) -> None:
    """Without one name on the list, its number no longer reaches the kernel: the table would not be met."""
    source = locked.source_of("every_syscall").rsplit("\nif __name__", 1)[0]
    answers = locked.run(f"{source}\nmain('numbers')", tmp_path, without=("fdatasync",)).lines()[0]["answers"]
    assert set(answers["75"]) == {errno.ENOSYS}
    assert json.loads(EXPECTED.read_text())["75"] == REACHED
    assert every_syscall.LAST == 600

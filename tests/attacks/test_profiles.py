"""The attack programs in boxes that their user has asked to be weaker: what holds still does, the rest is in a table.

The answers in a table are those that the profile gives up by what it is for; every other program must get the answer
that it gets in a box of the default profile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.attacks.test_programs import ATTACKS
from tests.support.backends import DECLARED, backend
from tests.support.canary import World, end_world, make_world
from tests.support.probes import Attack, inside

from smolagents_hardened import HardenedExecutor

# Program -> what it is told where processes may be started.
PROCESSES = {
    "count_processes": "others",  # those of the box: its first process stays behind the runner
    "signal_process": "ESRCH",  # the number means nothing in this pid namespace
    "signal_everybody": "ESRCH",  # there is nobody but the first process, which nobody can signal
    "run_program": "ENOENT",  # there is no other program in the root
    "replace_itself": "ENOENT",
    "fork": "succeeded",
    "garbage_above": "passed ['signal']",  # to a process that is not there
}


@pytest.fixture(scope="module", params=DECLARED)
def family(request: pytest.FixtureRequest) -> Iterator[HardenedExecutor]:
    """A box in which processes may be started, for every program of the module."""
    executor = HardenedExecutor(["*"], backend=backend(str(request.param)), gate="off", processes=True)
    executor.start()
    yield executor
    executor.cleanup()


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_with_processes(family: HardenedExecutor, world: World, unchanged: World, attack: Attack) -> None:
    """[R1] [R3] [R4] [R5] A box that may start processes withstands the same, but for what the option is for."""
    told = inside(family, attack.program, *attack.given(world))
    assert told == PROCESSES.get(attack.program.__name__) or told in attack.inside


# Program -> what it is told in a box without namespaces. What is seen there is names: none of it can be read or changed.
SEEN = {
    "stat_path": ("EACCES", "succeeded"),
    "climb_out": ("EACCES", "succeeded"),
    "see_process": ("seen",),
    "count_processes": ("others",),
    "interfaces": ("some",),
    "known_sockets": (
        "reached",
    ),  # the file is there; the program takes that for an answer, and filter 2 knows no socket
}
# The same refusal in another word: the path is there, and Landlock says no.
REFUSED_OTHERWISE = {
    "read_file": ("EACCES",),
    "read_process": ("EACCES",),
    "core_dump": ("Function not implemented",),  # it asks for its limit first
}
# The bounding set, which a plain user cannot empty, limits what an exec could gain, and there is none.
OF_A_USER = {"capabilities": ("some",)}
# What is lost: a directory of the host is not mounted noexec, so a file of scratch can be mapped as code.
LOST = {"map_executable": ("succeeded",)}
LANDLOCK = SEEN | REFUSED_OTHERWISE | OF_A_USER | LOST


def landlock_failures(folder: Path) -> list[str]:
    """Run every program in a box without namespaces, made by this user in a world of his own; those that did not fail."""
    world = make_world(folder)
    failures = []
    with HardenedExecutor(["*"], backend="native", gate="off", require="landlock") as box:
        scratch = str(box("import os\nos.getcwd()").output)
        before = world.look()
        for attack in ATTACKS:
            given = [scratch if one == "/tmp" else one for one in attack.given(world)]
            try:
                told = str(inside(box, attack.program, *given))
            except InterpreterError as error:
                told = str(error)
            expected = (*LANDLOCK.get(attack.program.__name__, ()), *attack.inside)
            if not any(
                one in told if one in LANDLOCK.get(attack.program.__name__, ()) else one == told for one in expected
            ):
                failures.append(f"{attack}{given}: {told}")
            if world.look() != before:
                failures.append(f"{attack}{given} changed the world: {before} {world.look()}")
    end_world(world)
    return failures

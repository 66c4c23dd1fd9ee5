"""The attack programs in boxes that their user has asked to be weaker: what holds still does, the rest is in a table.

The answers in a table are those that the profile gives up by what it is for; every other program must get the answer
that it gets in a box of the default profile.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.attacks.test_programs import ATTACKS
from tests.support.backends import DECLARED, backend
from tests.support.canary import World
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

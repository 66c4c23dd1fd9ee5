"""Each attack program fails in a box, on every backend; the same program works without one."""

from __future__ import annotations

import pytest
from tests.attacks import filesystem, kernel, network, process
from tests.support.canary import World
from tests.support.probes import Attack, inside, outside

from smolagents_hardened import HardenedExecutor

ATTACKS = (*filesystem.ATTACKS, *process.ATTACKS, *kernel.ATTACKS, *network.ATTACKS)


# The programs that are not tried without a box; whoever adds one adds it here.
UNCONTROLLED = kernel.NOT_IN_EVERY_KERNEL


def word(answer: object) -> str:
    """What an answer says, without its details."""
    return str(answer).split(":")[0]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_in_a_box_it_fails(box: HardenedExecutor, world: World, unchanged: World, attack: Attack) -> None:
    """[R1] [R2] [R3] [R4] [R5] [R6] [R19] The program gets an answer that means no, and nothing outside is another."""
    assert word(inside(box, attack.program, *attack.given(world))) in attack.inside


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.outside], ids=str)
def test_without_a_box_it_works(world: World, attack: Attack) -> None:
    """The program can do what it tries: its answer in a box is the box's doing."""
    given = attack.given_outside or attack.given
    assert attack.outside is not None
    assert word(outside(attack.program, *given(world), is_bounded=attack.is_bounded)) in attack.outside


def test_an_attack_without_a_control_says_why() -> None:
    """The programs that are not tried without a box are the few that are known, and each has a reason."""
    without = [attack for attack in ATTACKS if attack.outside is None]
    assert {str(attack) for attack in without} == UNCONTROLLED
    assert [str(attack) for attack in without if not attack.uncontrolled] == []

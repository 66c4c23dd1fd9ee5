"""Each attack program fails in a box, on every backend; the same program works without one."""

from __future__ import annotations

import pytest
from tests.attacks import filesystem, kernel, network, process
from tests.support.canary import World
from tests.support.probes import Attack, inside, outside

from smolagents_hardened import HardenedExecutor

ATTACKS = (*filesystem.ATTACKS, *process.ATTACKS, *kernel.ATTACKS, *network.ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_in_a_box_it_fails(box: HardenedExecutor, world: World, unchanged: World, attack: Attack) -> None:
    """The program gets an answer that means no, and nothing outside is another than before."""
    assert inside(box, attack.program, *attack.given(world)) in attack.inside


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.outside], ids=str)
def test_without_a_box_it_works(world: World, attack: Attack) -> None:
    """The program can do what it tries: its answer in a box is the box's doing."""
    given = attack.given_outside or attack.given
    assert attack.outside is not None
    assert outside(attack.program, *given(world)) in attack.outside


def test_without_a_filter_the_kernel_is_reached(world: World) -> None:
    """The calls of each subsystem reach a kernel where no filter stands before it, unless it is built without."""
    silent = set()
    for name, numbers in kernel.SUBSYSTEMS.items():
        harmless = [number for number in numbers if number not in kernel.NOT_OUTSIDE]
        if harmless and outside(kernel.subsystem_outside, *harmless) != "reached":
            silent.add(name)
    assert silent <= kernel.NOT_IN_EVERY_KERNEL


def test_an_attack_without_a_control_says_why() -> None:
    """A program that is not tried without a box has a reason."""
    assert [str(attack) for attack in ATTACKS if attack.outside is None and not attack.uncontrolled] == []

"""The compiled filter answers as the rules do, for every number, every rule both ways, and every door."""

from __future__ import annotations

import random
from itertools import product

import pytest
from tests.support import bpf_machine

from smolagents_hardened.confinement import bpf
from smolagents_hardened.confinement.profile import load_profile
from smolagents_hardened.confinement.rules import LOW_32, PRETENDED, Argument, Rule, RuleSet, Syscall
from smolagents_hardened.errors import ConfigError

PROFILE = load_profile()
FILTERS = {
    "start": (PROFILE.start, bpf.compile_filter(PROFILE.start)),
    "run": (PROFILE.run, bpf.compile_filter(PROFILE.run)),
}
GARBAGE = 0xFEED_BEEF << 32
ENOSYS = bpf.ERRNO | 38
I386 = 0x40000003  # AUDIT_ARCH_I386
AARCH64 = 0xC00000B7


def answer(errno: int) -> int:
    """The filter's answer for this errno, 0 meaning that the syscall passes."""
    if errno == PRETENDED:
        return bpf.ERRNO
    return bpf.ERRNO | errno if errno else bpf.ALLOW


def arguments_for(rule: Rule, *, spoil: int | None = None) -> tuple[int, ...]:
    """Six registers that match a rule, with garbage above bit 31; `spoil` makes one of its comparisons fail."""
    words = [GARBAGE] * 6
    for argument in rule.arguments:
        words[argument.index] = argument.value | (~argument.mask & LOW_32) | GARBAGE
    if spoil is not None:
        lowest_bit = rule.arguments[spoil].mask & -rule.arguments[spoil].mask
        words[rule.arguments[spoil].index] ^= lowest_bit
    return tuple(words)


RULES = [(s, r) for s in PROFILE.start.syscalls for r in s.rules]


@pytest.mark.parametrize(("which", "number"), list(product(FILTERS, range(0, 1024, 64))))
def test_every_number_is_answered_as_the_rules_say(which: str, number: int) -> None:
    """Each number from 0 to 1023 gets the rules' answer, with arguments all zero, all one and random."""
    rules, program = FILTERS[which]
    source = random.Random(number)
    for this in range(number, number + 64):
        for words in ((0,) * 6, (2**64 - 1,) * 6, tuple(source.getrandbits(64) for _ in range(6))):
            assert bpf_machine.run(program, this, words) == answer(rules.verdict(this, words))


@pytest.mark.parametrize(
    ("syscall", "rule"), RULES, ids=lambda item: item.name if isinstance(item, Syscall) else item.why[:30]
)
def test_each_rule_passes_what_it_names_and_nothing_next_to_it(syscall: Syscall, rule: Rule) -> None:
    """Arguments that match pass whatever the upper 32 bits hold; one wrong bit is answered as the rules say."""
    for rules, program in FILTERS.values():
        words = arguments_for(rule)
        assert bpf_machine.run(program, syscall.number, words) == answer(rules.verdict(syscall.number, words))
        for index in range(len(rule.arguments)):
            wrong = arguments_for(rule, spoil=index)
            assert bpf_machine.run(program, syscall.number, wrong) == answer(rules.verdict(syscall.number, wrong))
    assert bpf_machine.run(FILTERS["start"][1], syscall.number, arguments_for(rule)) == answer(
        PRETENDED * rule.pretends
    )


@pytest.mark.parametrize("arch", [I386, AARCH64, 0])
def test_another_architecture_is_refused_before_its_number_is_read(arch: int) -> None:
    """Every number of a foreign architecture is refused, also where x86-64 allows that number."""
    for _, program in FILTERS.values():
        assert bpf_machine.run(program, 0) == bpf.ALLOW
        assert {bpf_machine.run(program, number, arch=arch) for number in range(1024)} == {ENOSYS}


def test_numbers_of_x32_are_refused() -> None:
    """The x32 bit turns every number into a refused one."""
    for _, program in FILTERS.values():
        assert {bpf_machine.run(program, bpf.X32_BIT | number) for number in range(1024)} == {ENOSYS}


def test_a_rule_cannot_name_a_number_of_x32() -> None:
    """Also where a list names an x32 number by mistake, the filter refuses it."""
    rules = RuleSet((Syscall("x", bpf.X32_BIT | 1, "x", ("x",)), Syscall("y", 1, "y", ("y",))), (), 38)
    program = bpf.compile_filter(rules)
    assert bpf_machine.run(program, 1) == bpf.ALLOW
    assert bpf_machine.run(program, bpf.X32_BIT | 1) == ENOSYS


def test_a_negative_number_is_refused() -> None:
    """The number that a tracer uses to skip a syscall is not on the list."""
    assert bpf_machine.run(FILTERS["run"][1], -1) == ENOSYS


def test_the_program_is_what_the_kernel_takes() -> None:
    """The program is an array of 8-byte instructions, below the kernel's bound."""
    for _, program in FILTERS.values():
        assert len(program) % 8 == 0
        assert 0 < len(program) // 8 <= 4096


def test_rules_that_no_jump_can_cross_are_refused() -> None:
    """A syscall whose rules are longer than a jump of 8 bits is a ConfigError, not a wrong program."""
    rules = tuple(Rule((Argument(0, value),), "x") for value in range(85))
    with pytest.raises(ConfigError, match="too long"):
        bpf.compile_filter(RuleSet((Syscall("x", 1, "x", ("x",), rules, 1),), (), 38))


def test_a_program_beyond_the_bound_of_the_kernel_is_refused() -> None:
    """More instructions than BPF_MAXINSNS are a ConfigError."""
    syscalls = tuple(Syscall(f"x{number}", number, "x", ("x",)) for number in range(3000))
    with pytest.raises(ConfigError, match="instructions"):
        bpf.compile_filter(RuleSet(syscalls, (), 38))

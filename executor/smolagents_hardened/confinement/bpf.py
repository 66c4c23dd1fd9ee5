"""A rule set as classic BPF, the program that seccomp(2) takes: an array of 8-byte `struct sock_filter`.

The program is one chain of equality tests, the argument-checked syscalls first. A search tree would save
nothing: since Linux 5.11 the kernel remembers, per number, what passes whatever its arguments, and does not
run the filter for it.
"""

from __future__ import annotations

import struct
from itertools import chain

from smolagents_hardened.confinement.rules import LOW_32, Argument, RuleSet, Syscall
from smolagents_hardened.errors import ConfigError

AUDIT_ARCH_X86_64 = 0xC000003E  # linux/audit.h
X32_BIT = 0x40000000  # __X32_SYSCALL_BIT: the same architecture value, another table of numbers

# linux/bpf_common.h
LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K

# linux/seccomp.h
ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
ERRNO = 0x00050000  # SECCOMP_RET_ERRNO, the errno in the low 16 bits
NUMBER_OFFSET = 0  # struct seccomp_data: int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6]
ARCH_OFFSET = 4
ARGUMENTS_OFFSET = 16

MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS
LONGEST_JUMP = 255  # jt and jf have 8 bits

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k


def compile_filter(rules: RuleSet) -> bytes:
    """Return the program for x86-64. Raises ConfigError where it would not fit what the kernel takes."""
    refuse = _return(ERRNO | rules.default)
    # The architecture comes first: a number means nothing without it.
    program: list[Instruction] = [
        (LOAD_WORD, 0, 0, ARCH_OFFSET),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64),
        refuse,
        (LOAD_WORD, 0, 0, NUMBER_OFFSET),
        (JUMP_ANY_BIT, 0, 1, X32_BIT),
        refuse,
    ]
    checked_first = sorted(rules.syscalls, key=lambda syscall: not syscall.rules)
    for syscall in checked_first:
        program += _when_number(syscall.number, _body(syscall))
    for answer in rules.answers:
        program += _when_number(answer.number, [_return(ERRNO | answer.errno)])
    program.append(refuse)
    if len(program) > MOST_INSTRUCTIONS:
        raise ConfigError(f"the filter has {len(program)} instructions; the kernel takes {MOST_INSTRUCTIONS}")
    # struct sock_filter { __u16 code; __u8 jt; __u8 jf; __u32 k; } in the byte order of x86-64
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _return(value: int) -> Instruction:
    return (RETURN, 0, 0, value)


def _when_number(number: int, body: list[Instruction]) -> list[Instruction]:
    """Run `body`, which always returns, where the accumulator holds this number; else step over it."""
    if len(body) > LONGEST_JUMP:
        raise ConfigError(f"the rules of syscall {number} are too long for one jump")
    return [(JUMP_EQUAL, 0, len(body), number), *body]


def _body(syscall: Syscall) -> list[Instruction]:
    if not syscall.rules:
        return [_return(ALLOW)]
    rules = [_rule(rule.arguments, ERRNO if rule.pretends else ALLOW) for rule in syscall.rules]
    return [*chain.from_iterable(rules), _return(ERRNO | syscall.otherwise)]


def _rule(arguments: tuple[Argument, ...], verdict: int) -> list[Instruction]:
    """Give the verdict if every comparison holds; otherwise fall through to what follows."""
    body: list[Instruction] = [_return(verdict)]
    for argument in reversed(arguments):
        body = _comparison(argument, miss=len(body)) + body
    return body


def _comparison(argument: Argument, miss: int) -> list[Instruction]:
    # x86-64 is little-endian: the low half of a 64-bit register image comes first.
    load: Instruction = (LOAD_WORD, 0, 0, ARGUMENTS_OFFSET + 8 * argument.index)
    mask: list[Instruction] = [] if argument.mask == LOW_32 else [(AND, 0, 0, argument.mask)]
    return [load, *mask, (JUMP_EQUAL, 0, miss, argument.value)]

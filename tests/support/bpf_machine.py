"""A machine for the classic BPF of seccomp(2): what the kernel would answer, instruction by instruction.

It knows the six instructions that filters here are made of and refuses every other one.
"""

from __future__ import annotations

import struct

INSTRUCTION = struct.Struct("<HBBI")


def run(program: bytes, number: int, arguments: tuple[int, ...] = (), arch: int = 0xC000003E) -> int:
    """Return the 32-bit answer of the filter for one `struct seccomp_data`."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *(word & (2**64 - 1) for word in padded))
    accumulator, place = 0, 0
    while True:
        code, if_true, if_false, k = INSTRUCTION.unpack_from(program, place * INSTRUCTION.size)
        place += 1
        match code:
            case 0x20:  # BPF_LD | BPF_W | BPF_ABS
                assert k % 4 == 0
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x54:  # BPF_ALU | BPF_AND | BPF_K
                accumulator &= k
            case 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
                place += if_true if accumulator == k else if_false
            case 0x45:  # BPF_JMP | BPF_JSET | BPF_K
                place += if_true if accumulator & k else if_false
            case 0x06:  # BPF_RET | BPF_K
                return int(k)
            case _:
                raise AssertionError(f"instruction {code:#x} is none of this machine")

"""Filter 1 as an engine reads it: the seccomp JSON of Docker and the OCI runtime specification.

`python -m smolagents_hardened.confinement.oci` prints the file that is checked in as `images/seccomp.json`.
"""

from __future__ import annotations

import json
import sys

from smolagents_hardened.confinement.profile import load_profile
from smolagents_hardened.confinement.rules import Argument, RuleSet, Syscall

Entry = dict[str, object]


def to_oci(rules: RuleSet) -> Entry:
    """Return the profile as plain data for `--security-opt seccomp=`.

    One architecture is named, so that libseccomp takes i386 and x32 numbers as foreign and kills the caller.
    """
    free = [syscall for syscall in rules.syscalls if not syscall.rules]
    entries: list[Entry] = [_allow(sorted(syscall.name for syscall in free), [])]
    entries += [entry for syscall in rules.syscalls if syscall.rules for entry in _checked(syscall)]
    entries += [_refuse(answer.name, answer.errno) for answer in rules.answers]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": rules.default,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": entries,
    }


def _allow(names: list[str], arguments: list[Entry]) -> Entry:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": arguments}


def _refuse(name: str, errno: int) -> Entry:
    return {"names": [name], "action": "SCMP_ACT_ERRNO", "args": [], "errnoRet": errno}


def _checked(syscall: Syscall) -> list[Entry]:
    """Several rules of one syscall are alternatives. `otherwise` cannot be said here: filter 2 says it."""
    return [_allow([syscall.name], [_comparison(a) for a in rule.arguments]) for rule in syscall.rules]


def _comparison(argument: Argument) -> Entry:
    # Always masked: SCMP_CMP_EQ looks at 64 bits, of which the kernel reads 32 (see rules.py).
    return {
        "index": argument.index,
        "value": argument.mask,
        "valueTwo": argument.value,
        "op": "SCMP_CMP_MASKED_EQ",
    }


def to_json(rules: RuleSet) -> str:
    """Return the profile as the text of a file."""
    return json.dumps(to_oci(rules), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(to_json(load_profile().start))

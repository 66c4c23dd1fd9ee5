"""Filter 1 as engines read it is the checked-in file, and means what the rules mean."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from smolagents_hardened.confinement.oci import to_json, to_oci
from smolagents_hardened.confinement.profile import load_profile

ROOT = Path(__file__).parents[2]
START = load_profile().start
ENTRIES = json.loads(to_json(START))["syscalls"]


def test_the_checked_in_file_is_the_generated_one() -> None:
    """images/seccomp.json is what the module prints."""
    printed = subprocess.run(
        [sys.executable, "-m", "smolagents_hardened.confinement.oci"],
        cwd=ROOT / "executor",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "images" / "seccomp.json").read_text() == printed == to_json(START)


def test_everything_is_refused_by_default() -> None:
    """What no entry names is an error for the caller, and only the native architecture is named."""
    document = to_oci(START)
    assert document["defaultAction"] == "SCMP_ACT_ERRNO"
    assert document["defaultErrnoRet"] == 38
    assert document["architectures"] == ["SCMP_ARCH_X86_64"]


def test_exactly_the_listed_names_are_allowed() -> None:
    """The allowed names are those of filter 1; a refused name is never among them."""
    allowed = {name for entry in ENTRIES if entry["action"] == "SCMP_ACT_ALLOW" for name in entry["names"]}
    refused = {name for entry in ENTRIES if entry["action"] == "SCMP_ACT_ERRNO" for name in entry["names"]}
    assert allowed == START.names
    assert not allowed & refused
    assert {entry["action"] for entry in ENTRIES} == {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}


def test_no_checked_syscall_is_also_allowed_unchecked() -> None:
    """A syscall with argument rules has no entry without them, which would open it wholly."""
    free = {name for entry in ENTRIES if not entry["args"] for name in entry["names"]}
    checked = {syscall.name for syscall in START.syscalls if syscall.rules}
    assert checked
    assert not free & checked


def test_each_comparison_is_masked_to_32_bits() -> None:
    """libseccomp compares 64 bits; each comparison masks the upper half, which the kernel does not read."""
    comparisons = [argument for entry in ENTRIES for argument in entry["args"]]
    assert comparisons
    for argument in comparisons:
        assert argument["op"] == "SCMP_CMP_MASKED_EQ"
        assert argument["value"] < 2**32
        assert argument["valueTwo"] & ~argument["value"] == 0

"""The list of syscalls is small, complete in its reasons, and read strictly."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from typing import Any

import pytest
from tests.support import every_syscall

from smolagents_hardened.confinement.profile import OWN_PID, PROFILES, load_profile, parse_profile
from smolagents_hardened.confinement.rules import LOW_32, PRETENDED
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.guest.lockdown_unsafe import SYSCALLS

DOCUMENT: dict[str, Any] = json.loads(files("smolagents_hardened.confinement").joinpath("syscalls.json").read_text())
PROFILE = load_profile()
WEAKER = [name for name in PROFILES if name != "default"]
# what starts programs or processes, reaches others, widens rights, or has a large surface
FORBIDDEN = [
    "execve",
    "execveat",
    "fork",
    "vfork",
    "clone3",
    "socket",
    "connect",
    "bind",
    "kill",
    "ptrace",
    "prctl",
    "seccomp",
    "unshare",
    "setns",
    "mount",
    "bpf",
    "io_uring_setup",
    "userfaultfd",
    "perf_event_open",
    "keyctl",
    "memfd_create",
    "process_vm_readv",
    "splice",
    "epoll_create1",
    "dup2",
    "pidfd_open",
]
NUMBERS = {entry["name"]: entry["number"] for entry in DOCUMENT["syscalls"] + DOCUMENT["answers"]}


def test_user_code_runs_with_at_most_64_syscalls() -> None:
    """Once user code runs, at most 64 names pass."""
    assert len(PROFILE.run.names) <= 64


def test_filter_1_lets_everything_through_that_filter_2_does() -> None:
    """Filter 1 is a superset of filter 2: each rule of the second is a rule of the first."""
    start = {syscall.name: syscall for syscall in PROFILE.start.syscalls}
    for syscall in PROFILE.run.syscalls:
        assert set(syscall.rules) <= set(start[syscall.name].rules)
        assert bool(syscall.rules) == bool(start[syscall.name].rules)


@pytest.mark.parametrize(
    "name",
    FORBIDDEN,
)
def test_user_code_has_no_such_syscall(name: str) -> None:
    """Nothing that starts programs, reaches others or widens rights is on the list of filter 2."""
    assert name not in PROFILE.run.names


def test_rules_for_the_start_alone_are_not_in_filter_2() -> None:
    """A rule whose stage is the start passes filter 1 and is refused by filter 2."""
    go_thread = (0x50F00,)
    assert PROFILE.start.verdict(NUMBERS["clone"], go_thread) == 0
    assert PROFILE.run.verdict(NUMBERS["clone"], go_thread) == 1
    staged = [rule for entry in DOCUMENT["syscalls"] for rule in entry.get("allow", []) if rule.get("stage") == "start"]
    reasons = {rule.why for syscall in PROFILE.run.syscalls for rule in syscall.rules}
    assert staged
    assert not reasons & {rule["why"] for rule in staged}


def test_each_syscall_says_why_and_for_whom() -> None:
    """Each allowed syscall has a reason and somebody who uses it."""
    assert all(syscall.why and syscall.used_by for syscall in PROFILE.start.syscalls)


def test_the_default_profile_warns_of_nothing() -> None:
    """The default profile is the strongest one, so it has no warnings."""
    assert PROFILE.warnings() == ()


def test_the_pid_of_the_runner_reaches_the_rules() -> None:
    """The only process that may be signalled is the runner itself, whatever its pid."""
    tgkill = NUMBERS["tgkill"]
    run = load_profile(pid=4711).run
    assert run.verdict(tgkill, (4711, 1, 2)) == 0
    assert run.verdict(tgkill, (1, 1, 2)) != 0


def test_arguments_are_compared_on_their_low_32_bits() -> None:
    """Garbage above bit 31 of an int argument changes nothing, in either direction."""
    clone, garbage = NUMBERS["clone"], 0xDEAD << 32
    assert PROFILE.run.verdict(clone, (0x3D0F00 | garbage,)) == 0
    assert PROFILE.run.verdict(clone, (0x11 | garbage,)) != 0
    assert all(a.mask <= LOW_32 for s in PROFILE.start.syscalls for r in s.rules for a in r.arguments)


def test_the_numbers_are_those_of_the_guest() -> None:
    """Where the lock-down and the list name the same syscall they mean the same number."""
    shared = SYSCALLS.keys() & NUMBERS.keys()
    assert {"clone", "prctl", "seccomp", "landlock_add_rule", "execve"} <= shared
    assert {name: SYSCALLS[name] for name in shared} == {name: NUMBERS[name] for name in shared}


def test_every_argument_check_has_its_positive_control() -> None:
    """For each argument-checked syscall the try-everything program knows arguments that pass."""
    for syscall in PROFILE.run.syscalls:
        if syscall.rules and syscall.number not in every_syscall.LEFT_OUT and syscall.name != "tgkill":
            assert PROFILE.run.verdict(syscall.number, every_syscall.MATCHING[syscall.number]) == 0


def changed(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """The document with one value replaced, or removed where the value is Ellipsis."""
    document = copy.deepcopy(DOCUMENT)
    inner: Any = document
    for step in path[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


CHECKED = next(i for i, entry in enumerate(DOCUMENT["syscalls"]) if entry["name"] == "madvise")
ARGUMENT = ("syscalls", CHECKED, "allow", 0, "args", 0)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("architecture",), "aarch64", "architecture"),
        (("default",), "ENOTHING", "errno"),
        (("default",), 38, "errno"),
        (("surprise",), 1, "surprise"),
        (("syscalls",), {}, "list"),
        (("syscalls", 0), [], "object"),
        (("syscalls", 0, "why"), "", "text"),
        (("syscalls", 0, "used_by"), ..., "used_by"),
        (("syscalls", 0, "number"), -1, "32 bits"),
        (("syscalls", 0, "number"), True, "32 bits"),
        (("syscalls", 0, "number"), 2**32, "32 bits"),
        (("syscalls", 0, "number"), 1, "twice"),
        (("syscalls", 0, "name"), "write", "twice"),
        (("syscalls", 0, "stage"), "always", "stage"),
        (("syscalls", 0, "stage"), [], "stage"),
        (("syscalls", 0, "otherwise"), "EPERM", "come together"),
        (("syscalls", CHECKED, "otherwise"), ..., "come together"),
        (("syscalls", CHECKED, "allow"), [], "not for the start alone"),
        (("syscalls", CHECKED, "allow", 0, "args"), [], "at least one"),
        (("syscalls", CHECKED, "allow", 0, "args"), [{"index": 1, "op": "eq", "value": 1}] * 2, "none twice"),
        ((*ARGUMENT, "index"), 6, "six arguments"),
        ((*ARGUMENT, "op"), "ne", "nothing else"),
        ((*ARGUMENT, "op"), "ge", "nothing else"),
        ((*ARGUMENT, "op"), "masked_eq", "nothing else"),
        ((*ARGUMENT, "mask"), 1, "nothing else"),
        ((*ARGUMENT,), {"index": 1, "op": "masked_eq", "mask": 1, "value": 2}, "never match"),
        ((*ARGUMENT, "value"), 2**32, "32 bits"),
        (("answers", 0, "number"), 0, "both allowed"),
    ],
)
def test_a_wrong_document_is_refused(path: tuple[str | int, ...], value: object, told: str) -> None:
    """A document that is not exactly of the known form is a ConfigError that says what is wrong."""
    parse_profile("control", DOCUMENT)
    with pytest.raises(ConfigError, match=told):
        parse_profile("wrong", changed(path, value))


def test_an_unknown_profile_is_refused() -> None:
    """There is no profile but those that are tested, and the message names them."""
    with pytest.raises(ConfigError, match="default, processes, landlock"):
        load_profile("no such profile")


@pytest.mark.parametrize("name", WEAKER)
def test_a_weaker_profile_says_so(name: str) -> None:
    """Each profile but the default one warns, in words that begin with the option that chooses it."""
    [warning] = load_profile(name).warnings()
    assert warning.startswith({"processes": "processes=True", "landlock": "require='landlock'"}[name])


@pytest.mark.parametrize("name", WEAKER)
def test_filter_1_of_each_profile_lets_through_what_its_filter_2_does(name: str) -> None:
    """Each rule of the second is a rule of the first."""
    profile = load_profile(name)
    start = {syscall.name: syscall for syscall in profile.start.syscalls}
    for syscall in profile.run.syscalls:
        assert set(syscall.rules) <= set(start[syscall.name].rules)
        assert bool(syscall.rules) == bool(start[syscall.name].rules)


def test_processes_is_a_superset() -> None:
    """What the default profile lets through, this one does, and beside it what its own file lists with a reason."""
    wider = {syscall.name: syscall for syscall in load_profile("processes").run.syscalls}
    for syscall in PROFILE.run.syscalls:
        kept = wider[syscall.name]
        assert not kept.rules or set(syscall.rules) <= set(kept.rules)
    added = set(wider) - PROFILE.run.names
    assert added == {
        *("execve", "wait4", "kill", "dup2", "dup3"),
        *("getppid", "arch_prctl", "set_tid_address", "prlimit64"),
    }


def test_processes_lets_nothing_through_that_leaves_the_box() -> None:
    """A process is made in the namespaces that are there: no flag of clone makes another one, and no socket comes along."""
    run, clone = load_profile("processes").run, NUMBERS["clone"]
    assert run.verdict(clone, (0x1200011,)) == 0
    for namespace in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80):
        assert run.verdict(clone, (0x1200011 | namespace,)) != 0
    assert not run.names & (set(FORBIDDEN) - {"execve", "kill", "dup2"})


def test_landlock_is_narrower() -> None:
    """Without namespaces nothing more passes, and what Landlock does not look at is not done."""
    narrow = load_profile("landlock")
    assert narrow.run.names == PROFILE.run.names
    for name in ("chmod", "utimensat"):
        assert narrow.run.verdict(NUMBERS[name], (0, 0o777, 0, 0)) == PRETENDED
        assert PROFILE.run.verdict(NUMBERS[name], (0, 0o777, 0, 0)) == 0


def test_no_pid_is_the_one_that_stands_for_another() -> None:
    """The number in the filters of a box without namespaces is above the largest pid that Linux gives."""
    assert OWN_PID > 2**22
    assert load_profile("landlock").run.verdict(NUMBERS["tgkill"], (OWN_PID, 1, 2)) == 0

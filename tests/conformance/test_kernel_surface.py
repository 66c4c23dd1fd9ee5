"""What the box promises to work works under both filters, and every system call number is answered as listed."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conformance.test_processes import FAMILY
from tests.conftest import MakeExecutor
from tests.support import every_syscall, refusals, workload

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.confinement.profile import load_profile

ENOSYS = 38
ROOMY = Limits(memory_bytes=2**30, wall_s=100, cpus=2.0)
# multiprocessing's ThreadPool wants named semaphores, and these a /dev/shm, which a box does not have: one place less
# that can be written to. It says so with a clean OSError.
NOT_PROMISED = {"part_thread_pool": "FileNotFoundError: [Errno 2] No such file or directory"}
SUPPORT = Path(workload.__file__).parent


def printed(executor: HardenedExecutor, program: str, call: str) -> list[dict[str, object]]:
    """Send a program of tests/support into the box, call it, and read the JSON lines that it prints."""
    logs = executor((SUPPORT / f"{program}.py").read_text().split("\nif __name__")[0] + f"\n{call}").logs
    return [json.loads(line) for line in logs.splitlines() if line.startswith("{")]


def test_the_whole_promised_workload_works(make_executor: MakeExecutor) -> None:
    """numpy, pandas, sqlite3, tempfile, threads, asyncio, pillow, matplotlib, shutil and the rest work."""
    found = printed(make_executor(limits=ROOMY), "workload", "main()")
    assert {line["part"]: line.get("error") for line in found if not line["ok"]} == NOT_PROMISED
    assert [line["part"] for line in found] == workload.parts()


def test_what_is_not_promised_is_refused_cleanly(make_executor: MakeExecutor) -> None:
    """Networks, programs, processes and owners are refused with an OSError, at once."""
    found = printed(make_executor(limits=ROOMY), "refusals", "main()")
    assert {line["part"]: line.get("error") for line in found if not line["ok"]} == {}
    assert [line["part"] for line in found] == refusals.parts()


def test_every_number_is_answered_as_the_list_says(make_executor: MakeExecutor) -> None:
    """Tried from inside, each number that is not listed never reaches the kernel, and each listed one does."""
    [found] = printed(make_executor(gate="off"), "every_syscall", "main()")
    answers = found["answers"]
    assert isinstance(answers, dict)
    rules = load_profile().run
    listed = {syscall.number for syscall in rules.syscalls}
    assert len(listed) <= 64
    refused = {int(number): set(errnos) for number, errnos in answers.items() if int(number) not in listed}
    assert refused == {number: {rules.verdict(number)} for number in refused}
    reached = {int(number) for number, errnos in answers.items() if errnos[-1] != ENOSYS and int(number) in listed}
    assert reached == listed - every_syscall.LEFT_OUT.keys()


def test_no_other_number_is_opened_by_processes(make_executor: MakeExecutor) -> None:
    """[R6] Where processes may be started, each number that its own list does not name is answered as listed too."""
    rules = load_profile("processes").run
    listed = {syscall.number for syscall in rules.syscalls}
    added = listed - {syscall.number for syscall in load_profile().run.syscalls}
    executor = make_executor(**FAMILY)
    [found] = printed(executor, "every_syscall", f"LEFT_OUT.update(dict.fromkeys({added}, 'added')) or main()")
    answers = found["answers"]
    assert isinstance(answers, dict)
    refused = {int(number): set(errnos) for number, errnos in answers.items() if int(number) not in listed}
    assert len(refused) > 500
    assert refused == {number: {rules.verdict(number)} for number in refused}


@pytest.mark.parametrize("door", ["x32", "i386"])
def test_other_doors_are_shut(make_executor: MakeExecutor, door: str) -> None:
    """The x32 numbers and `int 0x80` end the caller or are unknown; none reaches the kernel."""
    executor = make_executor(gate="off")
    executor((SUPPORT / "every_syscall.py").read_text().split("\nif __name__")[0])
    with suppress(InterpreterError):  # an engine's filter kills the caller; ours answers ENOSYS
        executor(f"main({door!r})")
    printed = [json.loads(line) for line in executor.state.logs.splitlines() if line.startswith("{")]
    assert all(set(line["answers"].values()) == {ENOSYS} for line in printed)
    assert printed or "box_died" in [record["kind"] for record in executor.trail.records()]

"""Nothing hangs in silence: what is large is seen to move, what takes long is named while it lasts."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from smolagents import AgentLogger, LogLevel
from tests.conftest import MakeExecutor

from smolagents_hardened import Decision, HardenedExecutor, Limits, waiting

MIB = 2**20


class Shown:
    """An agent's logger, and what it has shown so far."""

    def __init__(self) -> None:
        self._console = Console(file=StringIO(), force_terminal=False, width=200)
        self.logger = AgentLogger(level=LogLevel.INFO, console=self._console)

    def lines(self, text: str) -> list[str]:
        return [line.strip() for line in self._console.file.getvalue().splitlines() if text in line]


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a fifth of a second takes long."""
    monkeypatch.setattr(waiting, "EVERY_S", 0.2)


def waits() -> list[threading.Thread]:
    """The threads that name what is waited for."""
    return [thread for thread in threading.enumerate() if thread.name == "hardened-waiting"]


@pytest.mark.timeout(300)
def test_large_transfers_are_seen_to_move(make_executor: MakeExecutor, shown: Shown) -> None:
    """Variables, arguments and results of many megabytes: what is sent is announced, and a line for each large piece."""
    executor = make_executor(logger=shown.logger, limits=Limits(memory_bytes=1024 * MIB, wall_s=120.0))
    large = np.zeros(60 * MIB, dtype=np.uint8)
    executor.send_tools({"give": lambda: large, "take": lambda it: it.nbytes})
    executor.send_variables(variables={"large": large})
    assert executor("import numpy as np\ntake(large)").output == large.nbytes
    executor("more = give()\nNone")
    assert shown.lines("sending variables") == ["sending variables to the sandbox: 60 MiB"]
    assert shown.lines("the result of give") == ["sending the result of give to the sandbox: 60 MiB"]
    pieces = ["24 MiB", "48 MiB"]
    assert [line[:6] for line in shown.lines("sent to the sandbox so far")] == pieces * 2
    assert [line[:6] for line in shown.lines("received from the sandbox so far")] == pieces


def test_small_things_are_not_talked_about(make_executor: MakeExecutor, shown: Shown) -> None:
    """Ordinary steps add no line."""
    executor = make_executor(logger=shown.logger)
    executor.send_tools({"double": lambda n: 2 * n})
    executor("for n in range(200): double('x' * 10000)")
    assert shown.lines("sandbox so far") == []
    assert shown.lines("still waiting") == []


def test_what_takes_long_is_named(make_executor: MakeExecutor, shown: Shown, impatient: None) -> None:
    """Code, a tool, and a person who is asked: each is named again and again until it is over, and not afterwards."""

    def hook(call: object) -> Decision:
        return Decision.ask("May it?") if getattr(call, "tool", "") == "asked" else Decision.allow()

    options = {"governance": hook, "approver": lambda request: time.sleep(0.7) or True}
    executor = make_executor(logger=shown.logger, **options)
    executor.send_tools({"slow": lambda: time.sleep(0.9), "asked": lambda: None})
    executor("import time\ntime.sleep(0.7)")
    executor("slow()")
    executor("asked()")
    for what, least in (("the code", 1), ("tool 'slow', or for whoever", 2), ("tool 'asked', or for whoever", 1)):
        assert len(shown.lines(f"still waiting for {what}")) >= least, what
    before = shown.lines("still waiting")
    time.sleep(0.6)
    assert shown.lines("still waiting") == before


@pytest.mark.parametrize(
    "end", [HardenedExecutor.cleanup, HardenedExecutor.close, None], ids=["cleanup", "close", "dropped"]
)
def test_no_thread_is_left(
    make_executor: MakeExecutor, backend_name: str, shown: Shown, impatient: None, end: Callable[..., None] | None
) -> None:
    """The thread that looks on ends with the box, and with an executor that nobody holds any more."""
    from tests.support.backends import backend

    before = len(waits())
    executor = HardenedExecutor(["*"], backend=backend(backend_name), logger=shown.logger)
    executor("1")
    assert len(waits()) == before + 1
    if end is not None:
        end(executor)
        assert len(waits()) == before
    del executor
    gc.collect()
    deadline = time.monotonic() + 10
    while len(waits()) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(waits()) == before

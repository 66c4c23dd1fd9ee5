"""What the host's own side has to stand: threads, forks, interrupts, odd names, and callers that do the wrong thing."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from typing import Any

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor
from tests.support.backends import backend
from tests.support.probes import proves

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.cli import main
from smolagents_hardened.code_output import STATE_LOST
from smolagents_hardened.errors import ConfigError, HardenedError


def failure(executor: HardenedExecutor, code: str) -> str:
    """Run code that must fail; what the model reads."""
    with pytest.raises(InterpreterError) as caught:
        executor(code)
    return str(caught.value)


@proves("host.code")
@pytest.mark.parametrize(
    "code",
    [
        "x = '\ud800'",
        "x = '" + "y" * 2_000_000 + "'",
        "\0",
        "(" * 5000,
        "x = " + "-" * 50_000 + "1",
        "\ufeff1",
        "é" * 10**5,
    ],
    ids=["surrogate", "2 MB", "NUL", "brackets", "signs", "mark", "letters"],
)
def test_a_models_odd_snippet_costs_no_state(make_executor: MakeExecutor, code: str) -> None:
    """A snippet that cannot be sent or parsed is an error that the model reads, and the variables stay."""
    executor = make_executor(gate="off")
    executor("kept = 1")
    told = ""
    try:
        executor(code)
    except InterpreterError as error:
        told = str(error)
    assert STATE_LOST not in told
    assert executor("kept").output == 1


@proves("host.names")
@pytest.mark.parametrize("name", ["class", "None", "a b", "a.b", "a" * 300, "", "ﬁ", "__builtins__", "_hardened_value"])
def test_an_odd_name_is_refused_at_once(make_executor: MakeExecutor, name: str) -> None:
    """A tool or a variable whose name cannot be used is a ConfigError, and the executor goes on."""
    executor = make_executor()
    with pytest.raises(ConfigError):
        executor.send_tools({name: lambda: 1})
    if name not in ("__builtins__", "_hardened_value"):  # a variable may be called anything that Python allows
        with pytest.raises(ConfigError):
            executor.send_variables(variables={name: 1})
    assert executor("1 + 1").output == 2


@proves("host.names")
@pytest.mark.parametrize("name", ["x y", "class", "", "x" * 1000, "\ud800", "x\0"])
def test_asking_for_an_odd_variable_costs_nothing(make_executor: MakeExecutor, name: str) -> None:
    """A name that cannot be a variable's is one that is not there."""
    executor = make_executor()
    executor("kept = 1")
    assert name not in executor.state
    with pytest.raises(KeyError):
        executor.state[name]
    assert executor.state["kept"] == 1


@proves("host.threads")
def test_two_threads_cannot_use_one_executor(make_executor: MakeExecutor) -> None:
    """The second thread is told so; the first one's step is not disturbed."""
    executor = make_executor(gate="off")
    executor("1")
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(executor("import time\ntime.sleep(0.5)\n'first'").output))
    thread.start()
    time.sleep(0.2)
    with pytest.raises(HardenedError, match="already running"):
        executor("'second'")
    thread.join()
    assert found == ["first"]


@proves("host.threads")
@pytest.mark.parametrize("act", ["cleanup", "close"])
def test_ending_a_running_step_from_another_thread(make_executor: MakeExecutor, act: str) -> None:
    """cleanup() and close() end a step that runs, at once, in whatever thread it runs."""
    executor = make_executor(gate="off")
    executor("1")
    threading.Timer(0.3, getattr(executor, act)).start()
    started = time.monotonic()
    with pytest.raises((InterpreterError, HardenedError)):
        executor("import time\nwhile True: time.sleep(0.01)")
    assert time.monotonic() - started < 5


@proves("host.threads")
@pytest.mark.parametrize("act", ["cleanup", "close"])
def test_ending_it_from_within_a_tool(make_executor: MakeExecutor, act: str) -> None:
    """A tool that closes its own executor ends the step with a clear error."""
    executor = make_executor(gate="off")
    executor.send_tools({"act": lambda: getattr(executor, act)()})
    with pytest.raises((InterpreterError, HardenedError)):
        executor("act()\n1")


@proves("host.threads")
def test_a_tool_that_calls_the_executor_is_told(make_executor: MakeExecutor) -> None:
    """Re-entry is an error in the snippet, not a deadlock."""
    executor = make_executor(gate="off")
    executor.send_tools({"act": lambda: executor("1"), "read": lambda: executor.state["x"]})
    code = "told = []\nfor tool in (act, read):\n    try: tool()\n    except Exception as error: told.append(str(error))\ntold"
    assert [text for text in executor(code).output if "HardenedError" not in text] == []


@proves("host.fork")
def test_a_forked_child_does_not_touch_the_parents_box(make_executor: MakeExecutor) -> None:
    """A child of the host process cannot run steps in its parent's box, nor end it."""
    executor = make_executor(gate="off")
    executor("kept = 1")
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            status = int(executor("kept").output == 1)  # reached the parent's box
        except BaseException:  # noqa: BLE001 - refused, or a box of its own without the variable: both are right
            status = 0
        finally:
            executor.cleanup()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert executor("kept").output == 1


@proves("host.interrupts")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exit_in_a_tool_leaves_nothing_half_done(make_executor: MakeExecutor, error: type[BaseException]) -> None:
    """Ctrl-C in a tool passes through; its call has an outcome on record, and the next step works."""

    def act() -> None:
        raise error

    executor = make_executor(gate="off")
    executor.send_tools({"act": act})
    with pytest.raises(error):
        executor("try:\n    act()\nexcept BaseException:\n    pass")
    kinds = [record["kind"] for record in executor.trail.records()]
    assert kinds.count("intent") == kinds.count("outcome") == 1
    assert executor("1 + 1").output == 2


@proves("host.interrupts")
def test_a_reader_of_prints_that_fails_ends_the_step(make_executor: MakeExecutor) -> None:
    """An exception of on_print is the caller's own; no half step stays behind."""

    def fail(text: str) -> None:
        raise ZeroDivisionError

    executor = make_executor(gate="off", on_print=fail)
    with pytest.raises(ZeroDivisionError):
        executor("print(1)\nimport time\ntime.sleep(5)")
    assert executor("1 + 1").output == 2


@proves("host.interrupts")
def test_interrupts_at_every_moment_leave_a_session_in_step(make_executor: MakeExecutor) -> None:
    """Interrupted between, before and during steps, by several threads, the executor gives each step its own answer."""
    executor = make_executor(gate="off", limits=Limits(grace_s=0.5))
    executor.send_tools({"act": lambda n: n})
    stop = threading.Event()

    def disturb() -> None:
        while not stop.wait(0.003):
            executor.interrupt("disturbed")

    threads = [threading.Thread(target=disturb) for _ in range(2)]
    for thread in threads:
        thread.start()
    answers = []
    for number in range(60):
        try:
            answers.append(executor(f"print({number})\nact({number})").output == number)
        except InterpreterError as error:
            answers.append("disturbed" in str(error))
    stop.set()
    for thread in threads:
        thread.join()
    assert all(answers)
    assert executor("6 * 7").output == 42


@proves("host.leftovers")
def test_sessions_leave_nothing(make_executor: MakeExecutor) -> None:
    """[R17] However sessions end, no descriptor, thread, process or box stays."""
    quick = ("1", "import os\nos._exit(1)", "raise ValueError")
    before = _held()
    for code in (*quick * 4, "import os\nos.closerange(0, 1000)\nwhile True: pass"):
        executor = make_executor(gate="off", limits=Limits(wall_s=0.5, grace_s=0.3))
        with contextlib.suppress(InterpreterError):
            executor(code)
        executor.cleanup()
        executor.cleanup()
    gc.collect()
    after = _held()
    assert after["threads"] == before["threads"]
    # A client of an engine keeps up to ten idle connections; a leak of one a session would be thirteen.
    assert after["descriptors"] <= before["descriptors"] + 10


@proves("host.leftovers")
def test_a_forgotten_executor_leaves_no_box(backend_name: str) -> None:
    """[R17] An executor that nobody holds any more, and nobody cleaned up, takes its box with it."""
    before = _held()
    executor = HardenedExecutor(["*"], backend=backend(backend_name), gate="off")
    executor("1")
    during = _held()
    del executor
    gc.collect()
    deadline = time.monotonic() + 10
    while _held() != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _held() == before
    assert during != before


def _held() -> dict[str, Any]:
    return {"descriptors": len(os.listdir("/proc/self/fd")), "threads": threading.active_count()}


@proves("host.terminal")
def test_no_terminal_is_written_to(backend_name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The command line shows what a snippet prints, values and errors without their control characters."""
    clear = "\x1b]52;c;aGk=\x07\x1b[2J"
    code = f"print({clear!r})\n{clear!r}"
    main(["run", "--backend", backend_name, "-c", code])
    main(["run", "--backend", backend_name, "-c", f"raise ValueError({clear!r})"])
    shown = capfd.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "x1b]52;c;aGk=" in shown.out

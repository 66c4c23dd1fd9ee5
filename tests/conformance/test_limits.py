"""Each limit ends in a clear error, and a following step works."""

from __future__ import annotations

import errno
import threading
import time

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.code_output import STATE_LOST

SHORT = Limits(wall_s=1.0, grace_s=1.0)


def failure(executor: HardenedExecutor, code: str) -> str:
    """Run code that must hit a limit; what the model reads."""
    with pytest.raises(InterpreterError) as caught:
        executor(code)
    return str(caught.value)


@pytest.mark.parametrize(
    "code", ["while True: pass", "import time\ntime.sleep(60)", "import threading\nthreading.Event().wait()"]
)
def test_time_is_up_and_the_state_is_kept(make_executor: MakeExecutor, code: str) -> None:
    """Python code that takes too long is interrupted politely: variables survive."""
    executor = make_executor(limits=SHORT)
    executor("kept = 41")
    assert failure(executor, code) == "Code execution exceeded the maximum execution time of 1 seconds"
    assert executor("kept + 1").output == 42


@pytest.mark.parametrize(
    "code",
    [
        "sum(range(10**12))",
        "while True:\n    try:\n        while True: sum(range(100_000))\n    finally: continue",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    ],
    ids=["c-loop", "swallows", "ignores"],
)
def test_what_ignores_the_interrupt_is_killed(make_executor: MakeExecutor, code: str) -> None:
    """Code that cannot be interrupted ends by the wall limit plus grace; the model is told that its state is gone."""
    executor = make_executor(limits=SHORT)
    executor.send_variables(variables={"given": 7})
    executor("kept = 1")
    started = time.monotonic()
    text = failure(executor, code)
    assert text == "Code execution exceeded the maximum execution time of 1 seconds" + STATE_LOST
    assert time.monotonic() - started < SHORT.wall_s + SHORT.grace_s + 1.0
    assert executor("given").output == 7
    assert "NameError" in failure(executor, "kept")


def test_the_clock_stands_still_while_a_tool_works(make_executor: MakeExecutor) -> None:
    """Time on the host is not the snippet's."""
    executor = make_executor(limits=SHORT)
    executor.send_tools({"slow": lambda: time.sleep(1.5)})
    assert executor("slow()\n'done'").output == "done"


def test_cpu_is_charged_while_a_tool_works(make_executor: MakeExecutor) -> None:
    """A thread that spins in the box behind a slow tool does not get its time for free."""
    executor = make_executor(limits=SHORT)

    def slow() -> None:
        """Works until the box has had its second of CPU, however little of it a busy machine gives."""
        box = executor._keeper.session._box  # type: ignore[union-attr]
        ends = (box.cpu_s() or 0.0) + SHORT.wall_s + 0.5
        while (box.cpu_s() or 0.0) < ends:
            time.sleep(0.05)

    executor.send_tools({"slow": slow})
    code = "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start()\nslow()\n'done'"
    assert "maximum execution time" in failure(executor, code)


def test_memory_ends_at_the_limit(make_executor: MakeExecutor) -> None:
    """A balloon ends at the cap with a clear message; the next step gets a fresh box."""
    executor = make_executor(limits=Limits(memory_bytes=128 * 2**20))
    executor("small = bytearray(32 * 2**20)")
    text = failure(executor, "balloon = []\nfor _ in range(200): balloon.append(bytearray(2**20))")
    assert "128 MiB of memory" in text or "MemoryError" in text
    assert executor("1 + 1").output == 2


@pytest.mark.parametrize("end", ["\\n", ""])
def test_output_flood_ends(make_executor: MakeExecutor, end: str) -> None:
    """A flood, with or without newlines, ends at the limit and is not kept in memory."""
    executor = make_executor(limits=Limits(logs_bytes=100_000))
    text = failure(executor, f"while True: print('x' * 1000, end='{end}')")
    assert "printed more than 100000 bytes" in text
    assert len(executor.state["_print_outputs"]) <= 100_000
    assert executor("1 + 1").output == 2


def test_flood_of_c_output_ends(make_executor: MakeExecutor) -> None:
    """What C code writes counts as well."""
    executor = make_executor(limits=Limits(logs_bytes=100_000))
    assert "printed more than" in failure(executor, "import os\nwhile True: os.write(2, b'x' * 4096)")


def test_too_many_calls_are_refused(make_executor: MakeExecutor) -> None:
    """Beyond the limit a call raises in the snippet."""
    executor = make_executor(limits=Limits(calls=3))
    executor.send_tools({"act": lambda: 1})
    assert "more than 3 tool calls" in failure(executor, "for _ in range(5): act()")


def test_scratch_is_bounded(executor: HardenedExecutor) -> None:
    """A full scratch directory is Python's own OSError, in bytes and in files."""
    code = "import os\ntry:\n    with open('/tmp/big', 'wb') as f:\n        for _ in range(100): f.write(b'x' * 2**20)\nexcept OSError as e:\n    n = e.errno\nn"
    assert executor(code).output in (errno.ENOSPC, errno.EFBIG)
    code = "os.remove('/tmp/big')\ntry:\n    for i in range(10_000): open(f'/tmp/f{i}', 'w').close()\nexcept OSError as e:\n    n = e.errno\nn"
    assert executor(code).output == errno.ENOSPC


def test_threads_are_bounded(executor: HardenedExecutor) -> None:
    """A thread bomb is capped, cleanly; the state is kept."""
    code = (
        "import threading, time\nstop = threading.Event()\nstarted = 0\ntry:\n    for _ in range(2000):\n"
        "        threading.Thread(target=stop.wait, daemon=True).start()\n        started += 1\n"
        "except RuntimeError as error:\n    problem = str(error)\nfinally:\n    stop.set()\n(started, problem)"
    )
    started, problem = executor(code).output
    assert 16 <= started < 200
    assert "can't start new thread" in problem


def test_cpu_of_many_short_calls_is_charged(make_executor: MakeExecutor) -> None:
    """A thread that burns while the wall clock stands still in short calls ends the step; waiting in them does not."""
    executor = make_executor(
        limits=Limits(wall_s=1.0, grace_s=1.0), additional_functions={"pause": lambda: time.sleep(0.045)}
    )
    assert executor("for _ in range(40): pause()\n'waited'").output == "waited"
    burn = "import threading, time\ndef burn():\n    while True: sum(range(100000))\n"
    code = burn + "threading.Thread(target=burn, daemon=True).start()\nfor _ in range(200):\n    pause()\n"
    assert "maximum execution time" in failure(executor, code + "    print(time.process_time())")
    assert float(str(executor.state["_print_outputs"]).split()[-1]) < 4


def test_interrupt_from_another_thread(executor: HardenedExecutor) -> None:
    """interrupt() ends the step with its reason and keeps the session."""
    executor("kept = 1")
    threading.Timer(0.5, executor.interrupt, ["the user changed their mind"]).start()
    started = time.monotonic()
    assert "the user changed their mind" in failure(executor, "import time\nwhile True: time.sleep(0.01)")
    assert time.monotonic() - started < 5
    assert executor("kept").output == 1


def test_interrupt_between_steps_has_no_effect(executor: HardenedExecutor) -> None:
    """An interrupt that comes too late does not hit the next step."""
    executor("kept = 1")
    executor.interrupt("late")
    assert executor("kept").output == 1


def test_interrupts_never_tear_a_frame(make_executor: MakeExecutor) -> None:
    """Interrupted at any moment of printing and calling, the session stays in step."""
    executor = make_executor(limits=Limits(calls=100_000))  # a fast box makes a thousand in a tenth of a second
    timers: list[threading.Timer] = []

    def act(n: int) -> int:
        if n == 0:
            timers[-1].start()  # an interrupt between two steps would be dropped
        return n

    executor.send_tools({"act": act})
    executor("kept = 1")
    for delay_ms in range(5, 105, 10):
        timers.append(threading.Timer(delay_ms / 1000, executor.interrupt, ["again"]))
        assert "again" in failure(executor, "n = 0\nwhile True:\n    print(n)\n    n = act(n) + 1")
    assert executor("kept").output == 1


def test_a_flood_of_c_output_does_not_reach_the_next_step(make_executor: MakeExecutor) -> None:
    """Bytes that C code wrote in a step that was cut short are not taken for the next step's."""
    executor = make_executor(limits=Limits(logs_bytes=100_000))
    for _ in range(3):
        failure(executor, "import os\nwhile True: os.write(2, b'x' * 4096)")
        done = executor("1 + 1")
        assert (done.output, done.logs) == (2, "")

"""A box of the Docker engine: it starts, talks, ends in every way, and leaves nothing."""

from __future__ import annotations

import os
import threading
import time

import docker
import pytest
from tests.support.docker_boxes import Boxes, ChangedBackend, containers, hello, read
from tests.support.native_boxes import until

from smolagents_hardened.backends.base import BoxRequest, Received, Stream
from smolagents_hardened.backends.docker import DockerBackend
from smolagents_hardened.backends.enforcement import LAYERS, REQUIRED
from smolagents_hardened.errors import BackendUnavailable, BoxDied
from smolagents_hardened.limits import MIB, Limits

SPIN = """
import os, signal
for number in range(1, 32):
    if number not in (9, 19):
        signal.signal(number, signal.SIG_IGN)
os.write(1, b'!')
while True: pass
"""


def test_every_required_layer_is_in_force(boxes: Boxes) -> None:
    """The runner comes up and all witnesses agree that every required layer is Full."""
    box = boxes.runner(required=REQUIRED)
    enforcement = box.verify(hello(box))
    assert [layer.name for layer in enforcement] == list(LAYERS)
    enforcement.require(REQUIRED)


def test_bytes_go_both_ways(boxes: Boxes) -> None:
    """What is sent arrives, what the box writes to 1 is the wire, and what it writes to 2 is not."""
    box = boxes.program("import os; d = os.read(0, 99); os.write(2, b'noise'); os.write(1, d[::-1]); os.read(0, 9)")
    box.channel.send(b"abc", 5)
    # The engine reads the two descriptors side by side: their order is not kept.
    received = [box.channel.receive(20) for _ in range(2)]
    assert set(received) == {Received(Stream.WIRE, b"cba"), Received(Stream.STDERR, b"noise")}


def test_a_large_message_crosses_whole(boxes: Boxes) -> None:
    """Many megabytes pass in pieces, and nothing is lost."""
    box = boxes.program("import os, sys; n = len(sys.stdin.buffer.read(8 << 20)); os.write(1, str(n).encode())")
    box.channel.send(bytes(8 * MIB), 30)
    assert read(box) == str(8 * MIB).encode()


def test_a_box_that_does_not_read_is_a_timeout(boxes: Boxes) -> None:
    """Sending to it ends after the time limit."""
    box = boxes.program("import time; time.sleep(60)")
    with pytest.raises(TimeoutError, match="did not read"):
        box.channel.send(bytes(16 * MIB), 0.5)


def test_a_wake_ends_a_wait(boxes: Boxes) -> None:
    """`receive` returns None long before its time is up."""
    box = boxes.program("import time; time.sleep(60)")
    timer = threading.Timer(0.2, box.channel.wake)
    timer.start()
    started = time.monotonic()
    assert box.channel.receive(20) is None
    timer.join()
    assert time.monotonic() - started < 5


def test_a_wait_ends_in_time(boxes: Boxes) -> None:
    """`receive` returns None after its time, and not much later."""
    box = boxes.program("import time; time.sleep(60)")
    started = time.monotonic()
    assert box.channel.receive(0.3) is None
    assert 0.25 < time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("code", "cause", "status"),
    [
        ("pass", "exit", 0),
        ("import os; os._exit(7)", "exit", 7),
        ("import os; os.close(0); os.close(1); os.close(2)", "exit", 0),
        ("import ctypes; ctypes.string_at(0)", "signal", 139),
        # The first process of a pid namespace ignores its own SIGABRT; abort(3) then ends it by a fault.
        ("import os; os.abort()", "signal", 139),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", "oom", 137),
    ],
)
def test_a_box_that_ends_by_itself_says_how(boxes: Boxes, code: str, cause: str, status: int) -> None:
    """Each way to die has its own cause; memory beyond the limit is told apart from a kill."""
    box = boxes.program(code, Limits(memory_bytes=64 * MIB, scratch_bytes=8 * MIB))
    assert read(box) == b""
    assert (box.exit().cause, box.exit().status) == (cause, status)


def test_the_cpu_limit_ends_a_box_that_nobody_watches(boxes: Boxes) -> None:
    """RLIMIT_CPU kills a box that ignores every signal."""
    box = boxes.program(SPIN, Limits(cpu_s=1))
    assert read(box) == b"!"
    assert read(box) == b""
    assert box.exit().cause == "signal"


def test_sending_to_a_dead_box_says_so(boxes: Boxes) -> None:
    """BoxDied, not a broken pipe."""
    box = boxes.program("pass")
    assert read(box) == b""
    with pytest.raises(BoxDied):
        box.channel.send(bytes(16 * MIB), 5)


def test_an_interrupt_is_a_keyboard_interrupt_inside(boxes: Boxes) -> None:
    """SIGINT reaches the first process and can be caught there."""
    box = boxes.program(
        "import os, time\ntry:\n    os.write(1, b'!'); time.sleep(60)\nexcept KeyboardInterrupt:\n    os._exit(5)"
    )
    assert read(box) == b"!"
    box.interrupt()
    assert read(box) == b""
    assert box.exit().status == 5


def test_kill_ends_a_box_that_ignores_every_signal(boxes: Boxes) -> None:
    """It is gone in about a second, and that we did it is told apart from dying."""
    box = boxes.program(SPIN)
    assert read(box) == b"!"
    started = time.monotonic()
    box.kill()
    assert time.monotonic() - started < 5
    assert box.exit().cause == "killed"


def test_kill_after_the_end_changes_nothing(boxes: Boxes) -> None:
    """How it ended by itself stays the truth."""
    box = boxes.program("import os; os._exit(7)")
    assert read(box) == b""
    box.exit()
    box.kill()
    box.interrupt()
    assert box.exit().status == 7


def test_cpu_time_is_read_while_it_runs(boxes: Boxes) -> None:
    """A spinning box uses time, and the clock of a removed box says nothing."""
    box = boxes.program(SPIN)
    assert read(box) == b"!"
    before = box.cpu_s()
    assert before is not None
    assert until(lambda: (box.cpu_s() or 0.0) - before > 0.1, 20.0)
    box.close()
    assert box.cpu_s() is None


def test_a_flood_on_stderr_is_handed_on_in_small_pieces(boxes: Boxes) -> None:
    """The channel holds no more than one read, however much the box writes."""
    box = boxes.program("import os\nwhile True: os.write(2, b'x' * 65536)")
    total = 0
    while total < 16 * MIB:
        received = box.channel.receive(10)
        assert received is not None
        assert received.stream is Stream.STDERR
        assert len(received.raw_data) <= 64 * 1024
        total += len(received.raw_data)


def test_twenty_boxes_leave_nothing(boxes: Boxes, client: docker.DockerClient) -> None:
    """No container, no descriptor, no thread."""
    boxes.program("pass").close()
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(20):
        box = boxes.program("import os; os.write(1, b'!'); os.read(0, 1)")
        assert read(box) == b"!"
        box.close()
        box.close()
    assert containers(client) == []
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


def test_a_failed_start_leaves_nothing(backend: ChangedBackend, client: docker.DockerClient) -> None:
    """An engine that refuses after the container was created leaves no half box."""
    backend.change = lambda config: config.update(Cmd=["/no/such/program"])
    with pytest.raises(BackendUnavailable, match="could not start a box"):
        backend.start(BoxRequest(Limits()))
    assert containers(client) == []


def test_two_boxes_have_different_users(boxes: Boxes) -> None:
    """Keys and per-user counts of the kernel are not shared."""
    users = []
    for _ in range(2):
        box = boxes.program("import os; os.write(1, str(os.getuid()).encode()); os.read(0, 1)")
        users.append(int(read(box)))
    assert users[0] != users[1]
    assert min(users) >= 1_100_000_000


def test_no_engine_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that is not there names the command that starts the engine."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(BackendUnavailable, match="systemctl start docker"):
        DockerBackend()

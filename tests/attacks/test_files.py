"""What a box can do to the host by lying about its files and pictures: nothing but end itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.attacks.lies import LISTINGS, PICTURES, PIECES, listing, piece_of
from tests.attacks.test_wire import MIB, TELLING, session_with
from tests.conftest import MakeExecutor
from tests.support.lying_box import Guest, Script
from tests.support.probes import proves

from smolagents_hardened import FileRefused, HardenedExecutor, Limits, orders
from smolagents_hardened.errors import BoxError, WireViolation
from smolagents_hardened.files.box_files import PIECE_BYTES
from smolagents_hardened.pictures import shown

# The runner's own function is replaced: user code owns its interpreter.
TAKE_OVER = f"""{TELLING}
import sys
worker = sys.modules['smolagents_hardened.guest.worker']
worker.listing = lambda top, after: put(lie) or time.sleep(5)
"""


def telling(lie: bytes) -> Script:
    """Answer the first order with this."""

    def tell(guest: Guest) -> None:
        guest.read()
        guest.send_raw(lie)

    return tell


@proves("protocol.lies", "protocol.no_resync")
@pytest.mark.parametrize("lie", LISTINGS.values(), ids=LISTINGS.keys())
def test_a_lie_about_the_files_ends_the_session(lie: bytes) -> None:
    """[R10] No path that leads elsewhere, no order but the ascending, no size that is none."""
    session = session_with(telling(lie))
    with pytest.raises(WireViolation):
        session.list_files()
    assert not session.is_alive


@proves("protocol.lies", "protocol.no_resync")
@pytest.mark.parametrize("lie", PIECES.values(), ids=PIECES.keys())
def test_a_lie_about_a_piece_ends_the_session(lie: bytes) -> None:
    """[R10] What comes is as long as was announced and asked for, and is bytes."""
    session = session_with(telling(lie))
    with pytest.raises(WireViolation):
        session.read_piece("a", 0, 100)
    assert not session.is_alive


@proves("protocol.lies")
@pytest.mark.parametrize("lie", PICTURES.values(), ids=PICTURES.keys())
def test_a_lie_about_a_picture_ends_the_session(lie: bytes) -> None:
    """[R10] Pixels of the one mode, as many as they say; no file format is ever read."""
    session = session_with(telling(lie))
    session.pictures = 1
    with pytest.raises(WireViolation):
        shown(session, Limits())
    assert not session.is_alive


def test_the_truth_is_taken() -> None:
    """The positive control: the same way of answering works for what is allowed."""
    assert session_with(telling(listing("a", "b"))).list_files() == [("a", 1, 1), ("b", 1, 1)]
    assert session_with(telling(piece_of(2, "xx"))).read_piece("a", 0, 100) == ("none", 2, b"xx")


@proves("protocol.floods")
def test_an_endless_listing_ends() -> None:
    """[R9] More files than the box has inodes are no files."""

    def flood(guest: Guest) -> None:
        for page in range(1000):
            guest.read()
            guest.send_raw(listing(*(f"{page:04}/{n:04}" for n in range(1000)), more=True))

    session = session_with(flood)
    with pytest.raises(WireViolation, match="more than the 4096 files"):
        session.list_files()


@proves("protocol.floods")
def test_a_listing_of_endless_paths_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """[R9] Thousands of paths of thousands of bytes, each of them escaped, are not kept."""
    monkeypatch.setattr(orders, "LISTED_CHARACTERS", MIB)
    deep = "/".join(["%FF" * 250] * 16)

    def flood(guest: Guest) -> None:
        for page in range(100):
            order = guest.read()
            while len(order) < 4 + int.from_bytes(order[:4], "big"):
                order += guest.read()
            guest.send_raw(listing(*(f"{page:03}{n:03}/{deep}" for n in range(80)), more=True))

    session = session_with(flood)
    with pytest.raises(WireViolation, match="longer paths"):
        session.list_files()


def test_a_runner_that_lies_for_real_ends_its_box(make_executor: MakeExecutor) -> None:
    """[R10] User code that answers the host's orders in place of the runner: on record, and the next box is sound."""
    executor = make_executor(gate="off")
    executor(f"{TAKE_OVER}\nlie = listing('../../etc/cron.d/x')")
    with pytest.raises(BoxError):
        executor.files.list()
    assert {"violation", "box_died"} & {record["kind"] for record in executor.trail.records()}
    assert executor("1 + 1").output == 2
    assert executor.files.list() == ()


def test_a_file_larger_than_a_box_can_hold_is_not_believed(executor: HardenedExecutor, tmp_path: Path) -> None:
    """[R9] A size is a claim: what a box cannot have is not read, and nothing is written."""
    executor("open('a', 'w').close()")
    session = executor._keeper.session
    assert session is not None
    session.read_piece = lambda path, offset, most: ("none", 2**40, bytes(PIECE_BYTES))  # type: ignore[method-assign]
    with pytest.raises(FileRefused, match="more than a file"):
        executor.files.read("a")
    with pytest.raises(FileRefused, match="more than a file"):
        executor.files.save("a", tmp_path)
    assert list(tmp_path.iterdir()) == []


@proves("protocol.slow")
@pytest.mark.parametrize("how", ["time.sleep(60)", "[put(log()[:1]) or time.sleep(0.2) for _ in range(300)]"])
def test_a_box_that_stalls_after_its_step_ends_in_time(make_executor: MakeExecutor, how: str) -> None:
    """[R8] The files of a step are no way to hold the host: the box is ended, the model is told."""
    executor = make_executor(gate="off", outputs=["*"], limits=Limits(collect_s=1.0))
    started = time.monotonic()
    with pytest.raises(InterpreterError, match="ended after the step"):
        executor(f"{TAKE_OVER}\nworker.listing = lambda top, after: {how}")
    assert time.monotonic() - started < 20
    assert executor("1 + 1").output == 2


def test_a_final_answer_stands_whatever_the_box_does_then(make_executor: MakeExecutor) -> None:
    """[R13] A box that lies about its files after its answer loses its life, not the answer."""
    executor = make_executor(gate="off", outputs=["*"])
    executor.send_tools({"final_answer": lambda answer: answer})
    done = executor(f"{TAKE_OVER}\nworker.listing = lambda top, after: put(listing('../x'))\nfinal_answer(7)")
    assert (done.output, done.is_final_answer) == (7, True)

"""A trail without a path costs memory while it is short, and disk when it is long."""

from __future__ import annotations

import os
import threading

import pytest

from smolagents_hardened.audit.spool import IN_MEMORY_BYTES, Spool

LONG = [b"%06d" % n + b"x" * 1000 + b"\n" for n in range(2 * IN_MEMORY_BYTES // 1007)]


@pytest.mark.parametrize("count", [0, 1, 100, len(LONG)])
def test_lines_come_back_in_order(count: int) -> None:
    """What was appended is read again, from memory or from the file."""
    spool = Spool()
    for line in LONG[:count]:
        spool.append(line)
    assert list(spool.lines()) == [line[:-1] for line in LONG[:count]]


def test_memory_is_bounded() -> None:
    """Beyond the bound nothing stays in memory."""
    spool = Spool()
    for line in LONG:
        spool.append(line)
        assert spool.memory_bytes <= IN_MEMORY_BYTES
    assert spool.memory_bytes == 0


def test_reading_while_others_write() -> None:
    """A reader sees whole lines only, whoever appends meanwhile."""
    spool = Spool()
    writer = threading.Thread(target=lambda: [spool.append(line) for line in LONG])
    writer.start()
    while writer.is_alive():
        assert all(len(line) == 1006 for line in spool.lines())
    writer.join()
    assert len(list(spool.lines())) == len(LONG)


def test_a_forked_child_goes_on_alone() -> None:
    """What a child appends after a fork does not reach the parent's lines, nor the other way round."""
    spool = Spool()
    for line in LONG:
        spool.append(line)
    child = os.fork()
    if child == 0:
        spool.append(b"child\n")
        os._exit(0 if list(spool.lines())[-1] == b"child" and len(list(spool.lines())) == len(LONG) + 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    spool.append(b"parent\n")
    assert list(spool.lines())[-1] == b"parent"


def test_its_descriptor_goes_with_it() -> None:
    """Nothing stays open when the spool is dropped."""
    before = len(os.listdir("/proc/self/fd"))
    spool = Spool()
    for line in LONG:
        spool.append(line)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del spool
    assert len(os.listdir("/proc/self/fd")) == before

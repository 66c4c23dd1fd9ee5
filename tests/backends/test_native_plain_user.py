"""The same boxes for a user without any privilege, on the same machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.support.native_boxes import Sessions, give_to_nobody, link_tree
from tests.support.plain_user import GROUPS, NOBODY, run_as_nobody

from smolagents_hardened.backends import packages
from smolagents_hardened.backends.enforcement import REQUIRED

ENFORCEMENT = """
import json
from tests.support.native_boxes import Sessions
sessions = Sessions()
session = sessions.open()
print(json.dumps(session.enforcement.to_dict()))
sessions.close()
"""
RUN = """
import os
from tests.support.native_boxes import Sessions, is_clean, traces, value
from smolagents_hardened.limits import Limits
sessions = Sessions()
sessions.run("1")
before = traces()
session = sessions.open(limits=Limits(memory_bytes=256 * 2**20))
print(os.geteuid(), session.run({code!r}, 20))
session.close()
assert is_clean(before), (before, traces())
"""
BALLOON = "held = []\nfor _ in range(400):\n    held.append(bytearray(2**20))"
# Shared mappings are no private memory, and a file that nobody maps is in no address space: both have to be bounded.
SHARED = "import mmap\nheld = [mmap.mmap(-1, 2**26) for _ in range(8)]\nfor one in held:\n    one.write(b'x' * 2**26)"
BOMB = (
    "import threading\nstop = threading.Event()\nstarted = 0\ntry:\n    for _ in range(500):\n"
    "        threading.Thread(target=stop.wait, daemon=True).start()\n        started += 1\n"
    "except RuntimeError as error:\n    problem = str(error)\nfinally:\n    stop.set()\n(started, problem)"
)


def run(code: str, cache: Path) -> str:
    """What a snippet ends in, in a plain user's box of 256 MiB that leaves nothing."""
    return run_as_nobody(RUN.format(code=code), cache)


def test_a_plain_user_gets_every_required_layer(nobodys_cache: Path) -> None:
    """Each is Full, and the evidence says how it is done without privilege."""
    layers = json.loads(run_as_nobody(ENFORCEMENT, nobodys_cache))
    assert {name: layers[name]["level"] for name in REQUIRED} == dict.fromkeys(REQUIRED, "full")
    assert f"your own number {NOBODY}" in layers["user"]["evidence"]
    assert f"{len(GROUPS)} group(s) of yours unmapped" in layers["user"]["evidence"]


def test_a_plain_users_code_runs(nobodys_cache: Path) -> None:
    """numpy and pandas work in his box, and nothing is left of it."""
    assert "value=6" in run("import numpy, pandas\nint(pandas.Series(numpy.arange(4)).sum())", nobodys_cache)


@pytest.mark.parametrize("code", [BALLOON, SHARED], ids=["private", "shared"])
def test_a_plain_users_balloon_ends(nobodys_cache: Path, code: str) -> None:
    """Memory ends at the limit with a MemoryError, or with the operating system's word for it."""
    text = run(code, nobodys_cache)
    assert "MemoryError" in text or "Cannot allocate memory" in text or "Limit.MEMORY" in text


def test_a_plain_users_threads_are_bounded(nobodys_cache: Path) -> None:
    """A thread bomb ends below the limit on tasks."""
    assert "can't start new thread" in run(BOMB, nobodys_cache)


def test_a_plain_user_cannot_be_told_by_his_number(nobodys_cache: Path) -> None:
    """In the box he is number 65534, whoever he is outside, and all his groups are too."""
    code = (
        "import re\nlist(re.findall(r'^(?:Uid|Gid|Groups):\\\\s*(.*?)\\\\s*$', open('/proc/self/status').read(), re.M))"
    )
    assert "50001" not in run(code, nobodys_cache)


def test_root_is_not_needed_for_the_same_answer(nobodys_cache: Path, sessions: Sessions) -> None:
    """A snippet that lists what it may do gives the same in both."""
    code = "import sys\n(sys.version, sys.path, sys.flags.isolated)"
    assert str(sessions.run(code)) in run(code, nobodys_cache)


def test_a_read_only_cache_is_a_clear_error(tmp_path: Path) -> None:
    """Where nothing can be written the error names the directory and the variable; nothing is started."""
    text = run_as_nobody(FAILS, Path("/proc"))
    assert "XDG_CACHE_HOME" in text


def test_a_full_cache_is_a_clear_error(nobodys_home: Path) -> None:
    """A disk that fills up while the root file system is made is told, and no half of it stays."""
    assert "File too large" in run_as_nobody(FULL + FAILS, nobodys_home)
    assert not [path for path in (nobodys_home / "smolagents-hardened").rglob("root") if path.is_dir()]


FAMILY = """
from tests.support.native_boxes import Sessions, value
from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.backends.enforcement import REQUIRED
from smolagents_hardened.errors import NotEnforced
from smolagents_hardened.limits import Limits
sessions = Sessions()
try:
    sessions.open(profile="processes")
except NotEnforced as error:
    print(error)
session = sessions.open(profile="processes", limits=Limits(tasks=12), required=REQUIRED - {{{layer!r}}})
print(session.enforcement[{layer!r}])
print(session.run({code!r}, 20))
sessions.close()
"""
DOSE = """
import os, time
made, problem = 0, ""
try:
    for _ in range(20):
        if os.fork() == 0:
            time.sleep(20); os._exit(0)
        made += 1
except OSError as error:
    problem = type(error).__name__
(made < 12, problem)
"""


def test_a_plain_users_processes_have_no_common_bound_on_memory(nobodys_cache: Path) -> None:
    """[R18] Without a group each has its own address space: told as partial, and refused unless it is not required."""
    refused, told, value = run_as_nobody(FAMILY.format(code=DOSE, layer="memory"), nobodys_cache).splitlines()
    assert "memory is partial (kernel: address space" in refused
    assert "of each of up to 12 processes" in told
    assert "(True, 'BlockingIOError')" in value


FAILS = """
from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.errors import BackendUnavailable
try:
    NativeBackend().manifest()
except BackendUnavailable as error:
    print(error)
"""
FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"


@pytest.fixture
def nobodys_home(nobodys_cache: Path) -> Path:
    """An empty cache of the plain user, with the packages in place: what fails is the root file system."""
    home = nobodys_cache / "full"
    shutil.rmtree(home, ignore_errors=True)
    link_tree(packages.cache_directory() / "packages", home / "smolagents-hardened" / "packages")
    for lock in home.glob("*/packages/*.lock"):
        lock.unlink()  # it is another user's
    give_to_nobody(home, home / "smolagents-hardened", home / "smolagents-hardened" / "packages")
    return home

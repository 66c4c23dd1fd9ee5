"""Two boxes of one spawner share nothing that is drawn by chance."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests.support.native_boxes import Sessions

from smolagents_hardened.backends.native import NativeBackend

DRAWS = {
    "random": "import random\nrandom.random()",
    "a new Random": "import random\nrandom.Random().random()",
    "numpy's old generator": "import numpy\nfloat(numpy.random.random())",
    "numpy's new generator": "import numpy\nfloat(numpy.random.default_rng().random())",
    "uuid4": "import uuid\nstr(uuid.uuid4())",
    "uuid1": "import uuid\nstr(uuid.uuid1())",
    "secrets": "import secrets\nsecrets.token_hex(8)",
    "urandom": "import os\nos.urandom(8).hex()",
    "OpenSSL": "import ssl\nssl.RAND_bytes(8).hex()",
    "temporary names": "import tempfile, os\nos.path.basename(tempfile.mkdtemp())",
    "scikit-learn": "import numpy\nfrom sklearn.utils import check_random_state\nfloat(check_random_state(None).random_sample())",
}
# All that holds state of its own is in the spawner before the clone, and each has been used there.
PRELOADED = ("random", "numpy", "pandas", "uuid", "secrets", "ssl", "tempfile", "sklearn.utils")


@pytest.fixture(scope="module")
def warm() -> NativeBackend:
    """A backend whose spawner has everything imported."""
    return NativeBackend(PRELOADED)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_clones_differ(sessions: Sessions, warm: NativeBackend, draw: str) -> None:
    """Each of three boxes draws something else."""
    spawners = set()
    drawn = []
    for _ in range(3):
        session = sessions.open(warm)
        spawners.add(id(session._box._spawner))  # type: ignore[attr-defined]
        drawn.append(session.run(draw, 30).value)  # type: ignore[union-attr]
    assert len(spawners) == 1
    assert len(set(drawn)) == 3


def test_a_preloaded_module_is_there_at_once(sessions: Sessions, warm: NativeBackend) -> None:
    """numpy and pandas are imported before the first snippet, and work."""
    code = "import sys\nhad = {'numpy', 'pandas'} <= set(sys.modules)\nimport pandas\n(had, int(pandas.Series([1, 2]).sum()))"
    assert sessions.run(code, warm) == (True, 3)


def test_a_module_that_is_not_there_is_left_out(sessions: Sessions) -> None:
    """A line says so, the rest is preloaded, and boxes start."""
    told: list[str] = []
    backend = NativeBackend(("no_such_module", "fractions"), told.append)
    assert sessions.run("import sys\n'fractions' in sys.modules", backend) is True
    assert any("'no_such_module' is not preloaded: No module named" in line for line in told)


def test_the_stdout_of_a_box_is_its_own(sessions: Sessions, warm: NativeBackend) -> None:
    """What one box prints is not heard by another."""
    first, second = sessions.open(warm), sessions.open(warm)
    first.run("print('mine')", 10)
    second.run("print('yours')", 10)
    assert "".join(sessions.printed) == "mine\nyours\n"


# Each draws once before the clone, so that its state is there; both clones are process 1, as the spawner is.
USED = {
    "random": ("import random\nrandom.random()", "random.random()"),
    "numpy's old generator": ("import numpy\nnumpy.random.random()", "numpy.random.random()"),
    "temporary names": (
        "import tempfile\nnext(tempfile._get_candidate_names())",
        "next(tempfile._get_candidate_names())",
    ),
    "OpenSSL": ("import ssl\nssl.RAND_bytes(1)", "ssl.RAND_bytes(8).hex()"),
}
# Python's own fork hook does this one as well: without `differ` it would still not be shared.
RENEWED_BY_PYTHON = {"random"}
CLONES = """
import json, os, sys
sys.path[:] = {paths!r}
from smolagents_hardened.backends import jail_unsafe as jail
from smolagents_hardened.backends import spawner_loop
{before}

def in_a_clone(act, users=None):
    # With `users` in a user namespace too: whose first process may make pid namespaces.
    read, write = os.pipe()
    ready, go = os.pipe()
    pid, _ = jail.clone(jail.CLONE_NEWPID | (jail.CLONE_NEWUSER if users else 0))
    if pid == 0:
        try:
            os.read(ready, 1)
            os.write(write, json.dumps(act()).encode())
        finally:
            os._exit(0)
    if users:
        jail.write_maps(pid, *users, deny_setgroups=True)
    os.write(go, b"!")
    os.close(write)
    with os.fdopen(read) as file:
        told = json.loads(file.read())
    os.waitpid(pid, 0)
    return told

def draw():
    if {differs}:
        spawner_loop.differ()
    return os.getpid(), {draw}

def spawner():
    {before_again}
    return [in_a_clone(draw), in_a_clone(draw)]

print(json.dumps(in_a_clone(spawner, (f"0 {{os.getuid()}} 1", f"0 {{os.getgid()}} 1"))))
"""


def drawn_by_clones(used: str, draw: str, *, differs: bool) -> list[list[object]]:
    """What two clones of a process draw that has drawn before, with or without what a box does to differ."""
    again = used.partition("\n")[2]
    program = CLONES.format(paths=sys.path, before=used, before_again=again, draw=draw, differs=differs)
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # numpy would start threads
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=alone, timeout=60)
    assert done.returncode == 0, done.stderr
    return [list(one) for one in json.loads(done.stdout)]


@pytest.mark.parametrize(("used", "draw"), USED.values(), ids=USED.keys())
def test_what_has_been_used_before_the_clone_is_renewed(used: str, draw: str) -> None:
    """[R16] Also where the pid, by which libraries notice a fork, is 1 before and after it."""
    (first_pid, first), (second_pid, second) = drawn_by_clones(used, draw, differs=True)
    assert (first_pid, second_pid) == (1, 1)
    assert first != second


@pytest.mark.parametrize(("used", "draw"), [one for name, one in USED.items() if name not in RENEWED_BY_PYTHON])
def test_without_the_renewal_it_would_be_shared(used: str, draw: str) -> None:
    """The positive control: the same two clones draw the same."""
    (_, first), (_, second) = drawn_by_clones(used, draw, differs=False)
    assert first == second

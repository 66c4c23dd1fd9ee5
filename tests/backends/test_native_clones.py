"""Two boxes of one spawner share nothing that is drawn by chance."""

from __future__ import annotations

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

"""What the spawner imports before it clones boxes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = (
    "import sys, json; sys.path[:] = {paths!r}; from smolagents_hardened.backends.spawner_loop import preload\n"
    "print(json.dumps(preload({names!r})))"
)
THREADED = "import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()\n"


def preloaded(names: list[str], place: Path) -> object:
    """What `preload` answers in a process of its own that can import from `place`."""
    program = PROGRAM.format(paths=[str(place), *sys.path], names=names)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_module_that_starts_a_thread_is_named(tmp_path: Path) -> None:
    """It is not taken for imported, and nothing is imported after it: that process is of no more use."""
    (tmp_path / "starts_a_thread.py").write_text(THREADED)
    answer = preloaded(["colorsys", "starts_a_thread", "calendar"], tmp_path)
    assert answer == [["colorsys"], {"starts_a_thread": "starts a thread on import"}]


def test_a_missing_module_is_named_and_the_rest_comes(tmp_path: Path) -> None:
    """The reason is Python's own; the modules after it are imported."""
    answer = preloaded(["no_such_module", "calendar"], tmp_path)
    assert answer == [["calendar"], {"no_such_module": "No module named 'no_such_module'"}]

"""A box that dies or lies is ended, said so, and replaced."""

from __future__ import annotations

import pytest
from smolagents.local_python_executor import InterpreterError

from smolagents_hardened import HardenedExecutor

WIRE_OUT = 201
DEATHS = {
    "os._exit": "import os\nos._exit(3)",
    "abort": "import os\nos.abort()",
    "segfault": "import ctypes\nctypes.string_at(0)",
    "closed descriptors": "import os\nos.closerange(0, 1024)",
}
LIES = {
    "rubbish": "b'rubbish'",
    "giant length": "b'\\xff\\xff\\xff\\xff' + b'x' * 100",
    "empty frame": "b'\\x00\\x00\\x00\\x00'",
    "not json": "frame(b'{]')",
    "unknown type": 'frame(b\'{"type": "pwn"}\')',
    "second hello": 'frame(b\'{"type": "hello", "protocol": 1, "python": "3", "report": {}}\')',
    "forged done": 'frame(b\'{"type": "done", "seq": 999, "kind": "final", "text": "", "type_name": "", "has_value": false, "value": null, "pictures": 0}\')',
    "forged final": 'frame(b\'{"type": "done", "seq": 1, "kind": "final", "text": "", "type_name": "", "has_value": false, "value": null, "pictures": 0}\')',
}


@pytest.mark.parametrize("code", DEATHS.values(), ids=DEATHS.keys())
def test_a_death_is_an_outcome(executor: HardenedExecutor, code: str) -> None:
    """However the process ends, the model gets an error and the next step a fresh box."""
    executor("kept = 1")
    with pytest.raises(InterpreterError, match="all variables, functions and imports of earlier steps are gone"):
        executor(code)
    assert executor("1 + 1").output == 2


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lie_ends_the_box(executor: HardenedExecutor, lie: str) -> None:
    """Bytes that the protocol does not allow end the box; nothing is resynchronised."""
    code = f"import os, struct, time\nframe = lambda b: struct.pack('>I', len(b)) + b\nos.write({WIRE_OUT}, {lie})\ntime.sleep(5)"
    with pytest.raises(InterpreterError, match="broke its protocol"):
        executor(code)
    assert [r["kind"] for r in executor.trail.records()] == ["run", "code", "box_start", "violation"]
    assert executor("1 + 1").output == 2

"""Native boxes: bare and preloaded against other ways to start Python, sessions a second, memory, 1,000 in a row.

A bubblewrap on the PATH and a Docker engine are taken along where they are there; the results say where they are not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.measure import RESULTS, compare
from tests.support.native_boxes import Sessions, is_clean, traces, value

from smolagents_hardened.backends import native_root
from smolagents_hardened.backends.native import NativeBackend

PANDAS = "import numpy, pandas\nint(pandas.Series(numpy.arange(3)).sum())"
IN_A_ROW = 1000
IDLE = 20
BWRAP = (
    *("--unshare-all", "--die-with-parent", "--ro-bind", "{root}", "/"),
    *("--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),
)
PYTHON = ("/usr/local/bin/python3", "-I", "-S", "-c")


def main() -> None:
    """Every measurement in one run."""
    sessions = Sessions()
    bare, warm = NativeBackend(), NativeBackend(("numpy", "pandas"))
    compare("native_cold_start", {"native, bare": lambda: once(sessions, bare), **peers()}, rounds=15)
    with_pandas = {"native, numpy+pandas preloaded": lambda: once(sessions, warm, PANDAS)}
    with_pandas["native, imported in the box"] = lambda: once(sessions, bare, PANDAS)
    compare("native_cold_start_pandas", with_pandas | peers(), rounds=15)
    before = traces()
    found = {
        "sessions_per_s_one_thread": rate(sessions, bare, 1),
        "sessions_per_s_two_threads": rate(sessions, bare, 2),
        "private_kib_per_idle_box": idle_kib(sessions, bare),
        "private_kib_per_idle_box_preloaded": idle_kib(sessions, warm),
        "in_a_row": IN_A_ROW,
        "in_a_row_s": in_a_row(sessions, bare),
    }
    found["absent"] = [name for name in ("bwrap", "docker") if shutil.which(name) is None]
    found["left_nothing"] = is_clean(before) or str((before, traces()))
    (RESULTS / "native_boxes.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def once(sessions: Sessions, backend: NativeBackend, code: str = "1 + 1") -> None:
    """A session from nothing to its first result, and to its end."""
    sessions.run(code, backend)
    sessions.made.clear()


def peers() -> dict[str, Callable[[], object]]:
    """What starts a Python otherwise."""
    found: dict[str, Callable[[], object]] = {"python -c pass": lambda: run([sys.executable, "-c", "pass"])}
    bwrap = shutil.which("bwrap")
    if bwrap is not None:
        root = str(native_root.ensure(print).path)
        command = [bwrap, *(part.format(root=root) for part in BWRAP), *PYTHON, "print(1+1)"]
        found["bwrap + python"] = lambda: run(command)
    if shutil.which("docker") is not None:
        from tests.support.backends import backend

        image = backend("docker").manifest().image
        docker = ["docker", "run", "--rm", "--network", "none", "--entrypoint", PYTHON[0], image, *PYTHON[1:]]
        found["docker run"] = lambda: run([*docker, "print(1+1)"])
    return found


def run(command: list[str]) -> None:
    """Run a program to its end."""
    subprocess.run(command, check=True, capture_output=True)


def rate(sessions: Sessions, backend: NativeBackend, threads: int, count: int = 100) -> float:
    """Sessions a second: made, used once, removed."""
    started = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: once(sessions, backend), range(count)))
    return round(count / (time.monotonic() - started), 1)


def idle_kib(sessions: Sessions, backend: NativeBackend) -> int:
    """Private memory of one box of several that have run one snippet and wait: what one more of them costs."""
    made = [sessions.open(backend) for _ in range(IDLE)]
    for session in made:
        value(session, "1")
    private = [private_kib(session._box._pid) for session in made]
    for session in made:
        session.close()
    return round(sum(private) / len(private))


def private_kib(pid: int) -> int:
    """Pages that nobody shares, proc(5)."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_"))


def in_a_row(sessions: Sessions, backend: NativeBackend) -> float:
    """Seconds for IN_A_ROW sessions, one after another."""
    started = time.monotonic()
    for _ in range(IN_A_ROW):
        once(sessions, backend)
    return round(time.monotonic() - started, 1)


if __name__ == "__main__":
    main()

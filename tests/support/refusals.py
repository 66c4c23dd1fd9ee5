"""What has to be refused once user code runs: each act ends in an OSError, at once, and nothing happens.

One file that stands alone, like `workload`: append ``main()`` to send it to a box as a snippet. Each part prints
one JSON line: ``{"part": name, "ok": true, "answers": [errno names]}``, or the act that was not refused.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path


def scratch() -> Path:
    """A new directory of this part alone."""
    return Path(tempfile.mkdtemp())


def refused_network() -> list[str]:
    """No socket of any family, no name, no connection."""
    import socket
    import urllib.request

    return [
        refusal(socket.socket),
        refusal(socket.socket, socket.AF_UNIX),
        refusal(socket.create_connection, ("127.0.0.1", 80), 1),
        refusal(socket.getaddrinfo, "example.org", 80),
        refusal(urllib.request.urlopen, "http://127.0.0.1/", None, 1),
    ]


def refused_programs() -> list[str]:
    """No program, by any of the ways to start one."""
    import subprocess

    return [
        refusal(subprocess.run, ["/bin/true"]),
        refusal(subprocess.run, ["/bin/true"], capture_output=True),
        refusal(subprocess.check_output, "true", shell=True),
        refusal(os.posix_spawn, "/bin/true", ["true"], {}),
        refusal(os.execv, "/bin/true", ["true"]),
        refusal(os.execv, sys.executable, ["python"]),
    ]


def refused_processes() -> list[str]:
    """No second process, and no signal to another one."""
    import multiprocessing

    process = multiprocessing.get_context("fork").Process(target=abs)
    return [
        refusal(fork_and_leave),
        refusal(process.start),
        refusal(os.kill, 1 << 22, 0),
        refusal(os.kill, -1, 0),
        refusal(os.setuid, 0),
        refusal(os.chroot, "/"),
    ]


def fork_and_leave() -> None:
    """Fork; a child ends at once, so that it never goes on with the rest of this program."""
    if os.fork() == 0:
        os._exit(0)


def refused_files() -> list[str]:
    """No write outside scratch, no owner, no device, no extended attribute."""
    path = scratch() / "x"
    path.touch()
    return [
        refusal(os.chown, path, 0, 0),
        refusal(os.mkfifo, path.with_name("fifo")),
        refusal(os.setxattr, path, "user.x", b"x"),
        refusal(os.memfd_create, "x"),
        refusal(os.getxattr, path, "user.x"),
    ]


def refusal(act: Callable[..., object], *arguments: object, **keywords: object) -> str:
    """Do it; return the name of the OSError's errno, or raise AssertionError where there was none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            act(*arguments, **keywords)
        except OSError as error:
            cause = getattr(error, "reason", error)  # URLError wraps the OSError
            number = getattr(cause, "errno", None)
            return errno.errorcode.get(number, str(number))
    raise AssertionError(f"{getattr(act, '__name__', act)} was not refused")


def parts() -> list[str]:
    """The names of all parts, in the order of the file."""
    return [name for name in globals() if name.startswith("refused_")]


def run_part(name: str) -> dict[str, object]:
    """Run one part; return its line."""
    try:
        return {"part": name, "ok": True, "answers": globals()[name]()}
    except Exception as error:  # noqa: BLE001 - the line has to tell whatever went wrong
        return {"part": name, "ok": False, "error": f"{type(error).__name__}: {error}"}


def main(names: list[str] | None = None) -> None:
    """Run the named parts, or all, and print one line each."""
    for name in names or parts():
        print(json.dumps(run_part(name)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""A program: waits for the end of the process that started it, then removes that process' boxes.

Run by path with one JSON argument. Standard input is a pipe that the owner alone holds open: its end is the owner's
end, however that came about. Nothing but the standard library is loaded until then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time

PATIENCE_S = 60.0  # for an engine that is restarting, or slow
LINGER_S = 5.0  # a create call that was on its way when the owner died may be carried out later than its end
PAUSE_S = 0.2


def main() -> None:
    """Wait, then clean up."""
    order = json.loads(sys.argv[1])
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.write(1, b"r")
    farewell = sys.stdin.buffer.read()
    sys.path[:] = order["path"]
    reap(order, is_orderly=farewell == b"done")


def reap(order: dict[str, str], *, is_orderly: bool) -> None:
    """Remove until nothing is left; after an orderly end one look that finds nothing is enough."""
    started = time.monotonic()
    while (since_s := time.monotonic() - started) < PATIENCE_S:
        with contextlib.suppress(OSError):
            is_clean = remove_all(order)
            if is_clean and (is_orderly or since_s > LINGER_S):
                return
        time.sleep(PAUSE_S)


def remove_all(order: dict[str, str]) -> bool:
    """Whether the engine has none of the owner's boxes. Engine errors are left for the next try."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.DockerClient(base_url=order["url"], version="auto") if order["url"] else docker.from_env()
        with contextlib.closing(client):
            found = client.api.containers(all=True, filters={"label": f"{order['label']}={order['owner']}"})
            for container in found:
                client.api.remove_container(container["Id"], force=True, v=True)
    except DockerException:
        return False
    return not found


if __name__ == "__main__":
    main()

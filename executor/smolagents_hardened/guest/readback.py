"""What the kernel says about this process, read from /proc: the larger part of the HELLO report.

Every answer is bounded, because the report travels in one frame and a hostile mount table could be long.
"""

from __future__ import annotations

import os
import re

FILES = "/files"
MOST_ROWS = 64  # mounts, descriptors, interfaces: a box has about 25 mounts under Docker
MOST_CHARACTERS = 256  # of one text
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
STATUS_FIELDS = ("Pid", "PPid", "Threads", "NoNewPrivs", "Seccomp", "Seccomp_filters", *CAPABILITY_SETS)
ID_FIELDS = ("Uid", "Gid", "Groups")

# proc(5), /proc/pid/limits: our name -> the kernel's label
LIMIT_LABELS = {
    "core": "Max core file size",
    "cpu": "Max cpu time",
    "fsize": "Max file size",
    "memlock": "Max locked memory",
    "msgqueue": "Max msgqueue size",
    "nice": "Max nice priority",
    "nofile": "Max open files",
    "rtprio": "Max realtime priority",
    "sigpending": "Max pending signals",
    "stack": "Max stack size",
}
UNLIMITED = -1


def read_status() -> dict[str, object]:
    """Return the fields of /proc/self/status that tell of privilege: texts, and ids as lists of int."""
    rows = dict(line.split(":", 1) for line in _lines("/proc/self/status") if ":" in line)
    status: dict[str, object] = {name: rows[name].strip() for name in STATUS_FIELDS if name in rows}
    status.update({name: [int(number) for number in rows[name].split()[:MOST_ROWS]] for name in ID_FIELDS})
    return status


def read_every_thread() -> list[dict[str, str]]:
    """Return, for each thread, the fields that are a thread's own: privilege belongs to threads."""
    wanted = ("NoNewPrivs", "Seccomp", "Seccomp_filters", *CAPABILITY_SETS)
    threads = []
    for thread in sorted(os.listdir("/proc/self/task"))[:MOST_ROWS]:
        rows = dict(line.split(":", 1) for line in _lines(f"/proc/self/task/{thread}/status") if ":" in line)
        threads.append({name: rows[name].strip() for name in wanted if name in rows})
    return threads


def read_rlimits() -> dict[str, list[int]]:
    """Return [soft, hard] per limit, -1 for unlimited."""
    lines = _lines("/proc/self/limits")
    found = {}
    for name, label in LIMIT_LABELS.items():
        row = next(line for line in lines if line.startswith(label))
        found[name] = [_limit(text) for text in row[len(label) :].split()[:2]]
    return found


def _limit(text: str) -> int:
    return UNLIMITED if text == "unlimited" else int(text)


def read_mounts() -> list[dict[str, str]]:
    """Return point, type and both option lists of each mount; a later one may cover an earlier one."""
    mounts = []
    for line in _lines("/proc/self/mountinfo")[:MOST_ROWS]:
        # proc(5): id parent major:minor root point options [tags] - type source super-options
        before, _, after = line.partition(" - ")
        mine, about = before.split(" "), after.split(" ")
        row = {"point": mine[4], "options": mine[5], "type": about[0], "super": about[-1]}
        mounts.append({key: text[:MOST_CHARACTERS] for key, text in row.items()})
    return mounts


def read_files() -> list[list[object]]:
    """Return path, device and inode of what is mounted beneath FILES: the host compares them with what it checked."""
    found: list[list[object]] = []
    for line in _lines("/proc/self/mountinfo"):
        # proc(5): space, tab, newline and backslash of a path are octal escapes
        point = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), line.split(" ")[4])
        if point.startswith(f"{FILES}/") and len(found) < MOST_ROWS:
            try:
                status = os.stat(point)
            except OSError:
                continue
            found.append([point.removeprefix(f"{FILES}/"), status.st_dev, status.st_ino])
    return found


def read_network() -> dict[str, object]:
    """Return the interfaces with their state, and how many routes leave by something other than loopback."""
    names = [line.split(":", 1)[0].strip() for line in _lines("/proc/self/net/dev")[2 : 2 + MOST_ROWS]]
    routes = [line.split()[0] for line in _lines("/proc/self/net/route")[1:]]
    routes += [line.split()[-1] for line in _lines("/proc/self/net/ipv6_route")]
    return {
        "interfaces": {name[:MOST_CHARACTERS]: _state(name) for name in names},
        "routes": sum(interface != "lo" for interface in routes),
    }


def _state(interface: str) -> str:
    flags = _lines(f"/sys/class/net/{interface}/flags")
    if not flags:
        return "unknown"  # no /sys in this box
    return "up" if int(flags[0], 16) & 1 else "down"  # IFF_UP, netdevice(7)


def read_descriptors() -> dict[str, str]:
    """Return what each open descriptor points at."""
    found = {}
    with os.scandir("/proc/self/fd") as entries:
        for entry in entries:
            found[entry.name] = os.readlink(entry.path)[:MOST_CHARACTERS]
    # The scan itself held one descriptor, which is closed by now.
    kept = [name for name in sorted(found, key=int) if not found[name].endswith(f"/proc/{os.getpid()}/fd")]
    return {name: found[name] for name in kept[:MOST_ROWS]}


def _lines(path: str) -> list[str]:
    """Return the lines of a file of /proc or /sys, none where the kernel or the box does not have it."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except (FileNotFoundError, PermissionError):
        return []

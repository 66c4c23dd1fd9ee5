"""Network: the host listens on everything it has; nothing may arrive."""

from __future__ import annotations

from smolagents_hardened.selftest.judges import at_least, confessed, first, no_hit
from smolagents_hardened.selftest.probe import Evidence, Probe

CONNECT = """
import socket
for family, address, port in given["tcp"]:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as out:
            out.settimeout(1)
            out.connect((address, port))
    except OSError:
        pass
for family, address, port in given["udp"]:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as out:
            out.sendto(b"x", (address, port))
    except OSError:
        pass
"""

# The same without Python's socket module: what a library in C would do.
CONNECT_RAW = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
for family, address, port in given["tcp"][:1]:
    descriptor = libc.syscall(41, 2, 1, 0)
    name = struct.pack("<H", 2) + struct.pack(">H", port) + bytes(map(int, address.split("."))) + b"\\0" * 8
    libc.syscall(42, descriptor, name, len(name))
    libc.syscall(3, descriptor) if descriptor >= 0 else None
"""

CONNECT_UNIX = """
import socket
for name in (given["path"], "\\0" + given["abstract"]):
    try:
        with socket.socket(socket.AF_UNIX) as out:
            out.settimeout(1)
            out.connect(name)
    except OSError:
        pass
"""

FAMILIES = """
import socket
for family in range(46):
    for kind in (1, 2, 3, 5):
        for make in (socket.socket, socket.socketpair):
            try:
                made = make(family, kind)
            except OSError:
                continue
            for one in made if isinstance(made, tuple) else (made,):
                one.close()
            print("pair 1" if make is socket.socketpair and (family, kind) == (1, 1) else f"OPENED {family} {kind}")
"""

INTERFACES = """
look("")
with open("/proc/net/route") as file:
    print("ROUTE" if len(file.readlines()) > 1 else "")
with open("/proc/net/dev") as file:
    for line in file.readlines()[2:]:
        name = line.split(":")[0].strip()
        print("" if name == "lo" else f"INTERFACE {name}")
"""


def _families(evidence: Evidence) -> str:
    return confessed(evidence, "OPENED") or at_least(evidence, "pair", 1)


def _interfaces(evidence: Evidence) -> str:
    seen = sorted({name for look in evidence.looks for process in look for name in process.interfaces} - {"lo"})
    return first(
        f"the host's kernel shows interfaces in the box: {', '.join(seen)}" if seen else "",
        confessed(evidence, "ROUTE"),
        confessed(evidence, "INTERFACE"),
        "" if evidence.looks else "the host could not look",
    )


PROBES = (
    Probe(
        id="network.connect",
        promise="R3",
        title="no connection and no datagram reaches a listener on loopback or this host's own addresses",
        program=CONNECT,
        judge=no_hit,
        has_control=True,
    ),
    Probe(
        id="network.connect-raw",
        promise="R3",
        title="no connection reaches the host by raw system calls either",
        program=CONNECT_RAW,
        judge=no_hit,
        has_control=True,
    ),
    Probe(
        id="network.unix",
        promise="R3",
        title="no unix socket of the host is reached, by path or by abstract name",
        program=CONNECT_UNIX,
        judge=no_hit,
        has_control=True,
    ),
    Probe(
        id="network.families",
        promise="R3",
        title="the box reports that no socket of any family opens, but for a pair of its own",
        program=FAMILIES,
        judge=_families,
        has_control=True,
    ),
    Probe(
        id="network.interfaces",
        promise="R3",
        title="there is no interface but loopback, and no route",
        program=INTERFACES,
        judge=_interfaces,
    ),
)

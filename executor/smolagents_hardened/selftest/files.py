"""Files: what a box can read, write, open and run."""

from __future__ import annotations

from smolagents_hardened.selftest.judges import at_least, confessed, no_litter, no_secret
from smolagents_hardened.selftest.probe import Evidence, Probe

# Every way to a path of the host that a box could have: the path itself, other processes' roots, each mount.
READ = """
import os

def attempt(path):
    try:
        if os.path.isdir(path):
            print(os.listdir(path))
        else:
            with open(path, "rb") as file:
                print(file.read(200))
    except OSError:
        pass

roots = ["", "/proc/1/root", "/proc/self/root", "/proc/self/cwd" + "/.." * 20]
roots += ["/" + name for name in "host mnt media srv home root data tmp var opt run".split()]
try:
    with open("/proc/self/mountinfo") as file:
        roots += [line.split()[4] for line in file]
    roots += ["/" + name for name in os.listdir("/")]
except OSError:
    pass
for path in given["files"] + given["directories"]:
    for root in roots:
        attempt(root + path)
        attempt(os.path.join(root, os.path.basename(path)))
"""

WRITE = """
import os
with open("/tmp/hardened-selftest", "w") as file:
    file.write("x")
print("scratch 1")
places = "/ /etc /usr /usr/local /usr/local/lib /opt /opt/hardened /opt/packages /dev /dev/shm /proc /sys /run /var"
places = places.split() + ["/var/tmp", "/home", "/root", "/mnt", "/srv"] + given["directories"]
with open("/proc/self/mountinfo") as file:
    places += [line.split()[4] for line in file]
for place in places:
    if place == "/tmp" or place.startswith("/tmp/") and place not in given["directories"]:
        continue
    try:
        open(os.path.join(place, "hardened-selftest"), "w").close()
        print("WROTE", place)
        if place not in given["directories"]:  # there the host looks, and clears up
            os.remove(os.path.join(place, "hardened-selftest"))
    except OSError:
        pass
for path in ["/etc/passwd", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/opt/hardened/manifest.json"]:
    try:
        os.close(os.open(path, os.O_WRONLY))
        print("WROTE", path)
    except OSError:
        pass
"""

DEVICES = """
import os, stat
names = "null zero full random urandom tty ptmx kmsg mem port sda vda nvme0n1 loop0 kvm fuse snapshot net/tun vhost-net"
try:
    names += " " + " ".join(os.listdir("/dev"))
except OSError:
    pass
for name in set(names.split()):
    path = "/dev/" + name
    try:
        found = os.lstat(path)
        if stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode):
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            print("device", os.major(found.st_rdev), os.minor(found.st_rdev))
    except OSError:
        pass
try:
    os.mknod("/tmp/hardened-device", stat.S_IFBLK | 0o600, os.makedev(8, 0))
    print("MADE a block device")
except OSError:
    pass
"""
HARMLESS = {"1 3", "1 5", "1 7", "1 8", "1 9"}  # null, zero, full, random, urandom: devices.txt of Linux

SET_ID = """
import os, stat
seen = 0
for top in "/bin /sbin /lib /lib64 /usr /opt /etc /var /home /root /srv /run /tmp".split():
    for directory, names, files in os.walk(top):
        for name in files:
            try:
                mode = os.lstat(os.path.join(directory, name)).st_mode
            except OSError:
                continue
            seen += 1
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                print("SETID", os.path.join(directory, name))
print("files", seen)
"""

RUN_SCRATCH = """
import mmap
with open("/tmp/hardened-code", "w+b") as file:
    file.write(b"\\xc3" * 4096)
    file.flush()
    mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ).close()
    print("mapped 1")
    try:
        mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
        print("MAPPED a written file as code")
    except OSError:
        pass
"""

DESCRIPTORS = """
import os
for name in os.listdir("/proc/self/fd"):
    try:
        print("descriptor", os.readlink("/proc/self/fd/" + name))
    except OSError:
        pass
"""


def _written(evidence: Evidence) -> str:
    return no_litter(evidence) or confessed(evidence, "WROTE") or at_least(evidence, "scratch", 1)


def _devices(evidence: Evidence) -> str:
    found = {line.removeprefix("device ") for line in evidence.said.splitlines() if line.startswith("device ")}
    if strange := sorted(found - HARMLESS):
        return f"devices could be opened: {', '.join(strange)} (major minor)"
    return confessed(evidence, "MADE") or ("" if found else "not even /dev/null could be opened")


def _set_id(evidence: Evidence) -> str:
    return confessed(evidence, "SETID") or at_least(evidence, "files", 100)


def _run_scratch(evidence: Evidence) -> str:
    return confessed(evidence, "MAPPED") or at_least(evidence, "mapped", 1)


def _descriptors(evidence: Evidence) -> str:
    found = [line.removeprefix("descriptor ") for line in evidence.said.splitlines() if line.startswith("descriptor ")]
    strange = [one for one in found if one.startswith("/") and one != "/dev/null" and not one.startswith("/proc/")]
    if strange:
        return f"open descriptors lead to {', '.join(strange[:5])}"
    return "" if found else "no descriptor was seen, not even the wire"


PROBES = (
    Probe(
        id="files.read",
        promise="R1",
        title="the content and the names of canary files on the host do not come out",
        program=READ,
        judge=no_secret,
        has_control=True,
    ),
    Probe(
        id="files.write",
        promise="R2",
        title="no file appears outside scratch: canary directories on the host, and places the box reports",
        program=WRITE,
        judge=_written,
    ),
    Probe(
        id="files.devices",
        promise="R1",
        title="the box reports no device but null, zero, full, random and urandom, and can make none",
        program=DEVICES,
        judge=_devices,
    ),
    Probe(
        id="files.descriptors",
        promise="R1",
        title="the box reports no open descriptor that leads to a file",
        program=DESCRIPTORS,
        judge=_descriptors,
    ),
    Probe(
        id="files.set-id",
        promise="R5",
        title="the box reports no file with a set-user-id or set-group-id bit",
        program=SET_ID,
        judge=_set_id,
    ),
    Probe(
        id="files.run-scratch",
        promise="R5",
        title="the box reports that nothing written to scratch can be mapped as code",
        program=RUN_SCRATCH,
        judge=_run_scratch,
    ),
)

"""What the box claims about itself in HELLO, as findings. It is hostile until its types have been looked at.

The report was made before the first byte of user code was read, by our own runner; still it is a claim, and it counts
only downwards wherever there is another witness.
"""

from __future__ import annotations

from collections.abc import Callable

from smolagents_hardened.backends.base import may_start_processes
from smolagents_hardened.backends.enforcement import Level
from smolagents_hardened.backends.witness import Expected, Finding, verdict

Report = dict[str, object]

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
# Acts that the runner must have tried under filter 2, and been refused.
PROBES = ("socket_inet", "execve", "fork", "signal", "ptrace", "unshare", "mount", "bpf", "io_uring", "write_root")
STARTING = frozenset({"execve", "signal"})  # not refused where processes may be started


class _Odd(Exception):
    """A part of the report is not what it has to be; the text says which."""


def report_findings(raw_report: Report, expected: Expected) -> list[Finding]:
    """Every layer that the box speaks about; what is missing or odd makes its layer Absent."""
    findings = []
    for layer, read in READERS.items():
        try:
            findings.append(read(layer, raw_report, expected))
        except _Odd as odd:
            findings.append(Finding(layer, Level.ABSENT, f"box: odd report: {odd}"))
    return findings


def _mapping(raw: object, where: str) -> Report:
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise _Odd(f"{where} is no object")
    return raw


def _part(raw_report: Report, name: str) -> Report:
    return _mapping(raw_report.get(name), name)


def _text(raw: Report, name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or len(value) > 1000:
        raise _Odd(f"{name} is no text")
    return value


def _number(raw: object, where: str) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise _Odd(f"{where} is no number")
    return raw


def _status_number(raw_report: Report, name: str, base: int = 10) -> int:
    text = _text(_part(raw_report, "status"), name)
    try:
        return int(text, base)
    except ValueError:
        raise _Odd(f"{name} is no number") from None


def _is(name: str, wanted: int) -> Callable[[str, Report, Expected], Finding]:
    """A reader of one number of /proc/self/status."""

    def read(layer: str, raw_report: Report, expected: Expected) -> Finding:
        found = _status_number(raw_report, name)
        return verdict(layer, [f"{name} {found}"] if found != wanted else [], "box", f"{name} {found}")

    return read


def _namespaces(layer: str, raw_report: Report, expected: Expected) -> Finding:
    # Where processes may be started the first one stays behind, and its only child reports.
    return _is("PPid" if may_start_processes(expected.profile) else "Pid", 1)(layer, raw_report, expected)


def _seccomp_run(layer: str, raw_report: Report, expected: Expected) -> Finding:
    probes = _part(raw_report, "probes")
    problems = []
    tried = [name for name in PROBES if not (may_start_processes(expected.profile) and name in STARTING)]
    for name in tried:
        answer = _text(probes, name)
        if not (answer.startswith("E") and answer.isalnum() and answer.isupper()):
            problems.append(f"{name} was not refused")
    return verdict(layer, problems, "box", f"profile {expected.profile}, {len(tried)} acts tried and refused")


def _capabilities(layer: str, raw_report: Report, expected: Expected) -> Finding:
    held = [name for name in CAPABILITY_SETS if _status_number(raw_report, name, 16)]
    return verdict(layer, held, "box", "all five sets empty")


def _user(layer: str, raw_report: Report, expected: Expected) -> Finding:
    status = _part(raw_report, "status")
    ids = set()
    for name in ("Uid", "Gid", "Groups"):
        numbers = status.get(name)
        if not isinstance(numbers, list) or (name != "Groups" and not numbers):
            raise _Odd(f"{name} is no list")
        ids |= {_number(number, name) for number in numbers}
    problems = ["root"] if 0 in ids else []
    if len(ids) > 1:
        problems.append(f"ids {sorted(ids)[:8]}")
    return verdict(layer, problems, "box", f"uid and gid {sorted(ids)[:8]}")


def _network(layer: str, raw_report: Report, expected: Expected) -> Finding:
    network = _part(raw_report, "network")
    others = sorted(set(_mapping(network.get("interfaces"), "interfaces")) - {"lo"})
    routes = _number(network.get("routes"), "routes")
    return verdict(layer, [*others[:8], *["a route"] * bool(routes)], "box", "no interface but loopback, no route")


def _mount(raw_report: Report, point: str) -> tuple[list[str], str]:
    """Options and type of the last mount on `point`, which is the one that counts."""
    mounts = raw_report.get("mounts")
    if not isinstance(mounts, list):
        raise _Odd("mounts is no list")
    found = None
    for raw in mounts:
        mount = _mapping(raw, "a mount")
        if mount.get("point") == point:
            found = _text(mount, "options").split(","), _text(mount, "type")
    if found is None:
        raise _Odd(f"{point} is not among the mounts")
    return found


def _root(layer: str, raw_report: Report, expected: Expected) -> Finding:
    options, _ = _mount(raw_report, "/")
    problems = [] if "ro" in options else ["the root is writable"]
    return verdict(layer, problems + _replaced(raw_report, expected), "box", "read-only")


def _replaced(raw_report: Report, expected: Expected) -> list[str]:
    """The inputs that are not the very objects that were checked: another host's, or swapped in between."""
    raw_files = raw_report.get("files") if expected.files else []
    if not isinstance(raw_files, list):
        raise _Odd("files is no list")
    told = {str(raw[0]): (raw[1], raw[2]) for raw in raw_files if isinstance(raw, list) and len(raw) == 3}
    return [
        f"/files/{name} is not the file that was checked"
        for name in expected.files
        if told.get(name) != expected.files[name]
    ]


def _scratch(layer: str, raw_report: Report, expected: Expected) -> Finding:
    options, kind = _mount(raw_report, expected.scratch)
    problems = [f"without {flag}" for flag in ("noexec", "nosuid", "nodev") if flag not in options]
    return verdict(layer, problems + ["no tmpfs"] * (kind != "tmpfs"), "box", "tmpfs noexec")


def _file_limits(layer: str, raw_report: Report, expected: Expected) -> Finding:
    limits = _part(raw_report, "rlimits")
    problems = []
    for name in sorted(limits.keys() & expected.rlimits.keys()):
        pair = limits[name]
        if not isinstance(pair, list) or len(pair) != 2:
            raise _Odd(f"{name} is no pair")
        soft, hard = (_number(number, name) for number in pair)
        if soft != hard or not 0 <= soft <= expected.rlimits[name]:
            problems.append(f"{name} {soft}/{hard} instead of {expected.rlimits[name]}")
    missing = sorted({"core", "cpu", "fsize", "nofile"} - limits.keys())
    return verdict(layer, problems + [f"{name} not told" for name in missing], "box", "soft = hard")


def _landlock(layer: str, raw_report: Report, expected: Expected) -> Finding:
    landlock = _part(raw_report, "landlock")
    abi = _number(landlock.get("abi"), "abi")
    if landlock.get("enforced") is not True or landlock.get("probe") != "EACCES":
        return Finding(layer, Level.ABSENT, f"box: not enforced, ABI {abi}")
    told = f"box: files, ABI {abi}, a forbidden open was refused"
    if landlock.get("network") is True and landlock.get("scoped") is True:
        return Finding(layer, Level.FULL, f"{told}; TCP, abstract sockets and signals too")
    return Finding(layer, Level.PARTIAL, f"{told}; this kernel cannot restrict TCP and signals")


READERS: dict[str, Callable[[str, Report, Expected], Finding]] = {
    "seccomp_start": _is("Seccomp", 2),
    "seccomp_run": _seccomp_run,
    "no_new_privileges": _is("NoNewPrivs", 1),
    "capabilities": _capabilities,
    "user": _user,
    "namespaces": _namespaces,
    "network": _network,
    "root_filesystem": _root,
    "scratch": _scratch,
    "file_limits": _file_limits,
    "landlock": _landlock,
}

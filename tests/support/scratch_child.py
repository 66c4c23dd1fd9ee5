"""Run Python as the root of namespaces of its own: what it does there, as its root, ends with it.

For controls that would otherwise act on the machine: they become root, make processes, namespaces and sockets.
"""

from __future__ import annotations

# Text, since it stands before the act in a process of its own. That process is PID 1 of its pid namespace: its end
# ends whatever it started. Needs root, or a kernel that gives user namespaces to everybody.
PROLOGUE = """
import ctypes as _ctypes, os as _os, sys as _sys
_libc = _ctypes.CDLL(None, use_errno=True)
_uid, _gid = _os.geteuid(), _os.getegid()
# CLONE_NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS | NEWCGROUP
if _libc.unshare(0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x8000000 | 0x4000000 | 0x2000000):
    _sys.exit("a bounded control needs root or unprivileged user namespaces")
for _name, _text in (("setgroups", "deny"), ("uid_map", f"0 {_uid} 1"), ("gid_map", f"0 {_gid} 1")):
    with open(f"/proc/self/{_name}", "w") as _file:
        _file.write(_text)
_pid = _os.fork()
if _pid:
    _sys.exit(_os.waitstatus_to_exitcode(_os.waitpid(_pid, 0)[1]))
_libc.prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL: a control that outlasts its time ends with its parent
_os.setsid()
"""

"""The numbered promises of SECURITY.md, as short titles for the reports; a test compares the two."""

from __future__ import annotations

PROMISES = {
    "R1": "Code in a box reads no file of the host but those it was given",
    "R2": "Code in a box writes nowhere but in its bounded scratch directory",
    "R3": "Code in a box reaches no network and no socket of the host",
    "R4": "Code in a box sees, signals and traces no process outside, and starts none",
    "R5": "Code in a box holds no privilege and cannot gain one",
    "R6": "Code in a box reaches the published system calls only, with the published arguments",
    "R7": "A box is bounded in memory, tasks, open files and scratch space",
    "R8": "A step ends in time, whatever its code does",
    "R9": "Output fills neither memory nor disk of the host",
    "R10": "A box that lies on the wire is ended, and the host raises nothing but a typed error",
    "R11": "No tool runs without the hook's word, and a hook that fails refuses",
    "R12": "Exact names, checked arguments, and what was judged is what runs",
    "R13": "The first final answer stands",
    "R14": "Every call is on record before it runs, and tampering with the record shows",
    "R15": "No secret of the host reaches a box: no environment variable, no path in a result or an error",
    "R16": "Nothing is shared between two sessions",
    "R17": "Nothing is left behind, also when the host process is killed",
    "R18": "A layer is claimed only as read back, and a missing required one refuses the box",
    "R19": "Every containment promise holds with the language gate off",
    "R20": "An image holds what its lock says, twice the same; a native root holds what was installed",
}

"""A policy file that is read again when it changes: by one atomic swap, recorded, and never to something broken."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from smolagents_hardened.audit.digest import digest_text
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance import cedar, policy_file
from smolagents_hardened.governance.call import ToolCall, ToolOutcome
from smolagents_hardened.governance.hooks import Decision, Means
from smolagents_hardened.governance.policy import Policy

SUFFIXES = (*policy_file.SUFFIXES, cedar.SUFFIX)
_Stamp = tuple[int, ...]
# A file's times may be as coarse as this (FAT; most have a few ms): what changed within the same tick looks unchanged.
_TICK_NS = 2 * 10**9
_NOT_IN_FORCE = "the changed file is not in force: {}"


def load(path: str | Path) -> Policy | cedar.CedarPolicy:
    """Read a policy in whichever language its name says. Raises ConfigError."""
    return _compiled(policy_file.read_text(Path(path)), Path(path))


def _compiled(text: str, path: Path) -> Policy | cedar.CedarPolicy:
    if path.suffix == cedar.SUFFIX:
        return cedar.CedarPolicy(text, str(path))
    return Policy.from_document(policy_file.parse(text, path), str(path))


class _InForce:
    """One version of a file, and what the trail says of it: also which bytes it was."""

    def __init__(self, text: str, path: Path) -> None:
        self.policy = _compiled(text, path)
        self.told: dict[str, object] = {**self.policy.described(), "file_sha256": digest_text(text)}


class PolicyFile:
    """The hook of a policy file. Looks at the file before each call; what it says now is what counts.

    Rules, labels, budgets, prices and mode change together; what was used of a budget so far stays used. A file that is
    gone or not valid any more changes nothing: the last good version stays in force, the trail says so (`error` in
    a policy_load record), and it is tried again at the next call. The path is that of the start, whatever directory
    the process changes to.

    Raises ConfigError when the file is not valid at the start.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).absolute()
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = self._stat()  # of the text in force; None: read the file again
        self._text = policy_file.read_text(self._path)  # the latest that is known to be a policy, or to be none
        self._fault = ""  # why it is none
        self._in_force = _InForce(self._text, self._path)  # replaced as a whole, never changed
        self._error = ""  # why what the file says now is not in force
        self.name = self.policy.name

    @property
    def policy(self) -> Policy | cedar.CedarPolicy:
        """The version in force."""
        return self._in_force.policy

    @property
    def is_shadow(self) -> bool:
        """Whether the version in force is in shadow."""
        return self.policy.is_shadow

    @property
    def asks_what_is_known(self) -> bool:
        """Whether a rule in force does."""
        return self.policy.asks_what_is_known

    def means(self) -> Means:
        """The budgets and prices in force."""
        return self.policy.means()

    def before_tool_call(self, call: ToolCall) -> Decision:
        """What the rules in force say."""
        return self.policy.before_tool_call(call)

    def after_tool_call(self, call: ToolCall, outcome: ToolOutcome) -> ToolOutcome | None:
        """The labels of the rules in force."""
        label = self.policy.after_tool_call
        return None if label is None else label(call, outcome)

    def described(self) -> dict[str, object]:
        """What is in force; reads the file again if it has changed."""
        self._refresh()
        return self._in_force.told | ({"error": self._error} if self._error else {})

    def _refresh(self) -> None:
        stamp = self._stat()
        if stamp is not None and stamp == self._stamp:
            return
        with self._lock:
            self._stamp = None
            try:
                self._read()
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, the version in force stays; the trail says so
                self._error = _NOT_IN_FORCE.format(error or type(error).__name__)
            else:
                self._error, self._stamp = self._fault, stamp

    def _read(self) -> None:
        """Take what the file says now. What may pass (a file that cannot be read, a full stack) is raised."""
        text = policy_file.read_text(self._path)
        if text == self._text:
            return
        try:
            self._in_force, self._fault = _InForce(text, self._path), ""
        except ConfigError as error:
            if isinstance(error.__cause__, RecursionError):
                raise
            self._fault = _NOT_IN_FORCE.format(error)
        self._text = text

    def _stat(self) -> _Stamp | None:
        """What changes with the file; None where that cannot be told, or where it has changed so lately that it could
        again without a trace.
        """
        try:
            facts = os.stat(self._path)
        except OSError:
            return None
        # No program can set ctime: it is that of the latest change, of the contents or of any other time.
        is_settled = 0 <= time.time_ns() - facts.st_ctime_ns > _TICK_NS
        return (facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino) if is_settled else None

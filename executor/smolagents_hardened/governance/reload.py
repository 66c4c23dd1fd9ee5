"""A policy file that is read again when it changes: by one atomic swap, recorded, and never to something broken."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance import cedar, policy_file
from smolagents_hardened.governance.call import ToolCall, ToolOutcome
from smolagents_hardened.governance.hooks import Decision, Means
from smolagents_hardened.governance.policy import Policy

SUFFIXES = (*policy_file.SUFFIXES, cedar.SUFFIX)
_Stamp = tuple[int, int, int]


def load(path: str | Path) -> Policy | cedar.CedarPolicy:
    """Read a policy in whichever language its name says. Raises ConfigError."""
    is_cedar = Path(path).suffix == cedar.SUFFIX
    return cedar.CedarPolicy.from_file(path) if is_cedar else Policy.from_file(path)


class PolicyFile:
    """The hook of a policy file. Looks at the file before each call; what it says now is what counts.

    Rules, labels, budgets, prices and mode change together; what was used of a budget so far stays used. A file that is
    gone or not valid any more changes nothing: the last good version stays in force, and the trail says so (`error` in
    a policy_load record).

    Raises ConfigError when the file is not valid at the start.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._stamp = self._stat()
        self.policy = load(self._path)  # replaced as a whole, never changed
        self._error = ""
        self.name = self.policy.name

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
        return self.policy.described() | ({"error": self._error} if self._error else {})

    def _refresh(self) -> None:
        stamp = self._stat()
        if stamp == self._stamp:
            return
        with self._lock:
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                self.policy, self._error = load(self._path), ""
            except ConfigError as error:
                self._error = f"the changed file is not in force: {error}"

    def _stat(self) -> _Stamp:
        try:
            facts = os.stat(self._path)
        except OSError:
            return (0, 0, 0)
        return (facts.st_mtime_ns, facts.st_size, facts.st_ino)

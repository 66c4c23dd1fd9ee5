"""The tools and the hook that stand in for the user's while probes run: each says to the evidence that it really ran.

The user's own hooks and tools are not asked: a probe must neither wake a person nor send a mail. That their
configuration can be read is checked all the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.selftest.probe import Evidence
from smolagents_hardened.selftest.process_list import Process


class Typed:
    """A tool with declared inputs, as smolagents has them."""

    inputs: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "text": {"type": "string", "description": "a text"},
        "count": {"type": "integer", "description": "a whole number"},
        "items": {"type": "array", "description": "a list"},
    }

    def __init__(self, ran: Callable[[str, Mapping[str, object]], None]) -> None:
        self._ran = ran

    def __call__(self, text: str, count: int, items: list[Any]) -> None:
        self._ran("typed", {"text": text, "count": count, "items": list(items)})


class Witness:
    """Takes down what tools and hook have seen; `evidence` is that of the probe that runs now."""

    def __init__(self, limits: Any, look: Callable[[], tuple[Process, ...]]) -> None:
        self.evidence = Evidence(limits)
        self._look = look

    def tools(self) -> dict[str, Callable[..., object]]:
        """Every tool that a program may call, by name."""
        plain = {name: self._plain(name) for name in ("danger", "hook_raises", "hook_silent", "hook_odd", "stops")}
        return {
            **plain,
            "allowed": self._allowed,
            "reached": self._reached,
            "look": self._looked,
            "fails": self._fails,
            "typed": Typed(self._ran),
            "final_answer": self._final_answer,
        }

    def judge(self, call: ToolCall) -> object:
        """The hook: it decides by the tool's name, and misbehaves for three of them."""
        self.evidence.judged.append(call)
        match call.tool:
            case "danger":
                return Decision.deny("the self-test denies this tool")
            case "hook_raises":
                raise RuntimeError("the self-test's hook fails, as it should here")
            case "hook_silent":
                return None
            case "hook_odd":
                return True
            case "stops":
                return Decision.stop("enough")
        return Decision.allow()

    def printed(self, text: str) -> None:
        """What the box prints, as it reaches the host; beyond what any limit allows only its length is kept."""
        self.evidence.printed += len(text)
        if len(self.evidence.said) < 2**22:
            self.evidence.said += text

    def _ran(self, tool: str, arguments: Mapping[str, object]) -> None:
        self.evidence.ran.append((tool, arguments))

    def _plain(self, name: str) -> Callable[[], None]:
        def tool() -> None:
            self._ran(name, {})

        return tool

    def _allowed(self, n: int) -> int:
        self._ran("allowed", {"n": n})
        return n

    def _reached(self, n: int) -> None:
        self._ran("reached", {"n": n})

    def _looked(self, told: str) -> None:
        self.evidence.looks.append(self._look())
        if told:
            self.evidence.told.append(told)

    def _fails(self, kind: str) -> None:
        self._ran("fails", {"kind": kind})
        place = os.path.join(os.path.expanduser("~"), "secret")
        if kind == "file":
            raise FileNotFoundError(2, "No such file", place)
        raise TypeError(f"{place} and {sys.prefix} in {os.getcwd()}")

    def _final_answer(self, answer: object) -> object:
        self._ran("final_answer", {"answer": answer})
        return answer

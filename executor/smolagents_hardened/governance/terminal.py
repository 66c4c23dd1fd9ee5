"""An approver at the terminal: shows the call as it would run, and takes approve, edit, reject, answer or stop.

Everything shown was written by a model: escapes are written out, nothing is read as markup.
"""

from __future__ import annotations

import json
import select
import sys
import threading
import time
from typing import TextIO

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from smolagents_hardened.audit.plain import plain
from smolagents_hardened.audit.report import neutral
from smolagents_hardened.governance.approval import ApprovalRequest
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.hooks import Decision

_POLL_S = 0.1
_SHOWN_CHARS = 4_000
_KEYS = "[a]pprove  [e]dit  [r]eject  an[s]wer  s[t]op: "
_KEYS_CODE = "[a]pprove  [r]eject  s[t]op: "
_NOBODY = Decision.deny("nobody sits at the terminal", code="approval_unavailable")


class _Over(Exception):
    """Nobody waits for the answer any more, or the input has ended."""


class TerminalApprover:
    """Asks whoever sits at `source` (standard input unless told otherwise), one question at a time.

    It reads only while a question is open: what is typed later belongs to whoever reads next. Without a terminal, and
    without a source of its own, every question is refused.
    """

    def __init__(self, console: Console | None = None, source: TextIO | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._source = source
        self._lock = threading.Lock()

    def approve(self, request: ApprovalRequest) -> Decision | bool:
        """Show, ask, read. An empty or unknown answer is asked again; the end of the input refuses."""
        if self._source is None and not sys.stdin.isatty():
            return _NOBODY
        with self._lock:
            try:
                self._show(request)
                return self._answered(request)
            except _Over:
                self._say("no answer: refused")
                return _NOBODY

    def _answered(self, request: ApprovalRequest) -> Decision | bool:
        is_call = isinstance(request.subject, ToolCall)
        while True:
            word = self._read(request, _KEYS if is_call else _KEYS_CODE).strip().lower()
            match word[:1]:
                case "a":
                    return True
                case "r":
                    return Decision.deny(self._read(request, "why? ") or "a person refused it", code="approval_denied")
                case "t":
                    return Decision.stop(self._read(request, "why? ") or "a person stopped the run")
                case "e" if is_call:
                    edited = self._edited(request)
                    if edited is not None:
                        return edited
                case "s" if is_call:
                    return Decision.respond(_value(self._read(request, "answer (JSON or text): ")))

    def _edited(self, request: ApprovalRequest) -> Decision | None:
        """New arguments, one by one: an empty line keeps the old value. None when one cannot be read."""
        assert isinstance(request.subject, ToolCall)  # nosec B101 - only calls can be edited
        arguments = dict(request.subject.arguments)
        for name in arguments:
            line = self._read(request, f"{neutral(name)} = ").strip()
            if line:
                try:
                    arguments[name] = json.loads(line)
                except ValueError as error:
                    self._say(f'not JSON (a text stands in "quotes"): {error}')
                    return None
        return Decision.modify(arguments, reason="edited by a person")

    def _show(self, request: ApprovalRequest) -> None:
        subject = request.subject
        rows = [("agent", f"{' / '.join(subject.delegation) or subject.agent}, step {subject.step}")]
        if isinstance(subject, ToolCall):
            rows += [("tool", subject.tool)]
            rows += [(f"  {name}", _shown(value)) for name, value in subject.arguments.items()]
            rows += [("labels", ", ".join(sorted(subject.labels)))] if subject.labels else []
        rows += [("asked by", " ".join(part for part in (request.hook, request.rule, request.version[:12]) if part))]
        rows += [("reason", request.reason)] if request.reason not in ("", request.prompt) else []
        rows += [("ask", ", ".join(request.approvers))] if request.approvers else []
        body = Text()
        for name, value in rows:
            body.append(f"{neutral(name):<12} ", style="bold").append(_lines(value)).append("\n")
        body.append("\n").append(_lines(subject.code), style="dim")
        self._console.print(Panel(body, title=Text(neutral(request.prompt) or "approval"), title_align="left"))

    def _read(self, request: ApprovalRequest, prompt: str) -> str:
        """One line, without its newline."""
        source = self._source or sys.stdin
        self._console.print(Text(prompt), end="")
        deadline = None if request.timeout_s is None else time.monotonic() + request.timeout_s
        while not request.is_over() and (deadline is None or time.monotonic() < deadline):
            if not _is_ready(source):
                continue
            line = source.readline()
            if not line:
                raise _Over
            return line.rstrip("\n")
        raise _Over

    def _say(self, text: str) -> None:
        self._console.print(Text(text))


def _is_ready(source: TextIO) -> bool:
    """Wait a moment for input; what has no descriptor (a StringIO) is always ready."""
    try:
        descriptor = source.fileno()
    except (OSError, ValueError):
        return True
    return bool(select.select([descriptor], [], [], _POLL_S)[0])


def _shown(value: object) -> str:
    text = json.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}... ({len(text)} characters)"


def _lines(text: str) -> str:
    cut = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}... ({len(text)} characters)"
    return "\n".join(neutral(line) for line in cut.splitlines())


def _value(line: str) -> object:
    try:
        value: object = json.loads(line)
        return value
    except ValueError:
        return line

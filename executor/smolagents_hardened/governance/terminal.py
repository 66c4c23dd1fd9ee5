"""An approver at the terminal: shows the call as it would run, and takes approve, edit, reject, answer or stop."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import dataclass, replace
from typing import TextIO

from rich.console import Console
from rich.text import Text

from smolagents_hardened.audit.report import neutral
from smolagents_hardened.governance.answers import answer_of
from smolagents_hardened.governance.approval import ApprovalRequest
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.exhibit import Exhibit, effect
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.keyboard import Cut, Ended, Keyboard, Over

_KEYS = "[a]pprove  [e]dit  [r]eject  an[s]wer  s[t]op  [v]iew all: "
_KEYS_CODE = "[a]pprove  [r]eject  s[t]op  [v]iew all: "
# The letter or the whole word, and nothing else: `abort` and `always ask` begin with an a as well.
_CHOICES = {"a": "approve", "r": "reject", "t": "stop", "v": "view"}
_CHOICES_CALL = _CHOICES | {"e": "edit", "s": "answer"}
_NOBODY = Decision.deny("nobody sits at the terminal", code="approval_unavailable")
_STDIN = threading.Lock()  # there is one, however many approvers read it


class TerminalApprover:
    """Asks whoever sits at `source` (standard input unless told otherwise), one question at a time.

    It reads only while a question is open: what is typed later belongs to whoever reads next. Without a terminal, and
    without a source of its own, every question is refused. `name` says who that is, for the record and for questions
    that name their approvers; nothing here can prove it.
    """

    def __init__(self, console: Console | None = None, source: TextIO | None = None, *, name: str = "") -> None:
        self._name = name
        self._console = console or Console(stderr=True, highlight=False)
        self._keyboard = None if source is None else Keyboard(source)
        self._lock = _STDIN if source is None else threading.Lock()

    def approve(self, request: ApprovalRequest) -> Decision | bool:
        """Show, ask, read. What is no answer is asked again; the end of the input refuses."""
        unfit = request.unfit(self._name)
        if unfit:
            return Decision.deny(unfit, code="approval_unavailable")
        keyboard = self._keyboard
        if keyboard is None:
            if sys.stdin is None or not sys.stdin.isatty():
                return _NOBODY
            keyboard = Keyboard(sys.stdin)
        with self._lock:
            # Its time may have run out while another question was answered.
            if request.is_over():
                return False
            answer = _Dialog(self._console, keyboard, self._signed(request)).answer()
        return answer_of(answer, request.subject).answered_by(self._name)

    def _signed(self, request: ApprovalRequest) -> ApprovalRequest:
        return replace(request, settle=lambda decision: request.settle(decision.answered_by(self._name)))


@dataclass(slots=True)
class _Dialog:
    """One question. Whoever approves it or a part of it has had all of it on the screen."""

    console: Console
    keyboard: Keyboard
    request: ApprovalRequest
    has_seen_all: bool = False

    def answer(self) -> Decision | bool:
        try:
            self.show(Exhibit(self.request))
            while True:
                answer = self.asked()
                if answer is not None:
                    return answer
        except Over:
            ended = self.request.ended()
            self.say(f"no answer: {effect(ended)}" if ended is not None else "the question is over")
        except Ended:
            self.say("the input has ended: refused")
        return _NOBODY

    def asked(self) -> Decision | bool | None:
        """One answer; None to ask again."""
        is_call = isinstance(self.request.subject, ToolCall)
        word = self.read(_KEYS if is_call else _KEYS_CODE).strip().lower()
        choices = _CHOICES_CALL if is_call else _CHOICES
        match choices.get(word, word):
            case "approve":
                return True if self.has_seen_all else self.nothing_yet()
            case "edit" if is_call:
                return self.edited() if self.has_seen_all else self.nothing_yet()
            case "reject":
                return self.settled(Decision.deny("a person refused it", code="approval_denied"))
            case "stop":
                return self.settled(Decision.stop("a person stopped the run"))
            case "answer" if is_call:
                return Decision.respond(_value(self.read("answer (JSON or text): ")))
            case "view":
                return self.nothing_yet()
        self.say(f"{neutral(word[:40])!r} is no answer: type one of the letters, or its whole word")
        return None

    def settled(self, decision: Decision) -> Decision:
        """Decided; the reason may follow, or not."""
        self.request.settle(decision)
        try:
            reason = self.read("why? ").strip()
        except (Over, Ended):
            self.say(effect(decision))
            return decision
        return replace(decision, reason=reason or decision.reason)

    def nothing_yet(self) -> Decision | None:
        """Show all of it, and ask again."""
        self.say("all of it, before you decide:")
        self.show(Exhibit(self.request, is_whole=True))
        return None

    def edited(self) -> Decision | None:
        """New arguments, one by one: an empty line keeps the old value. None when they are none, or do not fit."""
        assert isinstance(self.request.subject, ToolCall)  # nosec B101 - only calls can be edited
        arguments = dict(self.request.subject.arguments)
        for name in arguments:
            line = self.read(f"{neutral(name)} = ").strip()
            if line:
                try:
                    arguments[name] = json.loads(line)
                except ValueError as error:
                    self.say(f'not JSON (a text stands in "quotes"): {error}')
                    return None
        wrong = self.request.misfit(arguments)
        if wrong:
            self.say(f"these arguments do not fit: {neutral(wrong)}")
            return None
        return Decision.modify(arguments, reason="edited by a person")

    def show(self, exhibit: Exhibit) -> None:
        self.has_seen_all = not exhibit.is_cut
        self.console.print(exhibit.panel())
        self.keyboard.forget()

    def read(self, prompt: str) -> str:
        line = None
        while line is None:
            self.console.print(Text(prompt), end="")
            try:
                line = self.keyboard.line(self.request.is_over)
            except Cut:
                self.say("that line is longer than a terminal hands over: nothing of it counts, type a shorter one")
        if self.request.is_over():  # typed in the last moment, or after it: it must not look as if it counted
            raise Over
        return line

    def say(self, text: str) -> None:
        self.console.print(Text(text))


def _value(line: str) -> object:
    try:
        value: object = json.loads(line)
        return value
    except ValueError:
        return line

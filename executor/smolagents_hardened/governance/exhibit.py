"""A call or a snippet as it is put before a person.

All of it may have been written by a model, so nothing in it draws: escapes, direction marks and every kind of line
break are written out, nothing is read as markup, and the left column holds our words only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from smolagents_hardened.audit.plain import Plainer
from smolagents_hardened.audit.report import neutral
from smolagents_hardened.governance.approval import ApprovalRequest
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.hooks import Decision, Verdict

# What is seen of one text at first: how it begins, and how it ends, where a long beginning would hide it.
_HEAD, _TAIL = 3_000, 1_000
_BOUND = 50_000_000  # characters and values that are shown when all is asked for
_NOT_SHOWN = "not shown"
_EFFECTS = {
    Verdict.ALLOW: "it is allowed",
    Verdict.DENY: "it is refused",
    Verdict.RESPOND: "it is answered without running",
    Verdict.STOP: "the run is stopped",
}


@dataclass(frozen=True, slots=True)
class Exhibit:
    """What is shown for one request, `is_whole` or with long texts cut in the middle."""

    request: ApprovalRequest
    is_whole: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether there is more to see than is shown."""
        return any(label == _NOT_SHOWN for label, _ in (*self._facts(), *self._code()))

    def panel(self) -> RenderableType:
        """The request, ready to be printed."""
        facts, code = _grid(self._facts()), _grid(self._code())
        return Panel(Group(facts, Rule(style="dim"), code), title="approval", title_align="left")

    def _facts(self) -> Iterator[tuple[str, str]]:
        request, subject = self.request, self.request.subject
        yield from self._seen("question", request.prompt)
        yield from self._seen("agent", f"{' / '.join(subject.delegation) or subject.agent}, step {subject.step}")
        if isinstance(subject, ToolCall):
            yield from self._seen("tool", subject.tool)
            for name, value in subject.arguments.items():
                told = name if name.isidentifier() else json.dumps(name)
                yield from self._seen("argument", f"{told} = {_text(value)}")
            if subject.labels:
                yield from self._seen("labels", ", ".join(sorted(subject.labels)))
        asking = " ".join(part for part in (request.hook, request.rule, request.version[:12]) if part)
        yield from self._seen("asked by", asking)
        if request.reason not in ("", request.prompt):
            yield from self._seen("reason", request.reason)
        if request.approvers:
            yield from self._seen("ask", ", ".join(request.approvers))
        then = f"{request.timeout_s or 0:g} s, then {_EFFECTS[request.otherwise.verdict]}"
        yield "time", "no limit" if request.timeout_s is None else then

    def _seen(self, label: str, text: str) -> Iterator[tuple[str, str]]:
        for part, _ in self._parts(text):
            yield (label, part) if part is not None else _missing(text)

    def _code(self) -> Iterator[tuple[str, str]]:
        code = self.request.subject.code
        for part, before in self._parts(code):
            if part is None:
                yield _missing(code)
                continue
            for number, line in enumerate(part.split("\n"), code.count("\n", 0, before) + 1):
                yield str(number), line

    def _parts(self, text: str) -> Iterator[tuple[str | None, int]]:
        """The text, or its two ends and None between them, each with the place where it begins."""
        if self.is_whole or len(text) <= _HEAD + _TAIL:
            yield text, 0
            return
        yield text[:_HEAD], 0
        yield None, _HEAD
        yield text[-_TAIL:], len(text) - _TAIL


def effect(decision: Decision) -> str:
    """What a decision about a call or snippet does, in a person's words."""
    told = _EFFECTS.get(decision.verdict, decision.verdict.value)
    return f"{told}: {neutral(decision.reason)}" if decision.reason else told


def _missing(text: str) -> tuple[str, str]:
    return _NOT_SHOWN, f"{len(text) - _HEAD - _TAIL:,} of {len(text):,} characters; v shows all"


def _text(value: object) -> str:
    converted = Plainer(nodes=_BOUND, chars=_BOUND, text=_BOUND, depth=200).convert(value)
    return json.dumps(converted, ensure_ascii=False)


def _grid(rows: Iterator[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True, min_width=9)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(Text(label), Text(neutral(value)))
    return grid

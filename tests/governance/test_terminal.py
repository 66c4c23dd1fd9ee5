"""A person at a terminal: what is typed, what is shown, and what then happens."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import threading
import time
from collections.abc import Iterator

import pytest
from rich.console import Console
from tests.governance.governed import bench, code_call, tool_call

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.approval import ApprovalRequest
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.served import Refused, Served, Value
from smolagents_hardened.governance.terminal import TerminalApprover

ASK = Decision.ask("sure?", timeout_s=2)
BRIEFLY = Decision.ask("sure?", timeout_s=0.4)
KEYS = "s[t]op"


class Seat:
    """A real pseudo terminal with an approver on its slave side."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        self.source = os.fdopen(slave, "r")
        self.output = io.StringIO()
        self.approver = TerminalApprover(Console(file=self.output, width=100), self.source)

    @property
    def shown(self) -> str:
        return self.output.getvalue()

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def type_when_asked(self, text: str, wanted: str = KEYS) -> None:
        """Type as soon as that is on the screen."""
        threading.Thread(target=self._wait, args=(text, wanted, len(self.shown)), daemon=True).start()

    def _wait(self, text: str, wanted: str, since: int) -> None:
        end = time.monotonic() + 5
        while wanted not in self.shown[since:] and time.monotonic() < end:
            time.sleep(0.01)
        self.type(text)


@pytest.fixture
def seat() -> Iterator[Seat]:
    made = Seat()
    yield made
    made.source.close()
    os.close(made.master)


class Reads:
    """A hook that asks about each snippet."""

    def before_tool_call(self, call: object) -> Decision:
        return Decision.allow()

    def before_code(self, code: object) -> Decision:
        return ASK


def read_from(text: str) -> TerminalApprover:
    """An approver that reads this, and shows nothing."""
    return TerminalApprover(Console(file=io.StringIO()), io.StringIO(text))


def served(approver: TerminalApprover, ask: Decision = BRIEFLY, city: str = "Paris") -> Served:
    """One call that asks."""
    with bench(lambda call: ask, approver=approver) as it:
        return it.serve(tool_call(city=city))


# ---- what is typed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["a", "A", "approve"])
def test_the_letter_or_the_word_approves(word: str) -> None:
    """The positive control for what follows."""
    assert isinstance(served(read_from(f"{word}\n")), Value)


@pytest.mark.parametrize("word", ["abort", "always ask", "are you mad?", "yes", "y", "ap", "all wrong", "", "  "])
def test_nothing_else_approves(seat: Seat, word: str) -> None:
    """A word that only begins with a letter, or that is not on the screen, is told to be no answer."""
    seat.type_when_asked(f"{word}\nr\nno\n")
    assert served(seat.approver, ASK) == Refused("no", "approval_denied")
    assert f"{word.strip()!r} is no answer" in seat.shown


def test_the_words_on_the_screen_count_whole() -> None:
    """`reject` rejects, `answer` answers, `stop` stops, `edit` edits."""
    assert served(read_from("reject\nno\n")) == Refused("no", "approval_denied")
    assert served(read_from("answer\n3\n")) == Value(3)
    assert served(read_from('edit\n"Rome"\n')) == Value({"ran": {"city": "Rome"}})
    with pytest.raises(RunStopped, match="enough"):
        served(read_from("stop\nenough\n"))


def test_what_was_typed_before_approves_nothing(seat: Seat) -> None:
    """A line that waits at the terminal does not answer a question that nobody had seen."""
    seat.type("a\n")
    time.sleep(0.1)
    assert served(seat.approver).code == "approval_timeout"  # type: ignore[union-attr]


def test_the_rest_of_a_paste_answers_no_later_question(seat: Seat) -> None:
    """What is left over from one question is not the answer to the next."""
    seat.type_when_asked("r\nno\na\na\n")
    assert served(seat.approver, ASK) == Refused("no", "approval_denied")
    assert served(seat.approver).code == "approval_timeout"  # type: ignore[union-attr]


@pytest.mark.parametrize("is_pipe", [True, False])
def test_an_answer_that_comes_too_late_is_not_the_next_ones(seat: Seat, is_pipe: bool) -> None:
    """What is typed after a question's time does not approve a call that nobody has seen."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "r") as source:
        approver = TerminalApprover(Console(file=io.StringIO()), source) if is_pipe else seat.approver
        assert served(approver).code == "approval_timeout"  # type: ignore[union-attr]
        time.sleep(0.2)  # until nobody reads any more
        os.write(writer if is_pipe else seat.master, b"a\n")
        time.sleep(0.1)
        assert served(approver).code == "approval_timeout"  # type: ignore[union-attr]
    os.close(writer)


@pytest.mark.parametrize(("size", "is_whole"), [(4_094, True), (4_095, False), (9_000, False)])
def test_a_line_is_taken_whole_or_not_at_all(seat: Seat, size: int, is_whole: bool) -> None:
    """What a terminal would cut in silence is asked for again; the longest line that it hands over is an answer."""
    seat.type_when_asked("s\n")
    seat.type_when_asked("y" * size + "\n", "answer (")
    if not is_whole:
        seat.type_when_asked("short\n", "a shorter one")
    with bench(lambda call: ASK, approver=seat.approver) as made:
        served = made.serve()
    assert served == Value("y" * size if is_whole else "short")


def test_lines_of_a_pipe_are_all_read() -> None:
    """Two lines that come at once are two answers; so are those of the next question."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "r") as source:
        approver = TerminalApprover(Console(file=io.StringIO()), source)
        os.write(writer, b"r\nnot today\na\n")
        assert served(approver) == Refused("not today", "approval_denied")
        assert isinstance(served(approver), Value)
        os.write(writer, b"a")  # without a newline, at the end
        os.close(writer)
        assert isinstance(served(approver), Value)
        assert served(approver).code == "approval_unavailable"  # type: ignore[union-attr]


@pytest.mark.parametrize(("key", "code"), [("r", "approval_denied"), ("t", "stopped")])
def test_a_decision_stands_without_its_reason(seat: Seat, key: str, code: str) -> None:
    """Who has rejected or stopped has done so, though the question `why?` goes unanswered and silence would allow."""
    seat.type_when_asked(f"{key}\n")
    ask = Decision.ask("sure?", timeout_s=1.5, otherwise=Decision.allow())
    with bench(lambda call: ask, approver=seat.approver) as it:
        with contextlib.suppress(RunStopped):
            it.serve()
        assert (it.tool.calls, it.last()["code"]) == ([], code)
        assert next(it.trail.records())["answered"] is True


def test_an_edit_that_does_not_fit_is_told(seat: Seat) -> None:
    """Whoever edits an argument into one that the tool does not take is told why, and asked again."""
    seat.type_when_asked('e\n5\ne\n"Rome"\n')
    assert served(seat.approver, ASK) == Value({"ran": {"city": "Rome"}})
    assert "do not fit: weather takes city" in seat.shown


# ---- what is shown ----------------------------------------------------------------------------------------------


def test_the_time_and_what_silence_means_are_shown(seat: Seat) -> None:
    """A person who has two seconds, after which the call is allowed, can read both."""
    seat.type_when_asked("r\nno\n")
    served(seat.approver, Decision.ask("sure?", timeout_s=2, otherwise=Decision.allow()))
    assert "2 s, then it is allowed" in seat.shown


@pytest.mark.parametrize(
    ("otherwise", "told"),
    [
        (Decision.allow(), "it is allowed"),
        (Decision.deny("too late"), "it is refused: too late"),
        (Decision.respond(1), "it is answered without running"),
        (None, "it is refused: nobody approved it within 0.4 s"),
    ],
)
def test_what_happened_without_an_answer_is_told(seat: Seat, otherwise: Decision | None, told: str) -> None:
    """After the time is up the terminal says what really became of the call."""
    served(seat.approver, Decision.ask("sure?", timeout_s=0.4, otherwise=otherwise))
    time.sleep(0.3)
    assert f"no answer: {told}" in seat.shown


def test_nobody_at_the_terminal_has_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of a question that no person saw says so."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with bench(lambda call: ASK, approver=TerminalApprover()) as made, contextlib.suppress(RunStopped):
        made.serve()
        record = next(record for record in made.trail.records() if record["kind"] == "approval")
    assert (record["code"], record["answered"]) == ("approval_unavailable", False)


def test_a_question_that_is_over_is_not_shown() -> None:
    """One whose time ran out while another was being answered does not come on the screen."""
    shown = io.StringIO()
    request = ApprovalRequest("t", tool_call(city="Paris"), "sure?", "", "h", "", "", (), 1.0, lambda: True)
    assert TerminalApprover(Console(file=shown), io.StringIO("a\n")).approve(request) is False
    assert shown.getvalue() == ""


LONG = "begin " + "ok " * 3000 + "DROP TABLE users" + " ok" * 500


@pytest.mark.parametrize(("name", "by"), [("ann", "ann"), ("", None), ("eve", None)])
def test_a_terminal_that_knows_who_sits_there_says_so(name: str, by: str | None) -> None:
    """The name is on record; a question for others is not even shown."""
    shown = io.StringIO()
    approver = TerminalApprover(Console(file=shown), io.StringIO("a\n"), name=name)
    with bench(lambda _: Decision.ask("sure?", approvers="ann"), approver=approver) as it:
        served = it.serve()
        approval = next(it.trail.records())
    assert (isinstance(served, Value), bool(shown.getvalue())) == (name != "eve", name != "eve")
    assert (approval.get("by"), approval["answered"]) == (by, name != "eve")


def test_nothing_is_approved_unseen() -> None:
    """A long argument is cut, with how much of it; approving it shows all of it first, and asks again."""
    shown = io.StringIO()
    console = Console(file=shown, width=100)
    with bench(lambda call: ASK, approver=TerminalApprover(console, io.StringIO("a\n"))) as it:
        assert it.serve(tool_call(city=LONG)).code == "approval_unavailable"  # type: ignore[union-attr]
        assert re.search(r"not shown +6,\d\d\d of 10,\d\d\d characters", shown.getvalue())
        assert "DROP TABLE" in shown.getvalue()
    assert isinstance(served(read_from("a\na\n"), city=LONG), Value)


@pytest.mark.parametrize("typed", ["v\na\n", "view\napprove\n", "v\ne\n\n", "e\ne\n\n"])
def test_what_was_seen_whole_can_be_approved(typed: str) -> None:
    """`v` shows all of it; then it may be approved, or edited in part."""
    assert isinstance(served(read_from(typed), city=LONG), Value)


def test_a_long_snippet_can_be_seen_whole(seat: Seat) -> None:
    """What stands in the middle of code is on the screen before the code can be approved, its lines numbered."""
    seat.type_when_asked("a\n")
    code = "# fine\n" * 600 + "delete_everything()\n" + "# fine\n" * 300
    with bench(Reads(), approver=seat.approver) as it:
        assert it.governor.judge_code(code_call(code)).code == "approval_timeout"  # type: ignore[union-attr]
    assert "│ 601        delete_everything()" in seat.shown


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\r", "\n", " " * 200])
def test_a_model_makes_no_row_of_its_own(seat: Seat, separator: str) -> None:
    """Line separators in a value are written out and wrapped lines stay in their column, in names and code as well."""
    seat.type_when_asked("r\nno\n")
    forged = f"Ann{separator}labels     none{separator}asked by   your manager"
    with bench(lambda call: ASK, approver=seat.approver) as it:
        it.serve(tool_call(**{"city": forged, forged: 1}))
    assert "labels     none" in seat.shown
    assert [line for line in seat.shown.splitlines() if line.startswith(("│ labels ", "labels "))] == []

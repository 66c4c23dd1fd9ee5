"""Answers of people: approve, edit, reject, answer, stop; each good for one call, once, in time."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable

import pytest
from rich.console import Console
from tests.governance.governed import bench, code_call, tool_call

from smolagents_hardened.errors import ConfigError, RunStopped
from smolagents_hardened.governance.approval import ApprovalRequest, as_approver
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.inbox import Inbox, StaleTicket
from smolagents_hardened.governance.served import Refused, Served, Value
from smolagents_hardened.governance.terminal import TerminalApprover


def ask(call: ToolCall) -> Decision:
    """A hook that always asks."""
    return Decision.ask("sure?", timeout_s=5)


def test_an_edit_is_checked_judged_again_and_runs() -> None:
    """What a person writes in place of the arguments is what runs; the hook that asked is answered by it."""
    asked: list[str] = []

    def approver(request: ApprovalRequest) -> Decision:
        asked.append(request.digest)
        return Decision.modify({"city": "Rome"})

    with bench(ask, approver=approver) as it:
        assert it.serve() == Value({"ran": {"city": "Rome"}})
        intent = next(r for r in it.trail.records() if r["kind"] == "intent")
        assert (intent["requested"], intent["arguments"]) == ({"city": "Paris"}, {"city": "Rome"})
        assert intent["digest"] not in asked
    assert len(asked) == 1


def test_an_edit_that_does_not_fit_is_refused() -> None:
    """A person's arguments are checked like anybody's."""
    with bench(ask, approver=lambda _: Decision.modify({"town": "Rome"})) as it:
        assert it.serve().code == "invalid_arguments"  # type: ignore[union-attr]
        assert it.tool.calls == []


def test_what_a_hook_makes_of_an_edit_is_asked_again() -> None:
    """A person's edit approves what the person has written, and not what a hook then changes it to."""
    seen: list[object] = []

    def reroute(call: ToolCall) -> Decision:
        return Decision.modify({"city": "Moscow"}) if call.arguments["city"] == "Rome" else Decision.allow()

    def approver(request: ApprovalRequest) -> object:
        seen.append(request.subject.arguments["city"])  # type: ignore[union-attr]
        return Decision.modify({"city": "Rome"}) if seen == ["Paris"] else False

    with bench(ask, reroute, approver=approver) as it:
        assert it.serve().code == "approval_denied"  # type: ignore[union-attr]
        assert (seen, it.tool.calls) == (["Paris", "Moscow"], [])


def test_the_record_tells_the_terms_of_a_question() -> None:
    """Who may answer, in what time, and what silence means, with the answer and with the hook's decision."""
    question = Decision.ask("sure?", approvers=("alice",), timeout_s=7.5, otherwise=Decision.allow())
    with bench(lambda call: question, approver=lambda _: True) as it:
        it.serve()
        approval, intent = list(it.trail.records())[:2]
    for told in (approval, intent["decisions"][0]):  # type: ignore[index]
        assert (told["approvers"], told["timeout_s"], told["otherwise"]) == (["alice"], 7.5, "allow")
    with bench(ask, approver=lambda _: True) as it:
        it.serve()
        assert next(it.trail.records())["otherwise"] == "deny"


@pytest.mark.parametrize("answer", [Decision.allow(), Decision.modify({"city": "Rome"}), Decision.respond(1)])
@pytest.mark.parametrize(
    ("approvers", "by", "code"),
    [
        (("ann", "bob"), "bob", ""),
        ((), "eve", ""),
        (("ann", "bob"), "", ""),
        (("ann", "bob"), "eve", "approval_denied"),
    ],
)
def test_who_has_answered_is_on_record_and_has_to_be_one_of_those_asked(
    answer: Decision, approvers: tuple[str, ...], by: str, code: str
) -> None:
    """A name on an answer counts: the record has it, and one who was not to be asked has not answered for the others."""
    question = Decision.ask("sure?", approvers=approvers)
    hooks: list[Callable[[ToolCall], Decision]] = [
        lambda call: question if call.arguments["city"] == "Paris" else Decision.allow()
    ]
    with bench(*hooks, approver=lambda _: answer.answered_by(by) if by else answer) as it:
        served = it.serve()
        assert (served.code if isinstance(served, Refused) else "") == code
        approval = next(it.trail.records())
        assert approval.get("by", "") == by
        assert ("ann, bob" in str(approval["reason"])) is bool(code)
        assert not (code and it.tool.calls)


def test_a_decision_that_only_lacks_its_reason_needs_the_right_person_as_well() -> None:
    """What is settled before the time is up counts like an answer: the wrong person's does not."""

    def approver(request: ApprovalRequest) -> None:
        request.settle(Decision.allow().answered_by("eve"))
        time.sleep(1)

    for approvers, code in ((("ann",), "approval_denied"), ((), "")):
        question = Decision.ask("sure?", timeout_s=0.2, approvers=approvers)
        with bench(lambda _, question=question: question, approver=approver) as it:  # type: ignore[misc]
            served = it.serve()
            assert (served.code if isinstance(served, Refused) else "") == code
            assert next(it.trail.records())["by"] == "eve"


def test_an_edit_does_not_overrule_a_hook() -> None:
    """A hook that forbids Rome forbids it to people as well."""

    def no_rome(call: ToolCall) -> Decision:
        return Decision.deny("not Rome") if call.arguments["city"] == "Rome" else Decision.allow()

    with bench(ask, no_rome, approver=lambda _: Decision.modify({"city": "Rome"})) as it:
        assert it.serve() == Refused("not Rome", "denied")


@pytest.mark.parametrize("city", ["Paris", "Rome"])
@pytest.mark.parametrize("first", ["hook", "person"])
def test_an_edit_that_changes_nothing_keeps_the_answer_in_the_tools_place(first: str, city: str) -> None:
    """Paris is answered in the tool's place, by a hook or a person: who "edits" Paris into Paris does not make the tool
    run, and who edits it into Rome does.
    """

    def answer(call: ToolCall) -> Decision:
        return Decision.respond("dry run") if call.arguments["city"] == "Paris" else Decision.allow()

    def approver(request: ApprovalRequest) -> Decision:
        assert isinstance(request.subject, ToolCall)
        return answer(request.subject) if request.prompt == "one?" else Decision.modify({"city": city})

    before = {"hook": answer, "person": lambda _: Decision.ask("one?")}[first]
    with bench(before, lambda _: Decision.ask("two?"), approver=approver) as it:
        assert it.serve() == Value("dry run" if city == "Paris" else {"ran": {"city": "Rome"}})
        assert len(it.tool.calls) == (city == "Rome")


def test_an_approval_does_not_cover_an_edit_that_follows() -> None:
    """The first of two people approved Paris; after the second has edited, the first is asked again."""
    asked: list[tuple[str, str]] = []

    def approver(request: ApprovalRequest) -> object:
        city = str(request.subject.arguments["city"])  # type: ignore[union-attr]
        asked.append((request.prompt, city))
        return Decision.modify({"city": "Rome"}) if (request.prompt, city) == ("b", "Paris") else True

    hooks = [lambda call, name=name: Decision.ask(name) for name in "ab"]
    with bench(*hooks, approver=approver) as it:
        assert it.serve() == Value({"ran": {"city": "Rome"}})
    assert asked == [("a", "Paris"), ("b", "Paris"), ("a", "Rome")]


def test_endless_edits_are_refused() -> None:
    """Two people who edit in turn are ended after some rounds."""
    cities = iter(f"city {n}" for n in range(100))
    hooks = [lambda call, name=name: Decision.ask(name) for name in "ab"]
    with bench(*hooks, approver=lambda _: Decision.modify({"city": next(cities)})) as it:
        assert it.serve().code == "too_many_modifications"  # type: ignore[union-attr]


def test_an_answer_takes_the_tools_place() -> None:
    """A person may give the value instead of letting the tool run."""
    with bench(ask, approver=lambda _: Decision.respond("sunny")) as it:
        assert it.serve() == Value("sunny")
        assert (it.tool.calls, it.last()["status"]) == ([], "responded")


@pytest.mark.parametrize("answer", [Decision.respond(1), Decision.modify({})])
def test_code_is_neither_edited_nor_answered(answer: Decision) -> None:
    """For a snippet only yes, no and stop are answers."""

    class Reader:
        def before_tool_call(self, call: object) -> Decision:
            return Decision.allow()

        def before_code(self, code: object) -> Decision:
            return Decision.ask("run this?")

    with bench(Reader(), approver=lambda _: answer) as it:
        assert it.governor.judge_code(code_call()).code == "approval_error"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("otherwise", "expected"),
    [
        (None, "approval_timeout"),
        (Decision.allow(), Value({"ran": {"city": "Paris"}})),
        (Decision.respond("later"), Value("later")),
        (Decision.deny("too late", code="late"), "late"),
        (Decision.stop("too late"), "stop"),
    ],
)
def test_silence_has_a_chosen_answer(otherwise: Decision | None, expected: object) -> None:
    """When nobody answers in time, what the hook said for that case happens, and the record says so."""
    with bench(
        lambda call: Decision.ask("?", timeout_s=0.05, otherwise=otherwise), approver=lambda _: time.sleep(0.5)
    ) as it:
        try:
            served: object = it.serve()
        except RunStopped:
            served = "stop"
        assert (served.code if isinstance(served, Refused) else served) == expected
        assert next(it.trail.records())["answered"] is False


def test_what_otherwise_may_not_be_is_refused() -> None:
    """An ask whose silence would ask, or change the call, is a broken hook."""
    for otherwise in (Decision.ask("?"), Decision.modify({}), "allow"):
        with bench(lambda call, o=otherwise: Decision.ask("?", otherwise=o), approver=lambda _: True) as it:
            assert it.serve().code == "hook_error:type"  # type: ignore[union-attr]


def test_an_interrupt_tells_its_reason() -> None:
    """The refusal of an interrupted wait says why it was interrupted."""
    started = threading.Event()

    def approver(_: ApprovalRequest) -> bool:
        started.set()
        time.sleep(0.5)
        return True

    served: list[Served] = []
    with bench(ask, approver=approver) as it:
        thread = threading.Thread(target=lambda: served.append(it.serve()))
        thread.start()
        assert started.wait(5)
        it.governor.interrupt("fire drill")
        thread.join(5)
    assert isinstance(served[0], Refused)
    assert "fire drill" in served[0].reason


@pytest.mark.parametrize("approver", [object(), 3, TerminalApprover])
def test_what_is_no_approver_is_refused(approver: object) -> None:
    """An approver is a callable or has approve()."""
    with pytest.raises(ConfigError):
        as_approver(approver)


# ---- tickets ------------------------------------------------------------------------------------------------


def asking(
    inbox: Inbox, then: Callable[[ApprovalRequest], None], timeout_s: float = 5, approvers: str | tuple[str, ...] = ()
) -> Served:
    """Serve one call that asks, and do something with the open question meanwhile."""
    question = Decision.ask("sure?", timeout_s=timeout_s, approvers=approvers)
    with bench(lambda call: question, approver=inbox) as it:
        served: list[Served] = []
        thread = threading.Thread(target=lambda: served.append(it.serve()))
        thread.start()
        for _ in range(500):
            if inbox.pending():
                break
            time.sleep(0.01)
        then(inbox.pending()[0])
        thread.join(10)
        return served[0]


def test_an_answer_by_ticket_counts_once() -> None:
    """A ticket answers its question; a second time it is stale, before and after the call has gone on."""
    inbox, used = Inbox(), []

    def then(request: ApprovalRequest) -> None:
        inbox.answer(request.ticket, request.digest, True)
        used.append(request)
        with pytest.raises(StaleTicket):
            inbox.answer(request.ticket, request.digest, True)

    assert isinstance(asking(inbox, then), Value)
    with pytest.raises(StaleTicket):
        inbox.answer(used[0].ticket, used[0].digest, True)


def test_an_answer_of_the_wrong_person_uses_up_no_ticket() -> None:
    """Who was not to be asked is told so; the right one may still answer, and is on record."""
    inbox = Inbox()

    def then(request: ApprovalRequest) -> None:
        with pytest.raises(PermissionError, match="eve may not answer this; who may: ann"):
            inbox.answer(request.ticket, request.digest, True, by="eve")
        inbox.answer(request.ticket, request.digest, True, by="ann")

    assert isinstance(asking(inbox, then, approvers="ann"), Value)


@pytest.mark.parametrize("answer", ["yes", None, 1, Decision.ask("?"), Decision.modify({"town": "Rome"})])
def test_what_is_no_answer_uses_up_no_ticket(answer: object) -> None:
    """It is refused where it is given, edits that do not fit included, and the person may answer again."""
    inbox = Inbox()

    def then(request: ApprovalRequest) -> None:
        with pytest.raises((TypeError, ValueError), match=r"answer|returned|fit"):
            inbox.answer(request.ticket, request.digest, answer)  # type: ignore[arg-type]
        inbox.answer(request.ticket, request.digest, True)

    assert isinstance(asking(inbox, then), Value)


def test_an_answer_for_other_arguments_is_stale() -> None:
    """An answer names the digest it was given for; for another it counts for nothing, and the wait goes on."""
    inbox = Inbox()

    def then(request: ApprovalRequest) -> None:
        with pytest.raises(StaleTicket, match="other arguments"):
            inbox.answer(request.ticket, "0" * 64, True)
        inbox.answer(request.ticket, request.digest, False)

    assert asking(inbox, then) == Refused("a person refused it", "approval_denied")


def test_an_answer_from_another_session_is_stale() -> None:
    """A ticket of one inbox is unknown in another."""
    inbox, other = Inbox(), Inbox()

    def then(request: ApprovalRequest) -> None:
        with pytest.raises(StaleTicket):
            other.answer(request.ticket, request.digest, True)
        inbox.answer(request.ticket, request.digest, True)

    assert isinstance(asking(inbox, then), Value)


def test_an_answer_after_the_deadline_is_stale() -> None:
    """Once the time is up the call is refused, and the late answer finds no question."""
    inbox, late = Inbox(), []
    served = asking(inbox, late.append, timeout_s=0.2)
    assert isinstance(served, Refused)
    assert served.code == "approval_timeout"
    with pytest.raises(StaleTicket):
        inbox.answer(late[0].ticket, late[0].digest, True)


# ---- the terminal -------------------------------------------------------------------------------------------


def at_terminal(typed: str, **arguments: object) -> tuple[Served | str, str]:
    """Serve one call that asks at a terminal where this is typed; what came of it, and what was shown."""
    shown = io.StringIO()
    terminal = TerminalApprover(Console(file=shown, width=100), io.StringIO(typed))
    with bench(ask, approver=terminal) as it:
        try:
            served: Served | str = it.serve(tool_call(**(arguments or {"city": "Paris"})))
        except RunStopped as stop:
            served = f"stopped: {stop.reason}"
    return served, shown.getvalue()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("a\n", Value({"ran": {"city": "Paris"}})),
        ("\nwhat\na\n", Value({"ran": {"city": "Paris"}})),
        ("r\nnot now\n", Refused("not now", "approval_denied")),
        ('e\n"Rome"\n', Value({"ran": {"city": "Rome"}})),
        ("e\nRome\na\n", Value({"ran": {"city": "Paris"}})),
        ("e\n\n", Value({"ran": {"city": "Paris"}})),
        ('s\n{"sky": "blue"}\n', Value({"sky": "blue"})),
        ("s\nsunny\n", Value("sunny")),
        ("t\nenough\n", "stopped: enough"),
        ("", Refused("nobody sits at the terminal", "approval_unavailable")),
    ],
)
def test_what_is_typed_is_what_happens(typed: str, expected: object) -> None:
    """a, r, e, s, t and their follow-ups; an unreadable edit and an unknown word are asked again; no input refuses."""
    assert at_terminal(typed)[0] == expected


def test_the_person_sees_everything_and_nothing_is_drawn_by_the_model() -> None:
    """Code, tool, arguments, prompt and hook are shown; escapes and markup in them are written out."""
    _, shown = at_terminal("r\n\n", city="[red]Paris\x1b[2J\u202e")
    for part in ("weather", "[red]Paris\\u001b[2J\\u202e", "sure?", "code()", "main"):
        assert part in shown
    assert "\x1b" not in shown


def test_without_a_terminal_everything_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input that is no terminal answers nothing."""
    monkeypatch.setattr("sys.stdin", io.StringIO("a\n"))
    with bench(ask, approver=TerminalApprover()) as it:
        assert it.serve().code == "approval_unavailable"  # type: ignore[union-attr]

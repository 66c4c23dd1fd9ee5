"""The one way to a tool: what is judged is what runs, what runs is on record, doubt refuses."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.governance.governed import bench, code_call, tool_call

from smolagents_hardened.audit.record import digest
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.errors import AuditError, RunStopped
from smolagents_hardened.governance.call import ToolCall, ToolOutcome
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.served import Failed, Refused, StillRunning, Value, code_refusal_text, refusal_text

SOURCES = Path(__file__).parents[2] / "executor"
PARIS = {"city": "Paris"}


def says(decision: object) -> Callable[[ToolCall], object]:
    """A hook that always answers the same."""
    return lambda call: decision


def moves_to(city: str) -> Callable[[ToolCall], Decision]:
    """A hook that changes the city."""
    return lambda call: Decision.modify({"city": city})


ALLOW, DENY, STOP = says(Decision.allow()), says(Decision.deny("no")), says(Decision.stop("enough"))
ASK, RESPOND = says(Decision.ask("sure?")), says(Decision.respond(42))


# ---- verdicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hooks", [(), (ALLOW,), (ALLOW, ALLOW)])
def test_an_allowed_call_runs(hooks: tuple[object, ...]) -> None:
    """Without an objection the tool runs with its arguments, between an intent and an outcome."""
    with bench(*hooks) as it:
        assert it.serve() == Value({"ran": PARIS})
        assert it.kinds() == ["intent", "outcome"]


def test_a_denied_call_does_not_run() -> None:
    """A denial is a refusal with reason and code, one record, and no call of the tool."""
    with bench(says(Decision.deny("not today", code="weekend"))) as it:
        assert it.serve() == Refused("not today", "weekend")
        assert (it.tool.calls, it.kinds()) == ([], ["refusal"])
        assert (it.last()["reason"], it.last()["code"]) == ("not today", "weekend")


def test_stop_ends_the_run_after_it_is_on_record() -> None:
    """A stop raises RunStopped with its reason, recorded, and the tool does not run."""
    with bench(STOP) as it:
        with pytest.raises(RunStopped, match="enough"):
            it.serve()
        assert (it.tool.calls, it.last()["code"]) == ([], "stopped")


def test_respond_answers_in_place_of_the_tool() -> None:
    """A response is given to the snippet, recorded as such, and the tool does not run."""
    with bench(RESPOND) as it:
        assert it.serve() == Value(42)
        assert (it.tool.calls, it.last()["status"]) == ([], "responded")


def test_modify_changes_what_runs() -> None:
    """The tool gets the changed arguments; the record shows both."""
    with bench(moves_to("Rome")) as it:
        assert it.serve() == Value({"ran": {"city": "Rome"}})
        intent = next(it.trail.records())
        assert (intent["arguments"], intent["requested"]) == ({"city": "Rome"}, PARIS)
        assert intent["digest"] == digest("weather", {"city": "Rome"})


ORDER = [
    ("stop", STOP),
    ("denied", DENY),
    ("ask", ASK),
    ("respond", RESPOND),
    ("modify", moves_to("Rome")),
    ("allow", ALLOW),
]


@pytest.mark.parametrize("weaker", range(1, 6))
@pytest.mark.parametrize("stricter", range(5))
@pytest.mark.parametrize("is_first", [True, False])
def test_the_stricter_verdict_wins(stricter: int, weaker: int, is_first: bool) -> None:
    """Of two hooks the stricter decides, whichever comes first: stop, deny, ask, respond, modify, allow."""
    stricter, weaker = min(stricter, weaker), max(stricter, weaker)
    pair = (ORDER[stricter][1], ORDER[weaker][1])
    with bench(*(pair if is_first else pair[::-1])) as it:
        try:
            served: object = it.serve()
        except RunStopped:
            served = "stop"
    match served:
        case Refused(_, code):
            got = {"approval_unavailable": "ask"}.get(code, code)
        case Value(42):
            got = "respond"
        case Value({"ran": {"city": "Rome"}}):
            got = "modify"
        case Value(_):
            got = "allow"
        case _:
            got = str(served)
    assert got == ORDER[stricter][0]


def test_every_opinion_is_recorded() -> None:
    """After a denial the other hooks are asked and recorded as well."""
    with bench(DENY, ALLOW, RESPOND) as it:
        it.serve()
        assert [one["verdict"] for one in it.last()["decisions"]] == ["deny", "allow", "respond"]  # type: ignore[attr-defined]


def test_two_different_changes_refuse() -> None:
    """Hooks that contradict each other refuse; hooks that agree do not."""
    with bench(moves_to("Rome"), moves_to("Oslo")) as it:
        assert it.serve().code == "conflicting_modify"  # type: ignore[union-attr]
    with bench(moves_to("Rome"), moves_to("Rome")) as it:
        assert it.serve() == Value({"ran": {"city": "Rome"}})


def test_a_changed_call_is_judged_again() -> None:
    """A hook that forbids Rome sees Rome, though the snippet asked for Paris."""

    def no_rome(call: ToolCall) -> Decision:
        return Decision.deny("not Rome") if call.arguments["city"] == "Rome" else Decision.allow()

    with bench(no_rome, moves_to("Rome")) as it:
        assert it.serve() == Refused("not Rome", "denied")
        assert it.tool.calls == []


@pytest.mark.parametrize("arguments", [{}, {"city": 1}, {"city": "Rome", "extra": 1}, {"town": "Rome"}])
def test_a_changed_call_is_checked(arguments: dict[str, object]) -> None:
    """Arguments of a hook that do not fit the tool are refused."""
    with bench(says(Decision.modify(arguments))) as it:
        assert it.serve().code == "invalid_arguments"  # type: ignore[union-attr]
        assert it.tool.calls == []


def test_endless_changes_are_refused() -> None:
    """A hook that changes the call each time is ended after three rounds."""
    with bench(lambda call: Decision.modify({"city": call.arguments["city"] + "!"})) as it:
        assert it.serve().code == "too_many_modifications"  # type: ignore[union-attr]
        assert max(one["round"] for one in it.last()["decisions"]) == 3  # type: ignore[attr-defined]


# ---- a hook that fails --------------------------------------------------------------------------------------


def raises(error: BaseException) -> Callable[[ToolCall], Decision]:
    """A hook that fails."""

    def hook(call: ToolCall) -> Decision:
        raise error

    return hook


async def async_none(call: ToolCall) -> None:
    """An async hook that forgets its answer."""


BROKEN = [
    (says(None), "none"),
    (async_none, "none"),
    (says(True), "type"),
    (says("allow"), "type"),
    (says(Decision), "type"),
    (says(Decision("allow")), "type"),  # type: ignore[arg-type]
    (says(Decision(Decision.modify({}).verdict)), "type"),
    (says(Decision.modify({1: 2})), "type"),  # type: ignore[dict-item]
    (says(Decision.ask("?", timeout_s=float("nan"))), "type"),
    (says(Decision.deny(None)), "type"),  # type: ignore[arg-type]
    (raises(ValueError("x")), "exception"),
    (raises(TimeoutError("x")), "exception"),
    (raises(asyncio.CancelledError()), "exception"),
    (raises(GeneratorExit()), "exception"),
    (lambda call: call.arguments.__setitem__("city", "Rome"), "exception"),
]


@pytest.mark.parametrize(("hook", "code"), BROKEN)
@pytest.mark.parametrize("timeout_s", [None, 5.0])
def test_a_broken_hook_refuses(hook: object, code: str, timeout_s: float | None) -> None:
    """Whatever a hook does but answer with a Decision is a denial that says what was wrong."""
    with bench(hook, hook_timeout_s=timeout_s) as it:
        served = it.serve()
        assert isinstance(served, Refused)
        assert (served.code, it.tool.calls, it.kinds()) == (f"hook_error:{code}", [], ["refusal"])


@pytest.mark.parametrize("is_async", [True, False])
def test_a_slow_hook_refuses(is_async: bool) -> None:
    """A hook that does not answer in time denies, in about that time."""

    def slow(call: ToolCall) -> Decision:
        time.sleep(1)
        return Decision.allow()

    async def async_slow(call: ToolCall) -> Decision:
        await asyncio.sleep(60)
        return Decision.allow()

    with bench(async_slow if is_async else slow, hook_timeout_s=0.05) as it:
        started = time.monotonic()
        assert it.serve().code == "hook_error:timeout"  # type: ignore[union-attr]
        assert time.monotonic() - started < 0.9
        assert it.tool.calls == []


def test_the_reason_of_a_broken_hook_hides_its_message() -> None:
    """What a hook's exception says is not told to the model: it may hold a secret of the host."""
    with bench(raises(ValueError("/etc/secret"))) as it:
        assert "secret" not in it.serve().reason  # type: ignore[union-attr]


def test_run_stopped_from_a_hook_is_its_stop() -> None:
    """A hook may raise RunStopped instead of returning a stop."""
    with bench(raises(RunStopped("enough"))) as it:
        with pytest.raises(RunStopped, match="enough"):
            it.serve()
        assert it.last()["code"] == "stopped"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
@pytest.mark.parametrize("timeout_s", [None, 5.0])
def test_the_keyboard_gets_through(error: BaseException, timeout_s: float | None) -> None:
    """Ctrl-C while a hook thinks reaches the person; the call is refused and on record."""
    with bench(raises(error), hook_timeout_s=timeout_s) as it:
        with pytest.raises(type(error)):
            it.serve()
        assert (it.tool.calls, it.last()["code"]) == ([], "interrupted")


# ---- what is judged is what runs ------------------------------------------------------------------------------


def test_a_hook_cannot_change_what_runs() -> None:
    """Changes to nested lists, dicts and arrays in a hook do not reach the tool, nor the next hook."""
    seen = []

    def vandal(call: ToolCall) -> Decision:
        seen.append(str(call.arguments["list"]))
        call.arguments["list"][0]["x"] = 99  # type: ignore[index]
        call.arguments["list"].append(1)  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="read-only"):
            call.arguments["array"][0] = 99  # type: ignore[index]
        return Decision.allow()

    with bench(vandal, vandal) as it:
        it.serve(tool_call(list=[{"x": 1}], array=np.arange(3)))
        assert it.tool.calls[0]["list"] == [{"x": 1}]
        assert seen == ["[{'x': 1}]"] * 2


def test_arguments_changed_behind_our_back_are_refused() -> None:
    """An array that changes while it is judged is found out by its digest."""
    array = np.arange(3)

    def vandal(call: ToolCall) -> Decision:
        array[0] = 99
        return Decision.allow()

    with bench(vandal) as it:
        assert it.serve(tool_call(array=array)).code == "arguments_changed"  # type: ignore[union-attr]
        assert it.tool.calls == []


def test_a_hook_that_keeps_its_modification_cannot_change_it_later() -> None:
    """The arguments of a modification are taken over when the hook returns."""
    inner = ["Rome"]

    def first(call: ToolCall) -> Decision:
        return Decision.modify({"city": inner})

    def second(call: ToolCall) -> Decision:
        inner[0] = "Oslo" if call.arguments["city"] == ["Rome"] else inner[0]
        return Decision.allow()

    with bench(first, second) as it:
        it.governor.serve(tool_call(city=["Paris"]), lambda arguments: arguments, it.tool)
        assert it.tool.calls == [{"city": ["Rome"]}]


def test_the_digest_is_our_own() -> None:
    """Hooks see the digest of the arguments they see, whatever the call came with."""
    seen = []
    with bench(lambda call: (seen.append(call.digest), Decision.allow())[1]) as it:
        call = tool_call(city="Paris")
        it.serve(ToolCall(**{**{name: getattr(call, name) for name in call.__slots__}, "digest": "forged"}))
        assert seen == [digest("weather", PARIS)]


def test_cyclic_arguments_are_refused() -> None:
    """Arguments that contain themselves cannot be copied, so they are not run."""
    cyclic: list[object] = []
    cyclic.append(cyclic)
    call = ToolCall("c", "run", 1, "main", (), "weather", {"city": cyclic}, "", "")
    with bench(ALLOW) as it:
        assert it.serve(call).code == "invalid_arguments"  # type: ignore[union-attr]
        assert it.kinds() == ["refusal"]


# ---- what comes of it -----------------------------------------------------------------------------------------


def test_a_tools_exception_is_the_snippets() -> None:
    """An exception of the tool is handed on as it is, and recorded."""
    error = PermissionError("closed")
    with bench(error=error) as it:
        served = it.serve()
        assert isinstance(served, Failed)
        assert served.error is error
        assert (it.last()["status"], it.last()["error_type"], it.last()["error"]) == (
            "error",
            "PermissionError",
            "closed",
        )


def test_a_tool_that_is_given_up_is_unknown() -> None:
    """StillRunning is recorded as an outcome that nobody knows."""
    with bench(error=StillRunning("5 s are over")) as it:
        assert isinstance(it.serve(), Failed)
        assert it.last()["status"] == "unknown"


@pytest.mark.parametrize(
    ("error", "status"),
    [(RunStopped("enough"), "stopped"), (KeyboardInterrupt(), "interrupted"), (SystemExit(), "interrupted")],
)
def test_what_ends_the_run_passes_through_a_tool(error: BaseException, status: str) -> None:
    """RunStopped and Ctrl-C leave a tool as they are, after the outcome is on record."""
    with bench(error=error) as it:
        with pytest.raises(type(error)):
            it.serve()
        assert it.last()["status"] == status


class After:
    """A hook with a second half."""

    def __init__(self, answer: Callable[[ToolOutcome], object]) -> None:
        self.answer = answer

    def before_tool_call(self, call: ToolCall) -> Decision:
        return Decision.allow()

    def after_tool_call(self, call: ToolCall, outcome: ToolOutcome) -> object:
        assert call.arguments == PARIS
        return self.answer(outcome)


def test_an_after_hook_replaces_the_result() -> None:
    """What a hook puts in the place of a result is what the snippet gets, and the next hook sees."""
    double = After(lambda outcome: ToolOutcome("ok", (outcome.value, "seen")))
    with bench(double, After(lambda outcome: None), double) as it:
        assert it.serve() == Value((({"ran": PARIS}, "seen"), "seen"))
        assert it.last()["replaced_by"] == ["After", "After"]


def test_an_after_hook_can_turn_a_result_into_an_error() -> None:
    """An error outcome of a hook reaches the snippet as the builtin exception of that name."""
    with bench(After(lambda outcome: ToolOutcome("error", None, "PermissionError", "hidden"))) as it:
        served = it.serve()
        assert isinstance(served, Failed)
        assert (type(served.error), str(served.error)) == (PermissionError, "hidden")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda outcome: 1 / 0, "exception"),
        (lambda outcome: "x", "type"),
        (lambda outcome: ToolOutcome("odd"), "type"),
    ],
)
def test_a_broken_after_hook_withholds_the_result(answer: Callable[[ToolOutcome], object], code: str) -> None:
    """A result that a hook could not look at is not given out; the record says that the tool has run."""
    with bench(After(answer)) as it:
        served = it.serve()
        assert isinstance(served, Refused)
        assert (served.code, served.has_run) == (f"hook_error:{code}", True)
        assert (it.last()["status"], it.last()["code"]) == ("ok", served.code)


def test_an_after_hook_can_stop_the_run() -> None:
    """RunStopped in the second half ends the run, after the outcome is on record."""

    def stop(outcome: ToolOutcome) -> None:
        raise RunStopped("seen enough")

    with bench(After(stop)) as it:
        with pytest.raises(RunStopped, match="seen enough"):
            it.serve()
        assert (it.last()["kind"], it.last()["stopped"]) == ("outcome", "seen enough")


def test_refusals_tell_the_model_what_to_do() -> None:
    """The text names tool, reason and code, and whether the tool has run."""
    text = refusal_text("weather", Refused("not today.", "denied"))
    assert text.startswith("The call to tool 'weather' was refused: not today (code: denied). It was not run.")
    assert "The tool has run" in refusal_text("weather", Refused("x", "y", has_run=True))


def test_refused_code_is_not_called_a_tool() -> None:
    """The text about a snippet says that it is one."""
    text = code_refusal_text(Refused("no loops.", "denied"))
    assert text.startswith("The code was refused: no loops (code: denied). None of it was run.")
    assert "tool" not in text


@pytest.mark.parametrize("tell", [code_refusal_text, functools.partial(refusal_text, "weather")])
def test_refusals_are_bounded_and_can_be_sent(tell: Callable[[Refused], str]) -> None:
    """A hook may quote what it refuses, megabytes and lone surrogates included."""
    text = tell(Refused("x" * 5_000_000, "y" * 5_000_000))
    assert len(text) < 6_000
    assert text.endswith("what is missing.")
    assert "\\ud800" in tell(Refused("no \ud800", "denied")).encode().decode()


# ---- where it runs --------------------------------------------------------------------------------------------

PLACE = contextvars.ContextVar("PLACE", default="nowhere")


@pytest.mark.parametrize("timeout_s", [None, 5.0])
@pytest.mark.parametrize("is_async", [True, False])
def test_hooks_run_in_the_callers_context(timeout_s: float | None, is_async: bool) -> None:
    """Every hook sees the caller's context variables, in whichever thread it runs."""
    seen = []

    def look(call: ToolCall) -> Decision:
        seen.append(PLACE.get())
        return Decision.allow()

    async def async_look(call: ToolCall) -> Decision:
        return look(call)

    token = PLACE.set("here")
    try:
        with bench(async_look if is_async else look, hook_timeout_s=timeout_s) as it:
            assert isinstance(it.serve(), Value)
    finally:
        PLACE.reset(token)
    assert seen == ["here"]


def test_tools_run_in_the_callers_thread() -> None:
    """The tool runs where `serve` was called."""
    with bench(ALLOW, hook_timeout_s=5) as it:
        served = it.governor.serve(tool_call(), dict, lambda arguments: threading.get_ident())
        assert served == Value(threading.get_ident())


def test_async_hooks_work_under_a_running_loop() -> None:
    """In a notebook or a web server, where a loop runs already, async hooks work as well."""

    async def hook(call: ToolCall) -> Decision:
        await asyncio.sleep(0)
        return Decision.allow()

    async def main() -> object:
        return it.serve()

    with bench(hook) as it:
        assert isinstance(asyncio.run(main()), Value)


# ---- snippets -------------------------------------------------------------------------------------------------


class Reader:
    """A hook that looks at code."""

    def __init__(self, decision: object) -> None:
        self.decision = decision

    def before_tool_call(self, call: ToolCall) -> Decision:
        return Decision.allow()

    def before_code(self, code: object) -> object:
        return self.decision


def test_code_is_recorded_without_any_hook() -> None:
    """Each snippet is on record before it runs."""
    with bench(ALLOW) as it:
        assert it.governor.judge_code(code_call("print(1)")) is None
        assert (it.last()["kind"], it.last()["text"]) == ("code", "print(1)")


@pytest.mark.parametrize(
    ("decision", "code"),
    [
        (Decision.deny("no"), "denied"),
        (Decision.ask("sure?"), "approval_unavailable"),
        (Decision.respond(1), "hook_error:type"),
        (Decision.modify({}), "hook_error:type"),
        (None, "hook_error:none"),
    ],
)
def test_code_is_refused(decision: object, code: str) -> None:
    """Anything but a clear yes refuses the snippet, on record."""
    with bench(Reader(Decision.allow()), Reader(decision)) as it:
        assert it.governor.judge_code(code_call()).code == code  # type: ignore[union-attr]
        assert it.kinds()[-1] == "code_refusal"


def test_code_can_stop_the_run() -> None:
    """A stop on a snippet raises RunStopped, recorded."""
    with bench(Reader(Decision.stop("enough"))) as it:
        with pytest.raises(RunStopped):
            it.governor.judge_code(code_call())
        assert it.last()["code"] == "stopped"


# ---- the record -----------------------------------------------------------------------------------------------


def test_without_a_record_no_tool_runs(tmp_path: Path) -> None:
    """A trail that cannot be written stops calls, refusals and snippets alike."""
    trail = Trail(tmp_path / "t")
    for hook in (ALLOW, DENY, STOP, RESPOND):
        with bench(hook, trail=trail) as it:
            trail.close()
            with pytest.raises(AuditError):
                it.serve()
            with pytest.raises(AuditError):
                it.governor.judge_code(code_call())
            assert it.tool.calls == []


def test_a_lost_outcome_says_that_the_tool_has_run(tmp_path: Path) -> None:
    """If the record breaks while the tool runs, the result is withheld and the error says what is known."""
    trail = Trail(tmp_path / "t")
    with bench(ALLOW, trail=trail) as it, pytest.raises(AuditError, match="HAS RUN"):
        it.governor.serve(tool_call(), dict, lambda arguments: trail.close())
    assert verify(tmp_path / "t").unknown_outcomes == ("c1",)


def test_a_kill_between_intent_and_outcome_shows(tmp_path: Path) -> None:
    """kill -9 while a tool runs leaves a trail that verifies and names the call as unknown."""
    source = """
        import os, signal, sys, time
        from smolagents_hardened.audit.trail import Trail
        from smolagents_hardened.governance.call import ToolCall
        from smolagents_hardened.governance.governor import Governor
        governor = Governor([], Trail(sys.argv[1]), clock=time.monotonic, run_id="r")
        def call(call_id): return ToolCall(call_id, "r", 1, "main", (), "t", {}, "", "")
        governor.serve(call("done"), dict, lambda arguments: None)
        governor.serve(call("killed"), dict, lambda arguments: os.kill(os.getpid(), signal.SIGKILL))
    """
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    path = tmp_path / "t"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source), str(path)], env=environment, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    report = verify(path)
    assert (report.ok, report.unknown_outcomes) == (True, ("killed",))


def test_odd_arguments_and_results_are_recorded() -> None:
    """NaN, huge integers, lone surrogates and unknown objects neither break the record nor change on the way."""
    odd = {"a": float("nan"), "b": 2**99, "c": "\udc00", "d": object(), "e": {1: {2, 3}}, "f": np.zeros(2)}
    with bench(ALLOW) as it:
        served = it.serve(tool_call(**odd))
        assert isinstance(served, Value)
        assert it.tool.calls[0]["d"] is odd["d"]
        assert it.kinds() == ["intent", "outcome"]


def test_secrets_are_redacted_in_every_record() -> None:
    """A password in arguments, in a hook's change and in a result is in no record."""
    change = says(Decision.modify({"password": "hunter2"}))
    with bench(change) as it:
        it.governor.serve(tool_call(password="hunter2x"), dict, it.tool)
        assert it.tool.calls == [{"password": "hunter2"}]
        assert "hunter2" not in str(list(it.trail.records()))

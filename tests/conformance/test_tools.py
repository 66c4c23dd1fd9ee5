"""Tools as a snippet sees them: on the host, by keyword, governed, and ended by final_answer."""

from __future__ import annotations

import os
import threading

import pytest
from smolagents import FinalAnswerTool, Tool, tool
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor

from smolagents_hardened import Decision, HardenedExecutor, RunStopped, ToolCall


@tool
def weather(city: str, days: int = 1) -> str:
    """Tells the weather.

    Args:
        city: Where.
        days: How many days ahead.
    """
    return f"{city}:{days}:{os.getpid()}"


class Secret(Tool):
    """Holds a secret and a lazily set-up state on the host."""

    name = "secret"
    description = "Returns whether the guess is right."
    inputs = {"guess": {"type": "string", "description": "A guess."}}  # noqa: RUF012 - smolagents' way
    output_type = "boolean"

    def setup(self) -> None:
        self.key = os.environ.get("HOME", "/")
        self.is_initialized = True

    def forward(self, guess: str) -> bool:
        return guess == self.key


@pytest.fixture
def tooled(executor: HardenedExecutor) -> HardenedExecutor:
    """An executor with ordinary tools."""
    executor.send_tools({"weather": weather, "secret": Secret(), "final_answer": FinalAnswerTool()})
    return executor


def test_a_secret_given_by_position_is_in_no_record(executor: HardenedExecutor) -> None:
    """The tool gets it; the snippet's record hides it as the call's does, since it is known which tools there are."""
    seen = []

    @tool
    def login(user: str, password: str) -> str:
        """Logs in.

        Args:
            user: Who.
            password: The secret.
        """
        seen.append(password)
        return "welcome"

    executor.send_tools({"login": login})
    assert executor("login('bob', 'hunter2')").output == "welcome"
    assert seen == ["hunter2"]
    records = list(executor.trail.records())
    assert "hunter2" not in str(records)
    assert next(str(one["text"]) for one in records if one["kind"] == "code").startswith("login('bob', '[redacted ")


@pytest.mark.parametrize(
    "call", ["weather('Paris', 2)", "weather(city='Paris', days=2)", "weather({'city': 'Paris', 'days': 2})"]
)
def test_three_ways_to_call(tooled: HardenedExecutor, call: str) -> None:
    """Positionals, keywords and one dict all reach the tool, which runs in the host process."""
    assert tooled(call).output == f"Paris:2:{os.getpid()}"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("weather()", "misses the argument 'city'"),
        ("weather('a', 1, 2)", "takes 2 arguments but 3"),
        ("weather('a', city='b')", "multiple values for argument 'city'"),
        ("weather('a', mood='b')", "has no argument 'mood'"),
        ("weather(3)", "must be string, not int: convert it with str()"),
        ("weather('a', True)", "must be integer, not bool"),
        ("weather(['a'])", "must be string, not list"),
    ],
)
def test_wrong_arguments_are_a_type_error(tooled: HardenedExecutor, call: str, message: str) -> None:
    """Arguments that do not fit never reach hook or tool; the error says what to change."""
    with pytest.raises(InterpreterError, match="TypeError") as caught:
        tooled(call)
    assert message in str(caught.value)
    refusal = list(tooled.trail.records())[-1]
    assert (refusal["kind"], refusal["code"]) == ("refusal", "invalid_arguments")


def test_tool_with_state_and_secret(tooled: HardenedExecutor) -> None:
    """A Tool subclass with lazy setup works; its secret is not in the box."""
    assert tooled("secret('wrong')").output is False
    assert tooled("import os\nsecret(os.environ['HOME'])").output is (os.environ.get("HOME") == "/tmp")


def test_exceptions_keep_their_builtin_type(executor: HardenedExecutor) -> None:
    """An except clause in the snippet catches the builtin type that the tool raised."""

    def fail(kind: str) -> None:
        raise {"key": KeyError, "io": FileNotFoundError}[kind](f"{kind} {os.getcwd()}/x")

    executor.send_tools({"fail": fail})
    code = "try:\n    fail('io')\nexcept FileNotFoundError as error:\n    caught = str(error)\ncaught"
    assert executor(code).output == "io <host path>"


def test_a_denied_call_never_reaches_the_tool(make_executor: MakeExecutor) -> None:
    """The hook's reason is what the snippet reads; the tool is not run, and the trail says both."""
    ran: list[str] = []

    def guard(call: ToolCall) -> Decision:
        return Decision.deny("not on weekends") if call.arguments["what"] == "bad" else Decision.allow()

    executor = make_executor(governance=guard)
    executor.send_tools({"act": lambda what: ran.append(what)})
    output = executor(
        "act('good')\ntry:\n    act('bad')\nexcept PermissionError as error:\n    said = str(error)\nsaid"
    ).output
    assert "not on weekends" in output
    assert ran == ["good"]
    assert [record["kind"] for record in executor.trail.records()] == [
        "run",
        "code",
        "box_start",
        "intent",
        "outcome",
        "refusal",
    ]


def test_a_hook_stops_the_run(make_executor: MakeExecutor) -> None:
    """Decision.stop leaves the executor as RunStopped, with the logs so far; the box lives on."""
    executor = make_executor(governance=lambda call: Decision.stop("enough"))
    executor.send_tools({"act": lambda: None})
    executor("kept = 1")
    with pytest.raises(RunStopped, match="enough"):
        executor("print('before')\ntry:\n    act()\nexcept BaseException:\n    print('swallowed')")
    assert executor.state["_print_outputs"] == "before\n"
    assert executor("kept").output == 1


@pytest.mark.parametrize(
    "code",
    [
        "final_answer({'a': 1})\nprint('after')",
        "def deep():\n    for _ in [1]:\n        final_answer({'a': 1})\ndeep()",
        "try:\n    final_answer({'a': 1})\nexcept:\n    print('after')",
        "try:\n    final_answer({'a': 1})\nexcept BaseException:\n    print('after')\nprint('after')",
        "def f():\n    try:\n        final_answer({'a': 1})\n    finally:\n        return 5\nf()\nfinal_answer('second')\nprint('after')",
        "import contextlib\nwith contextlib.suppress(BaseException):\n    final_answer({'a': 1})\nfinal_answer('second')",
        "import threading\nt = threading.Thread(target=final_answer, args=({'a': 1},))\nt.start()\nt.join()\nfinal_answer('second')",
        "while True:\n    try:\n        final_answer({'a': 1})\n    finally:\n        continue",
    ],
    ids=[
        "plain",
        "nested",
        "bare-except",
        "base-exception",
        "finally-return",
        "suppress",
        "thread",
        "endless",
    ],
)
def test_final_answer_is_latched(tooled: HardenedExecutor, code: str) -> None:
    """The first final answer stands and ends the step, whatever the code does to go on."""
    done = tooled(code)
    assert done.is_final_answer
    assert done.output == {"a": 1}
    assert "after" not in done.logs
    assert tooled("1 + 1").output == 2


def test_threads_of_the_snippet_call_tools(executor: HardenedExecutor) -> None:
    """Many threads may call; each gets its own result; on the host the calls come one at a time."""
    at_work: list[int] = []
    most: list[int] = []

    def slow(n: int) -> int:
        at_work.append(n)
        most.append(len(at_work))
        at_work.remove(n)
        return n * 10

    executor.send_tools({"slow": slow})
    code = (
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool:\n"
        "    found = list(pool.map(slow, range(40)))\nfound"
    )
    assert executor(code).output == [n * 10 for n in range(40)]
    assert max(most) == 1


def test_a_thread_left_behind_cannot_call(executor: HardenedExecutor) -> None:
    """Between steps a background thread's call fails inside the box and costs the model nothing."""
    calls: list[int] = []
    executor.send_tools({"act": calls.append})
    executor(
        "import threading, time\nerrors = []\ndef later():\n    time.sleep(0.3)\n    try:\n        act(1)\n"
        "    except RuntimeError as e:\n        errors.append(str(e))\nthreading.Thread(target=later).start()"
    )
    threading.Event().wait(0.8)
    assert "no step is running" in executor("errors[0]").output
    assert calls == []


def test_what_cannot_cross_becomes_a_handle(executor: HardenedExecutor) -> None:
    """A host object reaches the box as an opaque reference that other tools take; a forged one is refused."""
    connection = threading.Lock()
    taken: list[object] = []
    executor.send_tools({"connect": lambda: connection, "use": taken.append})
    executor("c = connect()\nuse(c)\nuse([c])")
    assert taken == [connection, [connection]]
    with pytest.raises(InterpreterError, match="another session"):
        executor("import dataclasses\nuse(dataclasses.replace(c, id='0' * 32))")


def test_the_tools_name_is_protected(tooled: HardenedExecutor) -> None:
    """A snippet that would overwrite a tool is told so."""
    for code in ("weather = 1", "def weather(): pass", "import math as weather", "for weather in []: pass"):
        with pytest.raises(InterpreterError, match="Cannot assign to name 'weather': doing this would erase"):
            tooled(code)


def test_only_offered_tools_exist(executor: HardenedExecutor) -> None:
    """A tool that was taken away is gone from the box and refused on the host; names are exact."""
    executor.send_tools({"one": lambda: 1})
    executor("kept = one")
    executor.send_tools({"two": lambda: 2})
    with pytest.raises(InterpreterError, match="NameError"):
        executor("one()")
    with pytest.raises(InterpreterError, match="there is no tool 'one'"):
        executor("kept()")


def test_open_as_additional_function_is_the_boxes_own(make_executor: MakeExecutor) -> None:
    """`additional_functions={"open": open}` gives the box its own open, never the host's."""
    executor = make_executor(additional_functions={"open": open, "twice": lambda x: 2 * x})
    executor("with open('/tmp/here.txt', 'w') as f:\n    f.write('box')")
    assert executor("open('/tmp/here.txt').read(), twice(4)").output == ("box", 8)
    assert not os.path.exists("/tmp/here.txt")

"""Every kind of tool that a smolagents user has, called from a box."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from smolagents import FinalAnswerTool, Tool, tool
from smolagents.agent_types import AgentAudio, AgentImage, AgentText
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor

from smolagents_hardened import HardenedExecutor, Limits


class Counter(Tool):  # type: ignore[misc]
    """A tool with state and a lazy setup that must happen once."""

    name = "count"
    description = "Counts its calls."
    inputs = {}  # noqa: RUF012 - smolagents' way
    output_type = "integer"

    def __init__(self) -> None:
        super().__init__()
        self.setups = 0
        self.calls = 0

    def setup(self) -> None:
        self.setups += 1
        self.is_initialized = True

    def forward(self) -> int:
        self.calls += 1
        return self.calls


class Structured(Tool):  # type: ignore[misc]
    """A tool with an output schema."""

    name = "structured"
    description = "Gives a record."
    inputs = {  # noqa: RUF012 - smolagents' way
        "filters": {"type": "object", "description": "f"},
        "ids": {"type": "array", "description": "i", "nullable": True},
        "anything": {"type": "any", "description": "a", "nullable": True},
    }
    output_type = "object"
    output_schema = {"type": "object", "properties": {"n": {"type": "integer"}}}  # noqa: RUF012 - smolagents' way

    def forward(self, filters: dict[str, Any], ids: list[int] | None = None, anything: Any = None) -> dict[str, Any]:
        return {"n": len(filters), "ids": ids, "kind": type(anything).__name__}


class Framework:
    """A tool of another framework, as LangChain's look: name, description, args, run."""

    name = "shout"
    description = "Says it loudly."
    args = {"text": {"type": "string", "description": "What."}}  # noqa: RUF012 - that framework's way

    def run(self, tool_input: dict[str, str]) -> str:
        return tool_input["text"].upper()


@tool
def thumbnail(image: Any, side: int) -> Any:
    """Makes an image smaller.

    Args:
        image: The image.
        side: Its new side in pixels.
    """
    return image.resize((side, side))


def test_state_and_setup(executor: HardenedExecutor) -> None:
    """A tool keeps its state on the host; its setup runs once, before the first call."""
    counter = Counter()
    executor.send_tools({"count": counter})
    assert counter.setups == 0
    assert executor("[count() for _ in range(3)]").output == [1, 2, 3]
    executor("def more():\n    return count()\nmore()")
    assert (counter.setups, counter.calls) == (1, 4)


def test_structured_inputs_and_outputs(executor: HardenedExecutor) -> None:
    """Object, array, any and nullable inputs, and an output schema, work as declared."""
    executor.send_tools({"structured": Structured()})
    code = "structured({'filters': {'a': 1}}), structured({'a': 1, 'b': 2}, ids=[1], anything=(1, 2)), structured(filters={})['n']"
    assert executor(code).output == (
        {"n": 1, "ids": None, "kind": "NoneType"},
        {"n": 2, "ids": [1], "kind": "tuple"},
        0,
    )


def test_a_tool_of_another_framework(executor: HardenedExecutor) -> None:
    """Tool.from_langchain wraps a foreign tool, and so it runs."""
    executor.send_tools({"shout": Tool.from_langchain(Framework())})
    assert executor("shout('a'), shout(text='b')").output == ("A", "B")


def test_images_go_in_and_out(executor: HardenedExecutor) -> None:
    """Images cross both ways, smolagents' own AgentImage as the image that it holds."""
    executor.send_tools({"thumbnail": thumbnail, "shot": lambda: AgentImage(Image.new("RGB", (8, 8), (1, 2, 3)))})
    code = "small = thumbnail(shot(), 2)\n(small.size, small.getpixel((0, 0)), type(shot()).__module__.split('.')[0])"
    assert executor(code).output == ((2, 2), (1, 2, 3), "PIL")
    assert isinstance(executor("small").output, Image.Image)


def test_agent_text_is_text(executor: HardenedExecutor) -> None:
    """smolagents' AgentText arrives as the text that it is."""
    executor.send_tools({"say": lambda: AgentText("hello")})
    assert executor("(say() + '!', type(say()).__name__)").output == ("hello!", "str")


def test_sounds_stay_on_the_host(executor: HardenedExecutor) -> None:
    """smolagents' AgentAudio is a text by its base, a path of the host: the box holds a reference, the next tool the sound."""
    sound = AgentAudio.__new__(AgentAudio, "/home/someone/voice.wav")  # its constructor wants torch
    heard: list[object] = []
    executor.send_variables(variables={"given": sound})
    executor.send_tools({"speak": lambda: {"sound": sound, "rate": 16000}, "hear": heard.append})
    output = executor("spoken = speak()\nhear(spoken['sound'])\nhear([given])\nstr(given) + repr(vars())").output
    assert [heard[0], heard[1][0]] == [sound, sound]  # type: ignore[index]
    assert heard[0] is sound
    assert "AgentAudio" in str(output)
    assert "/home" not in str(output)


def test_async_tools_share_one_loop(executor: HardenedExecutor) -> None:
    """Async tools are awaited on one long-lived loop; what they keep open between calls stays usable."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def fetch(n: int) -> int:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return n * 2

    executor.send_tools({"fetch": fetch})
    assert executor("[fetch(n) for n in range(3)]").output == [0, 2, 4]
    assert len(set(loops)) == 1
    executor.close()


def test_async_tools_where_a_loop_runs_already(executor: HardenedExecutor) -> None:
    """A notebook or web server, whose thread runs a loop, can use async tools all the same."""

    async def fetch() -> str:
        await asyncio.sleep(0)
        return "fetched"

    async def cell() -> object:
        return executor("fetch()").output

    executor.send_tools({"fetch": fetch})
    assert asyncio.run(cell()) == "fetched"
    executor.close()


def test_generators_are_drained(executor: HardenedExecutor) -> None:
    """What a generator tool yields arrives as a list; an endless one is an error that says what to do."""

    def rows(most: int) -> Iterator[int]:
        yield from range(most)

    async def ticks() -> AsyncIterator[int]:
        for n in range(3):
            yield n

    executor.send_tools({"rows": rows, "ticks": ticks})
    assert executor("rows(4), ticks()").output == ([0, 1, 2, 3], [0, 1, 2])
    with pytest.raises(InterpreterError, match="yields more than 10000 items: ask it for fewer"):
        executor("rows(10**9)")
    executor.close()


def test_data_frames_go_in_and_out(executor: HardenedExecutor) -> None:
    """A tool may take and give data frames, series and arrays."""
    taken: list[object] = []

    def add_total(frame: Any, by: Any) -> Any:
        taken.append(frame)
        return frame.assign(total=frame["v"] * by.sum())

    executor.send_tools({"add_total": add_total})
    code = (
        "import pandas as pd, numpy as np\nadd_total(pd.DataFrame({'v': [1, 2]}), np.array([1, 2]))['total'].tolist()"
    )
    assert executor(code).output == [3, 6]
    pd.testing.assert_frame_equal(taken[0], pd.DataFrame({"v": [1, 2]}))


def test_the_callers_thread_and_context(executor: HardenedExecutor) -> None:
    """A tool runs in the thread and with the context variables of whoever runs the step, also from threads of the box."""
    seen: list[object] = []
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    executor.send_tools({"look": lambda: seen.append((threading.get_ident(), variable.get()))})
    executor("import threading\nlook()\nt = threading.Thread(target=look)\nt.start()\nt.join()")
    assert seen == [(threading.get_ident(), "set")] * 2


def test_a_tool_has_its_own_time_limit(make_executor: MakeExecutor) -> None:
    """A tool that takes too long is given up, by name; the trail says that it may still run, and the step goes on."""
    executor = make_executor(tool_timeouts={"slow": 0.2})
    done = threading.Event()

    def slow() -> str:
        done.wait(10)
        return "late"

    executor.send_tools({"slow": slow, "quick": lambda: time.sleep(0.3) or "quick"})
    code = "try:\n    slow()\nexcept TimeoutError as error:\n    said = str(error)\n(said, quick())"
    said, quick = executor(code).output
    assert said == "tool 'slow' did not finish within 0.2 s; it may still do its work"
    assert quick == "quick"
    done.set()
    outcomes = [record for record in executor.trail.records() if record["kind"] == "outcome"]
    assert [record["status"] for record in outcomes] == ["unknown", "ok"]


def test_one_time_limit_for_all_tools(make_executor: MakeExecutor) -> None:
    """A single number limits every tool; async ones are cancelled."""
    executor = make_executor(tool_timeouts=0.2)
    ended = threading.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    executor.send_tools({"slow": slow})
    with pytest.raises(InterpreterError, match="TimeoutError"):
        executor("slow()")
    assert ended.wait(5)
    executor.close()


def test_a_limited_tool_keeps_the_context(make_executor: MakeExecutor) -> None:
    """A tool with a limit runs in a thread of its own, under a copy of the caller's context."""
    executor = make_executor(tool_timeouts=5)
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    executor.send_tools({"look": lambda: (variable.get(), threading.get_ident())})
    value, thread = executor("look()").output
    assert value == "set"
    assert thread != threading.get_ident()


class Session:
    """A host object that is no value."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __str__(self) -> str:
        return "Session(open)"


def test_handles_print_are_stored_and_passed(executor: HardenedExecutor) -> None:
    """A handle says what it is, lives in variables, lists and dicts across steps, and is the object again on the host."""
    session = Session()
    used: list[object] = []
    executor.send_tools(
        {"connect": lambda: session, "use": used.append, "pair": lambda: (session, [session], {"s": session})}
    )
    assert executor("s = connect()\nprint(s)\nstr(s)").output
    assert "Session(open)" in executor.state["_print_outputs"]
    executor("box = {'s': s, 'l': [s, s]}\nuse(box)\nuse(pair())\nuse(s)")
    assert used == [{"s": session, "l": [session, session]}, (session, [session], {"s": session}), session]
    assert executor("connect() == s, len({s, connect()})").output == (True, 1)


def test_handles_are_bounded(make_executor: MakeExecutor) -> None:
    """A tool called in a loop cannot fill the host's memory with objects."""
    executor = make_executor(limits=Limits(calls=3000))
    executor.send_tools({"make": Session})
    code = "kept = []\ntry:\n    for _ in range(2000):\n        kept.append(make())\nexcept ValueError as error:\n    said = str(error)\n(len(kept), said)"
    count, said = executor(code).output
    assert count == 1000
    assert "held already; return plain data" in said


def test_handles_die_with_the_session(executor: HardenedExecutor) -> None:
    """Once the box is gone the host holds none of its objects, and an old handle is refused in the next box."""
    import gc
    import weakref

    session = Session()
    watched = weakref.ref(session)
    executor.send_tools({"connect": lambda: watched(), "use": lambda it: None})
    identity = executor("s = connect()\ns.id").output
    executor.cleanup()
    del session
    gc.collect()
    assert watched() is None
    executor.send_tools({"connect": Session, "use": lambda it: None})
    with pytest.raises(InterpreterError, match="session"):
        executor(f"import dataclasses\nuse(dataclasses.replace(connect(), id={identity!r}))")


def test_two_sessions_do_not_share_handles(make_executor: MakeExecutor) -> None:
    """A handle of one session is worth nothing in another."""
    first, second = make_executor(), make_executor()
    for executor in (first, second):
        executor.send_tools({"connect": Session, "use": lambda it: None})
    identity = first("connect().id").output
    with pytest.raises(InterpreterError, match="session"):
        second(f"import dataclasses\nuse(dataclasses.replace(connect(), id={identity!r}))")


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        ("lambda: 1", "function"),
        ("open('/tmp/x', 'w')", "TextIOWrapper"),
        ("a", "cycle"),
        ("(n for n in [1])", "generator"),
    ],
)
def test_what_cannot_cross_says_what_to_convert(executor: HardenedExecutor, make: str, hint: str) -> None:
    """An argument that cannot cross is an error that names its type and what to pass instead; the host sees nothing."""
    calls: list[object] = []
    executor.send_tools({"take": calls.append})
    with pytest.raises(InterpreterError) as caught:
        executor(f"a = []\na.append(a)\ntake({make})")
    assert hint in str(caught.value)
    assert "pass" in str(caught.value) or "break the cycle" in str(caught.value)
    assert calls == []


class CustomAnswer(FinalAnswerTool):  # type: ignore[misc]
    """A final answer with inputs of its own."""

    inputs = {  # noqa: RUF012 - smolagents' way
        "answer": {"type": "any", "description": "a"},
        "confidence": {"type": "number", "description": "c", "nullable": True},
    }

    def __init__(self) -> None:
        super().__init__()
        self.skip_forward_signature_validation = True

    def forward(self, answer: Any, confidence: float | None = None) -> Any:
        if answer == "wrong":
            raise ValueError("this answer is wrong")
        return {"answer": answer, "confidence": confidence}


@pytest.mark.parametrize("call", ["final_answer('x', 0.5)", "final_answer(confidence=0.5, answer='x')"])
def test_a_custom_final_answer(executor: HardenedExecutor, call: str) -> None:
    """The agent's own final answer tool runs, with its own inputs, and what it returns is the answer."""
    executor.send_tools({"final_answer": CustomAnswer()})
    done = executor(call)
    assert (done.output, done.is_final_answer) == ({"answer": "x", "confidence": 0.5}, True)


def test_a_final_answer_that_raises_is_none(executor: HardenedExecutor) -> None:
    """A final answer tool that raises has not answered: the snippet sees the error and may go on."""
    executor.send_tools({"final_answer": CustomAnswer()})
    code = "try:\n    final_answer('wrong')\nexcept ValueError as error:\n    said = str(error)\nsaid"
    done = executor(code)
    assert (done.output, done.is_final_answer) == ("this answer is wrong", False)


@pytest.mark.parametrize("name", ["FinalAnswerException", "FinalAnswerGiven", "LeaveStep", "RunStopped"])
def test_a_forged_exception_means_nothing(executor: HardenedExecutor, name: str) -> None:
    """No exception name of the box has any control meaning on the host."""
    executor.send_tools({"final_answer": FinalAnswerTool()})
    with pytest.raises(InterpreterError, match=name):
        executor(f"class {name}(BaseException): pass\nraise {name}('forged')")
    assert executor("1 + 1").output == 2


def test_numpy_scalars_are_numbers(executor: HardenedExecutor) -> None:
    """A numpy number fits an input that is declared as a number or an integer."""
    taken: list[object] = []

    @tool
    def take(n: int, x: float) -> None:
        """Takes numbers.

        Args:
            n: Whole.
            x: Any.
        """
        taken.append((n, x))

    executor.send_tools({"take": take})
    executor("import numpy as np\ntake(np.int64(3), np.float64(0.5))")
    assert taken == [(3, 0.5)]
    assert not isinstance(taken[0], np.generic)

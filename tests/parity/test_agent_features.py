"""The agent around the executor: what a smolagents user does with a CodeAgent works with its code in a box."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from smolagents import (
    ActionStep,
    AgentLogger,
    CodeAgent,
    FinalAnswerStep,
    LogLevel,
    PlanningStep,
    ToolCallingAgent,
    tool,
)
from smolagents.local_python_executor import InterpreterError
from smolagents.models import ChatMessageStreamDelta
from tests.support.backends import backend
from tests.support.models import CodeModel, PlanningModel, make_known

from smolagents_hardened import (
    CodeCall,
    ConfigError,
    Decision,
    HardenedExecutor,
    RunStopped,
    ToolCall,
    hardened_agent,
    register,
)

MakeAgent = Callable[..., CodeAgent]


@tool
def double(n: int) -> int:
    """Doubles.

    Args:
        n: A number.
    """
    return 2 * n


def policy(call: ToolCall) -> Decision:
    """A hook that an import string can name."""
    return Decision.deny("by name") if call.tool == "double" and call.arguments["n"] == 13 else Decision.allow()


@pytest.fixture
def make_agent(backend_name: str) -> Iterator[MakeAgent]:
    """Make CodeAgents with executor_type="hardened"; they are cleaned up after the test."""
    register()
    made: list[CodeAgent] = []

    def make(*snippets: str, model: Any = None, options: dict[str, Any] | None = None, **kwargs: Any) -> CodeAgent:
        options = {"backend": backend(backend_name), **(options or {})}
        settings = {"verbosity_level": 0, "tools": [double], **kwargs}
        agent = CodeAgent(
            model=model or CodeModel(*snippets), executor_type="hardened", executor_kwargs=options, **settings
        )
        made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.python_executor.close()


# ---- running -----------------------------------------------------------------------------------------------


def test_run_as_a_stream(make_agent: MakeAgent) -> None:
    """run(stream=True) yields the steps as they end, the answer last."""
    agent = make_agent("x = double(21)\nprint(x)", "final_answer(x)")
    events = list(agent.run("go", stream=True))
    steps = [event for event in events if isinstance(event, ActionStep)]
    assert [step.observations.splitlines()[1] for step in steps[:1]] == ["42"]
    assert isinstance(events[-1], FinalAnswerStep)
    assert events[-1].output == 42


def test_stream_outputs(make_agent: MakeAgent) -> None:
    """stream_outputs=True passes the model's tokens on; the code is run from the joined text."""
    agent = make_agent("final_answer(double(4))", stream_outputs=True)
    events = list(agent.run("go", stream=True))
    assert sum(isinstance(event, ChatMessageStreamDelta) for event in events) > 3
    assert events[-1].output == 8


def test_planning(make_agent: MakeAgent) -> None:
    """Planning steps come in between and disturb nothing."""
    agent = make_agent(model=PlanningModel("x = 1", "final_answer(x + 1)"), planning_interval=1)
    assert agent.run("go") == 2
    assert sum(isinstance(step, PlanningStep) for step in agent.memory.steps) == 2


def test_state_lives_across_runs(make_agent: MakeAgent) -> None:
    """Variables live on in a second run, with reset=False and with reset=True, as they do with the local executor."""
    agent = make_agent("kept = 5\nfinal_answer(1)", "final_answer(kept)", "final_answer(kept + 1)")
    assert [agent.run("a"), agent.run("b", reset=False), agent.run("c", reset=True)] == [1, 5, 6]


def test_a_run_after_cleanup_starts_afresh(make_agent: MakeAgent) -> None:
    """`with agent` ends the box; a later run gets a fresh one, with the agent's state sent again."""
    agent = make_agent("final_answer(given)", "final_answer(given)")
    with agent:
        assert agent.run("a", additional_args={"given": 3}) == 3
    assert agent.run("b") == 3


def test_additional_args(make_agent: MakeAgent) -> None:
    """Images, data frames and arrays given to run() are variables of the box."""
    given = {
        "image": Image.new("RGB", (3, 2), (1, 2, 3)), "frame": pd.DataFrame({"a": [1, 2]}), "array": np.arange(3), "text": "t",
    }  # fmt: skip
    agent = make_agent("final_answer((image.size, int(frame['a'].sum()), array.tolist(), text))")
    assert agent.run("go", additional_args=given) == ((3, 2), 3, [0, 1, 2], "t")


def test_an_image_is_an_answer(make_agent: MakeAgent) -> None:
    """An image that the snippet made is a final answer, of smolagents' own type."""
    agent = make_agent(
        "from PIL import Image\nfinal_answer(Image.new('L', (2, 2)))", additional_authorized_imports=["PIL"]
    )
    answer = agent.run("go")
    assert type(answer).__name__ == "AgentImage"
    assert answer.to_raw().size == (2, 2)


def test_an_error_is_fed_back(make_agent: MakeAgent) -> None:
    """The model reads the error and the prints of the failed step, and goes on."""
    agent = make_agent("print('so far')\nnope", "final_answer('mended')")
    assert agent.run("go") == "mended"
    assert "NameError: name 'nope' is not defined" in agent.model.read[1]
    assert "so far" in agent.model.read[1]


def test_the_end_of_the_steps(make_agent: MakeAgent) -> None:
    """At max_steps the model is asked for an answer as ever; the full result says so."""
    agent = make_agent("x = 1", "the answer in words", max_steps=1, return_full_result=True)
    result = agent.run("go")
    assert result.state == "max_steps_error"
    assert "the answer in words" in result.output


def test_final_answer_checks(make_agent: MakeAgent) -> None:
    """A check that refuses an answer makes the agent go on."""

    def is_even(answer: object, memory: object, agent: object = None) -> bool:
        return isinstance(answer, int) and answer % 2 == 0

    agent = make_agent("final_answer(3)", "final_answer(4)", final_answer_checks=[is_even])
    assert agent.run("go") == 4


def test_final_answer_is_not_swallowed(make_agent: MakeAgent) -> None:
    """try/except BaseException around final_answer does not keep the agent from answering."""
    agent = make_agent(
        "def f():\n    try:\n        final_answer('yes')\n    except BaseException:\n        print('no')\nf()"
    )
    assert agent.run("go") == "yes"
    assert "no" not in agent.memory.steps[-1].observations


def test_callbacks_memory_and_replay(make_agent: MakeAgent) -> None:
    """Step callbacks see every step, the memory can be read and replayed."""
    seen: list[int] = []
    console = Console(file=StringIO(), force_terminal=False, width=100)
    logger = AgentLogger(level=LogLevel.INFO, console=console)
    agent = make_agent(
        "print('one')",
        "final_answer('two')",
        logger=logger,
        step_callbacks=[lambda step, agent=None: seen.append(step.step_number)],
    )
    agent.run("go")
    assert seen == [1, 2]
    assert "print('one')" in json.dumps(agent.memory.get_full_steps(), default=str)
    agent.replay(detailed=True)
    assert "Final answer" in console.file.getvalue()


def test_prints_reach_the_logger_as_they_come(make_agent: MakeAgent) -> None:
    """What the snippet prints is shown while it still runs, and nothing in it is read as markup."""
    console = Console(file=StringIO(), force_terminal=False, width=100)
    shown: list[str] = []

    @tool
    def look() -> str:
        """Looks at what the logger shows by now."""
        shown.append(console.file.getvalue())
        return "looked"

    agent = make_agent(
        "print('[red]early[/red]')\nprint('half', end='')\nlook()\nfinal_answer(1)",
        tools=[look], logger=AgentLogger(level=LogLevel.INFO, console=console),
    )  # fmt: skip
    agent.run("go")
    assert "[red]early[/red]\n" in shown[0].replace(" \n", "\n").split("Executing parsed code")[-1].split("─")[-1]
    assert "half" in console.file.getvalue().split("[red]early[/red]")[-1]


# ---- stopping ----------------------------------------------------------------------------------------------


def test_a_stop_before_the_code_stands_in_memory(make_agent: MakeAgent) -> None:
    """A hook that looks at code may stop the run before any of it runs; the reason stands in the step's memory."""

    class Reader:
        def before_tool_call(self, call: ToolCall) -> Decision:
            return Decision.allow()

        def before_code(self, code: CodeCall) -> Decision:
            return Decision.stop("not this code")

    agent = make_agent("final_answer(1)", options={"governance": Reader()})
    with pytest.raises(RunStopped, match="not this code"):
        agent.run("go")
    assert "not this code" in str(agent.memory.steps[-1].error)


def test_a_stop_in_a_streamed_run_stands_in_memory(make_agent: MakeAgent) -> None:
    """Whoever reads the run as a stream gets the stop as well, after the step that it ended, whose memory says why."""
    agent = make_agent("print('so far')\ndouble(1)", options={"governance": lambda call: Decision.stop("enough")})
    seen: list[object] = []
    with pytest.raises(RunStopped, match="enough"):
        seen.extend(agent.run("go", stream=True))
    assert "enough" in str(agent.memory.steps[-1].error)
    assert "so far" in agent.memory.steps[-1].observations


def test_structured_outputs_and_markdown_tags(make_agent: MakeAgent) -> None:
    """Both other ways in which smolagents lets a model write its code end in the same box."""

    class Structured(CodeModel):
        def generate(self, messages: Any, **options: Any) -> Any:
            message = super().generate(messages, **options)
            code = message.content.partition("<code>\n")[2].partition("\n</code>")[0]
            message.content = json.dumps({"thought": "next", "code": code})
            return message

    class Markdown(CodeModel):
        def generate(self, messages: Any, **options: Any) -> Any:
            message = super().generate(messages, **options)
            message.content = message.content.replace("<code>", "```python").replace("</code>", "```")
            return message

    code = "final_answer(double(4))"
    assert make_agent(model=Structured(code), use_structured_outputs_internally=True).run("go") == 8
    assert make_agent(model=Markdown(code), code_block_tags="markdown").run("go") == 8


# ---- saving ------------------------------------------------------------------------------------------------


def test_save_and_load_keep_the_box(
    make_agent: MakeAgent, backend_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executor's type and options survive to_dict, from_dict, save and from_folder: never a silent downgrade."""
    make_known(CodeModel, monkeypatch)
    options = {
        "backend": backend_name,
        "governance": f"{__name__}:policy",
        "limits": {"wall_s": 7.0},
        "audit": str(tmp_path / "a.jsonl"),
    }
    saved = make_agent(options=options, additional_authorized_imports=["numpy"])
    description = json.loads(json.dumps(saved.to_dict() | {"model": None}))
    assert (description["executor_type"], description["executor_kwargs"]) == ("hardened", options)
    saved.save(str(tmp_path / "agent"))
    copies = [CodeAgent.from_dict(saved.to_dict()), CodeAgent.from_folder(tmp_path / "agent")]
    for copy in copies:
        executor = copy.python_executor
        assert isinstance(executor, HardenedExecutor)
        assert (copy.executor_type, executor.config.wall_s, executor.config.backend) == ("hardened", 7.0, backend_name)
        assert "numpy" in executor.config.authorized
        executor.send_tools(copy.tools)
        with pytest.raises(Exception, match="by name"):
            executor("double(13)")
        executor.close()


@pytest.mark.parametrize("manager", ["hardened", "local", "calling"])
def test_a_saved_tree_keeps_every_box(
    make_agent: MakeAgent, backend_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: str
) -> None:
    """A managed agent is saved and loaded with its box, its hooks and its limits, whatever its manager has."""
    make_known(CodeModel, monkeypatch)
    options = {"backend": backend_name, "governance": f"{__name__}:policy", "limits": {"wall_s": 7.0}}
    inner = make_agent(options=options, name="inner", description="Does.")
    outer: Any
    if manager == "hardened":
        outer = make_agent(options={"backend": backend_name}, managed_agents=[inner])
    else:
        kind = CodeAgent if manager == "local" else ToolCallingAgent
        outer = kind([double], CodeModel(), managed_agents=[inner], verbosity_level=0)
    outer.save(str(tmp_path / "agent"))
    for copy in (type(outer).from_dict(outer.to_dict()), type(outer).from_folder(tmp_path / "agent")):
        if manager == "hardened":
            assert copy.python_executor.config.wall_s == 30.0
            copy.python_executor.close()
        executor = copy.managed_agents["inner"].python_executor
        assert isinstance(executor, HardenedExecutor)
        assert executor.config.wall_s == 7.0
        executor.send_tools(copy.managed_agents["inner"].tools)
        with pytest.raises(InterpreterError, match="by name"):
            executor("double(13)")
        executor.close()


def test_an_executor_object_is_saved_as_hardened(backend_name: str) -> None:
    """hardened_agent(executor=...) is saved as "hardened", where CodeAgent(executor=...) alone would say "local"."""
    with HardenedExecutor(backend=backend_name) as executor:
        agent = hardened_agent([double], CodeModel("final_answer(double(2))"), executor=executor, verbosity_level=0)
        assert agent.run("go") == 4
        assert agent.to_dict()["executor_type"] == "hardened"


def test_an_executor_object_comes_back_with_its_options(
    backend_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hooks, limits and imports are saved with the agent, so that nothing is allowed later that was denied."""
    make_known(CodeModel, monkeypatch)
    options = {"governance": f"{__name__}:policy", "limits": {"wall_s": 7.0}, "audit": tmp_path / "audit.jsonl"}
    with HardenedExecutor(["numpy"], backend=backend_name, **options) as executor:
        hardened_agent([double], CodeModel(), executor=executor, verbosity_level=0).save(tmp_path / "agent")
    loaded = CodeAgent.from_folder(tmp_path / "agent").python_executor
    assert (loaded.config.wall_s, loaded.trail.path) == (7.0, tmp_path / "audit.jsonl")
    assert "numpy" in loaded.config.authorized
    loaded.send_tools({"double": double})
    with pytest.raises(InterpreterError, match="by name"):
        loaded("double(13)")
    loaded.close()


def test_what_cannot_be_saved_is_refused_by_name(backend_name: str, tmp_path: Path) -> None:
    """A hook that is an object would be lost: saving says so, and how it can be given instead."""
    with HardenedExecutor(backend=backend_name, governance=policy) as executor:
        agent = hardened_agent([double], CodeModel(), executor=executor, verbosity_level=0)
        with pytest.raises(ConfigError, match=r"'governance' cannot be saved.*pkg\.mod:name"):
            agent.save(tmp_path)
        assert agent.to_dict()["executor_kwargs"]["governance"] is policy


def test_an_executor_is_one_agents(backend_name: str) -> None:
    """Another agent of another name is refused, since it would be judged under it; one of the same name takes over."""
    asked: list[str] = []

    def hook(call: ToolCall) -> Decision:
        asked.append(call.agent)
        return Decision.allow()

    with HardenedExecutor(backend=backend(backend_name), governance=hook) as executor:
        for _ in range(2):
            guest = hardened_agent([], CodeModel("final_answer(1)"), executor=executor, name="guest", verbosity_level=0)
        with pytest.raises(ConfigError, match="executor of its own"):
            hardened_agent([], CodeModel(), executor=executor, name="admin", verbosity_level=0)
        guest.run("go")
        assert [record["kind"] for record in executor.trail.records()].count("usage") == 1
    assert asked == ["guest"]


def test_pickle_and_host_interpreters_are_refused(make_agent: MakeAgent) -> None:
    """allow_pickle, and the base tool that would run code on the host, are refused by name."""
    with pytest.raises(ConfigError, match="allow_pickle is refused"):
        make_agent(options={"allow_pickle": True})
    from smolagents import PythonInterpreterTool

    agent = make_agent("final_answer(1)", tools=[PythonInterpreterTool()])
    with pytest.raises(ConfigError, match="python_interpreter"):
        agent.run("go")


# ---- telemetry ---------------------------------------------------------------------------------------------


def test_spans_of_tools_have_the_right_parent(make_agent: MakeAgent) -> None:
    """With smolagents' own instrumentation a tool's span hangs under the step that called it, and that under the run."""
    from openinference.instrumentation.smolagents import SmolagentsInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    SmolagentsInstrumentor().instrument(tracer_provider=provider)
    try:
        agent = make_agent("x = double(3)", "final_answer(x)")
        assert agent.run("go") == 6
    finally:
        SmolagentsInstrumentor().uninstrument()
    spans = {span.context.span_id: span for span in exporter.get_finished_spans()}
    tools = [span for span in spans.values() if span.name == "SimpleTool"]
    assert len(tools) == 1
    step = spans[tools[0].parent.span_id]
    assert step.name == "Step 1"
    assert spans[step.parent.span_id].name == "CodeAgent.run"

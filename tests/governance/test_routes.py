"""Every route that smolagents has to a tool's body passes the governor: denied, the body is never reached.

Routes of code within one box are walked in tests/attacks/test_governance.py; these are the routes of the framework.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from smolagents import CodeAgent, FinalAnswerTool, MCPClient, Tool, ToolCallingAgent, tool
from tests.support.backends import backend
from tests.support.models import CallModel, CodeModel

from smolagents_hardened import Decision, ToolCall, govern, register
from smolagents_hardened.audit.trail import Trail

ROOT = Path(__file__).parents[2]
GIVE_UP = [("final_answer", {"answer": "over"})]


class World:
    """What the routes share: whether the body was reached, which tool is denied, and what agents are made of."""

    def __init__(self, backend_name: str, denied: str) -> None:
        self.reached = 0
        self._denied = denied
        self._backend = backend(backend_name)
        self._open: list[Any] = []

    def guard(self, call: ToolCall) -> Decision:
        return Decision.deny("not this one") if call.tool == self._denied else Decision.allow()

    def body(self, text: str = "") -> str:
        self.reached += 1
        return f"did {text}"

    def tools(self) -> tuple[Tool, Tool]:
        """A Tool subclass and a decorated function with the same body."""
        world = self

        class Act(Tool):
            name = "act"
            description = "Acts."
            inputs = {"text": {"type": "string", "description": "What."}}  # noqa: RUF012 - smolagents' way
            output_type = "string"

            def forward(self, text: str) -> str:
                return world.body(text)

        @tool
        def do(text: str) -> str:
            """Does it.

            Args:
                text: What.
            """
            return world.body(text)

        return Act(), do

    def coder(
        self, *code: str, tools: tuple[Any, ...] = (), options: dict[str, Any] | None = None, **more: Any
    ) -> CodeAgent:
        kwargs = {"backend": self._backend, "governance": self.guard, **(options or {})}
        agent = CodeAgent(
            list(tools), CodeModel(*code), executor_type="hardened", executor_kwargs=kwargs, verbosity_level=0, **more
        )
        self._open.append(agent.python_executor)
        return agent

    def caller(self, *rounds: Any, tools: tuple[Any, ...] = (), **more: Any) -> ToolCallingAgent:
        return ToolCallingAgent(list(tools), CallModel(*rounds), verbosity_level=0, **more)

    def governed(self, agent: ToolCallingAgent) -> None:
        self._open.append(govern(agent, self.guard))

    def trails(self) -> list[Trail]:
        return [one.trail for one in self._open]

    def close(self) -> None:
        for one in self._open:
            one.close()


def helper(name: str) -> dict[str, str]:
    """What makes an agent one that can be managed."""
    return {"name": name, "description": "Helps."}


TRY = "try:\n    {}\nexcept PermissionError as error:\n    print(error)\nfinal_answer('over')"


def by_tool_class(world: World) -> None:
    world.coder(TRY.format("act('x')"), tools=world.tools()).run("go")


def by_function(world: World) -> None:
    world.coder(TRY.format("do('x')"), tools=world.tools()).run("go")


def by_additional_function(world: World) -> None:
    functions = {"additional_functions": {"extra": world.body}}
    world.coder(TRY.format("extra('x')"), options=functions).run("go")


def by_own_final_answer(world: World) -> None:
    class Own(FinalAnswerTool):
        def forward(self, answer: Any) -> Any:
            return world.body(str(answer))

    world.coder(
        "try:\n    final_answer('x')\nexcept PermissionError as error:\n    print(error)", tools=(Own(),), max_steps=1
    ).run("go")


def by_managed_code_agent(world: World) -> None:
    inner = world.coder("act('x')\nfinal_answer('over')", tools=world.tools(), **helper("inner"))
    world.coder(TRY.format("inner('go')"), managed_agents=[inner]).run("go")


def by_tool_of_a_managed_code_agent(world: World) -> None:
    inner = world.coder(TRY.format("act('x')"), tools=world.tools(), **helper("worker"))
    world.coder("final_answer(worker('go'))", managed_agents=[inner]).run("go")


def by_tool_of_a_managed_tool_caller(world: World) -> None:
    inner = world.caller([("act", {"text": "x"})], GIVE_UP, tools=world.tools(), **helper("clerk"))
    world.coder("final_answer(clerk('go'))", managed_agents=[inner]).run("go")


def by_tool_caller(world: World) -> None:
    agent = world.caller([("act", {"text": "x"})], GIVE_UP, tools=world.tools())
    world.governed(agent)
    agent.run("go")


def by_agent_of_a_tool_caller(world: World) -> None:
    inner = world.coder("act('x')\nfinal_answer('over')", tools=world.tools(), **helper("inner"))
    agent = world.caller([("inner", {"task": "go"})], GIVE_UP, managed_agents=[inner])
    world.governed(agent)
    agent.run("go")


def by_tool_below_a_tool_caller(world: World) -> None:
    inner = world.caller([("act", {"text": "x"})], GIVE_UP, tools=world.tools(), **helper("clerk"))
    agent = world.caller([("clerk", {"task": "go"})], GIVE_UP, managed_agents=[inner])
    world.governed(agent)
    agent.run("go")


def by_agent_that_is_added_later(world: World) -> None:
    inner = world.caller([("act", {"text": "x"})], GIVE_UP, tools=world.tools(), **helper("clerk"))
    agent = world.caller([("clerk", {"task": "go"})], GIVE_UP)
    world.governed(agent)
    agent.managed_agents = world.caller(managed_agents=[inner]).managed_agents
    agent.run("go")


def by_agent_among_the_functions(world: World) -> None:
    inner = world.caller([("act", {"text": "x"})], GIVE_UP, tools=world.tools())
    world.coder("final_answer(clerk('go'))", options={"additional_functions": {"clerk": inner}}).run("go")


def by_method_of_an_agent_among_the_functions(world: World) -> None:
    inner = world.caller([("act", {"text": "x"})], GIVE_UP, tools=world.tools())
    world.coder("final_answer(clerk('go'))", options={"additional_functions": {"clerk": inner.run}}).run("go")


def by_agent_of_two_managers(world: World) -> None:
    """The first one has let go when the second one calls."""
    inner = world.caller([("act", {"text": "x"})], GIVE_UP, tools=world.tools(), **helper("clerk"))
    first = world.coder("final_answer('over')", managed_agents=[inner])
    second = world.coder("x = 1", "final_answer(clerk('go'))", managed_agents=[inner])
    first.run("go")
    steps = second.run("go", stream=True)
    next(steps)
    first.python_executor.close()
    list(steps)


def by_last_word_of_a_coder(world: World) -> None:
    """Its steps are used up, and smolagents asks the model once more."""
    answer = world.coder("x = 1", "the last word", max_steps=1).run("go")
    world.reached += "the last word" in answer


def by_last_word_of_a_tool_caller(world: World) -> None:
    agent = ToolCallingAgent([], CodeModel("no call", "the last word"), verbosity_level=0, max_steps=1)
    world.governed(agent)
    world.reached += "the last word" in agent.run("go")


def by_second_run(world: World) -> None:
    agent = world.coder("final_answer('first')", TRY.format("act('x')"), tools=world.tools())
    agent.run("go")
    agent.run("again", reset=False)


def by_stream(world: World) -> None:
    list(world.coder(TRY.format("act('x')"), tools=world.tools()).run("go", stream=True))


ROUTES: list[tuple[Callable[[World], None], str]] = [
    (by_tool_class, "act"),
    (by_function, "do"),
    (by_additional_function, "extra"),
    (by_own_final_answer, "final_answer"),
    (by_managed_code_agent, "inner"),
    (by_tool_of_a_managed_code_agent, "act"),
    (by_tool_of_a_managed_tool_caller, "act"),
    (by_tool_caller, "act"),
    (by_agent_of_a_tool_caller, "inner"),
    (by_tool_below_a_tool_caller, "act"),
    (by_agent_that_is_added_later, "act"),
    (by_agent_among_the_functions, "act"),
    (by_method_of_an_agent_among_the_functions, "act"),
    (by_agent_of_two_managers, "act"),
    (by_last_word_of_a_coder, "final_answer"),
    (by_last_word_of_a_tool_caller, "final_answer"),
    (by_second_run, "act"),
    (by_stream, "act"),
]


@pytest.fixture
def make_world(backend_name: str) -> Iterator[Callable[[str], World]]:
    """Worlds on the backend under test, closed after it."""
    register()
    made: list[World] = []

    def make(denied: str) -> World:
        made.append(World(backend_name, denied))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.mark.parametrize(("route", "name"), ROUTES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_denied_tool_is_reached_by_no_route(make_world: Callable[[str], World], route: Any, name: str) -> None:
    """Allowed, the route reaches the body once; denied, never, and the refusal stands on record."""
    open_world = make_world("nothing")
    route(open_world)
    assert open_world.reached == 1
    world = make_world(name)
    route(world)
    assert world.reached == 0
    refused = [r["tool"] for trail in world.trails() for r in trail.records() if r["kind"] == "refusal"]
    assert refused == [name] * (2 if route is by_own_final_answer else 1)  # there the last word is another


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_denied_mcp_tool_is_not_called(make_world: Callable[[str], World]) -> None:
    """The tools of an MCP server are reached only if the hook allows them."""
    place = StdioServerParameters(
        command=sys.executable, args=["-m", "tests.support.mcp_server", "stdio"], env={"PYTHONPATH": str(ROOT)}
    )
    with MCPClient(place, structured_output=False) as tools:
        for denied, kinds in (("nothing", ["intent", "outcome"]), ("add", ["refusal"])):
            world = make_world(denied)
            agent = world.coder(TRY.format("add(1, 2)"), tools=tuple(tools))
            agent.run("go")
            records = [r["kind"] for r in agent.python_executor.trail.records() if r.get("tool") == "add"]
            assert records == kinds

"""What govern() makes of a ToolCallingAgent, and who governs one that several hold."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from smolagents import CodeAgent, PythonInterpreterTool, Tool, ToolCallingAgent
from smolagents.agent_types import AgentImage
from tests.support.models import CallModel, CodeModel

from smolagents_hardened import ConfigError, Decision, ToolCall, govern
from smolagents_hardened.errors import HardenedError
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.replay import replay
from smolagents_hardened.governed import Governed

OVER = [("final_answer", {"answer": "over"})]


class Act(Tool):
    """Notes what it gets, and does what it is told to."""

    name, description, output_type = "act", "Acts.", "string"
    inputs = {"text": {"type": "string", "description": "What."}}  # noqa: RUF012 - smolagents' way

    def __init__(self, does: Callable[[str], Any] = lambda text: f"did {text}") -> None:
        super().__init__()
        self.got: list[str] = []
        self.does = does

    def forward(self, text: str) -> str:
        self.got.append(text)
        return self.does(text)  # type: ignore[no-any-return]


def caller(*rounds: Any, tools: tuple[Any, ...] = (), **more: Any) -> ToolCallingAgent:
    return ToolCallingAgent(list(tools), CallModel(*rounds), verbosity_level=0, **more)


def clerk(act: Act, rounds: int = 1) -> ToolCallingAgent:
    """One that can be managed, and acts once in each of its runs."""
    script = [[("act", {"text": "x"})], OVER] * rounds
    return caller(*script, tools=(act,), name="clerk", description="d")


def boss(managed: ToolCallingAgent) -> ToolCallingAgent:
    return caller([("clerk", {"task": "go"})], OVER, managed_agents=[managed])


def deny(reason: str) -> Callable[[ToolCall], Decision]:
    return lambda call: Decision.deny(reason) if call.tool == "act" else Decision.allow()


def told(governed: Governed, kind: str) -> list[dict[str, Any]]:
    return [record for record in governed.trail.records() if record["kind"] == kind]


def fails(error: Exception) -> Callable[[str], Any]:
    def fail(_text: str) -> Any:
        raise error

    return fail


# ---- what is let in ------------------------------------------------------------------------------------------


def test_what_no_hook_would_see_is_refused() -> None:
    """A host interpreter and a local CodeAgent are refused at once, at any depth; the latter may be allowed."""
    coder = CodeAgent([], CodeModel("final_answer(1)"), name="coder", description="d", verbosity_level=0)
    with_coder = caller(managed_agents=[coder], name="clerk", description="d")
    with_interpreter = caller(tools=(PythonInterpreterTool(),), name="clerk", description="d")
    for agent, message in ((with_coder, "coder.*on the host"), (with_interpreter, "PythonInterpreterTool")):
        for one in (agent, boss(agent)):
            with pytest.raises(ConfigError, match=message):
                govern(one)
            assert "execute_tool_call" not in vars(one)
    with govern(boss(with_coder), allow_unsandboxed_agents=True):
        pass


def test_what_is_added_later_is_refused_before_the_next_call() -> None:
    """A host interpreter that is put in after govern() ends the run, and does not run."""
    agent = caller([("python_interpreter", {"code": "1"})], OVER)
    with govern(agent):
        agent.tools["python_interpreter"] = PythonInterpreterTool()
        with pytest.raises(ConfigError, match="python_interpreter"):
            agent.run("go")


def test_a_name_that_cannot_be_served_is_refused_at_once() -> None:
    """A tool whose name is no ASCII identifier is refused by govern(), also where it is a managed agent's."""

    class Size(Act):
        name = "größe"

    agent = caller(tools=(Size(),), name="clerk", description="d")
    for one in (agent, boss(agent)):
        with pytest.raises(ConfigError, match="ASCII Python identifier"):
            govern(one)


def test_somebody_elses_wrapper_is_not_taken_for_ours() -> None:
    """An agent whose execute_tool_call was replaced is refused, before and after; without the wrapper it is governed."""
    act = Act()
    agent = clerk(act)
    agent.execute_tool_call = print
    for one in (agent, boss(agent)):
        with pytest.raises(ConfigError, match="execute_tool_call of its own"):
            govern(one)
    del agent.execute_tool_call
    with govern(agent, deny("never")):
        ours = agent.execute_tool_call
        agent.execute_tool_call = lambda *given: ours(*given)
        with pytest.raises(ConfigError, match="execute_tool_call of its own"):
            govern(boss(agent))
        agent.run("go")
    assert act.got == []
    assert agent.execute_tool_call("act", {"text": "free"}) == "did free"


def test_agents_that_manage_each_other() -> None:
    """Two that know each other are both governed, and both are free again."""
    act = Act()
    first, second = clerk(act), clerk(act)
    first.managed_agents["other"], second.managed_agents["other"] = second, first
    with govern(first, deny("never")):
        for agent in (first, second):
            agent.execute_tool_call("act", {"text": "x"})
        assert act.got == []
    for agent in (first, second):
        agent.execute_tool_call("act", {"text": "x"})
    assert act.got == ["x", "x"]


def test_a_governed_agent_is_not_copied() -> None:
    """A copy would run the tools of the original: it is refused while the agent is governed."""
    agent = clerk(Act())
    with govern(agent), pytest.raises(ConfigError, match="cannot be copied"):
        copy.copy(agent)
    assert copy.copy(agent).tools == agent.tools


# ---- who governs ---------------------------------------------------------------------------------------------


def test_a_shared_agent_works_under_the_manager_that_called_it() -> None:
    """Each manager's trail holds what was done for it, tokens included, and for nobody else."""
    act = Act()
    shared = clerk(act, 2)
    first, second = boss(shared), boss(shared)
    with govern(first) as one, govern(second) as two:
        for agent, its, others in ((first, one, two), (second, two, one)):
            before = len(told(others, "usage"))
            agent.run("go")
            assert [r["tool"] for r in told(its, "intent")] == ["clerk", "act", "final_answer", "final_answer"]
            assert [r["agent"] for r in told(its, "usage")] == ["clerk", "clerk", "agent", "agent"]
            assert len(told(others, "usage")) == before


def test_a_shared_agent_stays_governed() -> None:
    """As long as one manager holds it, hooks judge its calls, whoever asks it."""
    act = Act()
    shared = clerk(act)
    first, second = govern(boss(shared)), govern(boss(shared), deny("never"))
    first.close()
    first.close()
    assert "never" in shared.execute_tool_call("act", {"text": "x"})
    second.close()
    assert shared.execute_tool_call("act", {"text": "x"}) == "did x"


def test_its_own_governor_comes_first() -> None:
    """An agent that a manager holds can be given a governor of its own; without it, it is the manager's again."""
    shared = clerk(Act())
    with govern(boss(shared), deny("of the boss")):
        with govern(shared, deny("of its own")):
            assert "of its own" in shared.execute_tool_call("act", {"text": "x"})
            with pytest.raises(ConfigError, match="governed already"):
                govern(shared)
        assert "of the boss" in shared.execute_tool_call("act", {"text": "x"})


def test_a_run_does_not_go_on_without_a_governor() -> None:
    """What began governed ends when the governor is closed: no call, no word of its model; the next is the agent's own."""
    act = Act()
    agent = caller([("act", {"text": "a"})], [("act", {"text": "c"})], OVER, tools=(act,))
    governed = govern(agent)
    steps = agent.run("go", stream=True)
    while not act.got:
        next(steps)
    governed.close()
    with pytest.raises(HardenedError, match="closed while it went on"):
        agent.execute_tool_call("act", {"text": "b"})
    with pytest.raises(HardenedError, match="closed while it went on"):
        list(steps)
    assert act.got == ["a"]
    assert agent.run("again") == "over"
    assert act.got == ["a", "c"]


# ---- what the model reads ------------------------------------------------------------------------------------


def test_a_refusal_does_not_hide_what_ran_beside_it() -> None:
    """Of two calls of a round one ran and one was refused: the model reads both."""
    act = Act(lambda text: "PAID")
    agent = caller([("act", {"text": "pay"}), ("act", {"text": "bad"})], OVER, tools=(act,))

    def hook(call: ToolCall) -> Decision:
        return Decision.deny("not bad") if call.arguments.get("text") == "bad" else Decision.allow()

    with govern(agent, hook):
        assert agent.run("go") == "over"
    assert act.got == ["pay"]
    assert "not bad" in agent.model.read[1]
    assert "PAID" in agent.model.read[1]


def test_a_refused_answer_does_not_end_the_run() -> None:
    """The text of a refusal must not become the answer."""
    agent = caller([("final_answer", {"answer": "bad"})], [("final_answer", {"answer": "good"})])
    with govern(agent, lambda call: Decision.deny("no") if "bad" in call.arguments.values() else Decision.allow()):
        assert agent.run("go") == "good"
    assert "was refused: no" in agent.model.read[1]


@pytest.mark.parametrize("name", [5, None, ["act"]])
def test_a_name_that_is_no_text_is_the_models_error(name: Any) -> None:
    """A model that names a tool by anything but a text reads that there is none, and goes on."""
    agent = caller([(name, {"text": "x"})], OVER, tools=(Act(),))
    with govern(agent) as governed:
        assert agent.run("go") == "over"
        assert [r["code"] for r in told(governed, "refusal")] == ["unknown_tool"]
    assert "there is no tool" in agent.model.read[1]


def test_a_tools_error_is_bounded_and_tells_no_host_path() -> None:
    """As in a box: the kind of error and its text, cut, without the host's directories."""
    agent = caller([("act", {"text": "x"})], OVER, tools=(Act(fails(OSError("no /srv/secret/x " + "y" * 9000))),))
    with govern(agent):
        assert agent.run("go") == "over"
    assert "Error executing tool 'act': OSError: no <host path> yyy" in agent.model.read[1]
    assert "secret" not in agent.model.read[1]
    assert "y" * 5000 not in agent.model.read[1]


def test_an_error_that_cannot_describe_itself_is_the_models() -> None:
    """A tool's exception without a text does not end the run."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    agent = caller([("act", {"text": "x"})], OVER, tools=(Act(fails(Mute())),))
    with govern(agent):
        assert agent.run("go") == "over"
    assert "no text: ValueError" in agent.model.read[1]


# ---- what runs -----------------------------------------------------------------------------------------------


async def later(text: str) -> str:
    await asyncio.sleep(0)
    return f"did {text}"


def drop_by_drop(text: str) -> Iterator[str]:
    yield f"did {text}"


@pytest.mark.parametrize("does", [later, drop_by_drop])
def test_async_tools_are_awaited_and_generators_drained(does: Callable[[str], Any]) -> None:
    """A tool that declares a text gives what it has come to, and `ok` on record means that it ran."""
    agent = caller([("act", {"text": "x"})], OVER, tools=(Act(does),))
    with govern(agent) as governed:
        agent.run("go")
        assert [r["status"] for r in told(governed, "outcome")] == ["ok", "ok"]
    assert "did x" in agent.model.read[1]


def test_an_image_is_smolagents_own_after_the_wait() -> None:
    """What an async tool declares as an image is stored as one, and given to the next tool as it is."""

    async def draw() -> Image.Image:
        return Image.new("RGB", (4, 4))

    class Draw(Act):
        name, output_type, inputs = "draw", "image", {}

        def forward(self) -> Any:
            return draw()

    class Look(Act):
        name, inputs = "look", {"image": {"type": "image", "description": "i"}}

        def forward(self, image: Any) -> str:
            return f"{type(image).__module__} {image.size}"

    agent = caller([("draw", {})], [("look", {"image": "image.png"})], OVER, tools=(Draw(), Look()))
    with govern(agent):
        agent.run("go")
    assert isinstance(agent.state["image.png"], AgentImage)
    assert "PIL.Image (4, 4)" in agent.model.read[2]


@pytest.mark.parametrize(("name", "answer"), [("a", "c"), ("b", "c"), ("c", "c"), ("plain", "plain")])
def test_what_was_judged_is_the_answer(name: str, answer: str) -> None:
    """A name of the state is replaced before the hooks see it, as often as smolagents could do it behind them."""
    judged = []

    def hook(call: ToolCall) -> Decision:
        judged.append(call.arguments["answer"])
        return Decision.allow()

    agent = caller([("final_answer", {"answer": name})])
    with govern(agent, hook):
        assert agent.run("go", additional_args={"a": "b", "b": "c"}) == answer
    assert judged == [answer]


def test_an_answer_that_smolagents_would_replace_is_refused() -> None:
    """Names that stand for each other, and a name that a hook has put in: the run goes on, and it is on record."""

    def hook(call: ToolCall) -> Decision:
        return Decision.modify({"answer": "a"}) if call.arguments["answer"] == "turn" else Decision.allow()

    agent = caller(*([("final_answer", {"answer": one})] for one in ("a", "turn", "over")))
    with govern(agent, hook) as governed:
        assert agent.run("go", additional_args={"a": "b", "b": "a"}) == "over"
        assert [r["code"] for r in told(governed, "refusal")] == ["invalid_arguments"] * 2


def test_parallel_refusals_are_all_counted() -> None:
    """Twenty refusals of a step are written one by one, the rest as a number when it ends."""
    agent = caller([("nothing", {"n": n}) for n in range(30)], OVER)
    with govern(agent) as governed:
        agent.run("go")
        refused = told(governed, "refusal")
    assert len(refused) == 21
    assert (refused[-1]["tool"], refused[-1]["code"], refused[-1]["count"]) == ("*", "more_refusals", 10)


def test_replay_judges_only_what_was_judged(tmp_path: Path) -> None:
    """A call that did not get as far as the hooks is on record with its arguments, and no case for a policy."""
    agent = caller([("act", {"text": 3})], [("act", {"text": "x"})], OVER, tools=(Act(),))
    with govern(agent, audit=tmp_path / "trail.jsonl") as governed:
        agent.run("go")
        assert [r["arguments"] for r in told(governed, "refusal")] == [{"text": 3}]
    policy = Policy.from_mapping({"default": "allow"})
    assert [one.tool for one in replay(policy, tmp_path / "trail.jsonl")] == ["act", "final_answer"]


def test_many_threads_hold_one_agent() -> None:
    """Managers that come and go at the same time leave no moment in which the agent's calls are not judged."""
    act = Act()
    shared = clerk(act)

    def come_and_go() -> None:
        for _ in range(30):
            govern(boss(shared)).close()

    with govern(boss(shared), deny("never")) as governed:
        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert "never" in shared.execute_tool_call("act", {"text": "x"})
        assert len(told(governed, "refusal")) == 1
    assert "execute_tool_call" not in vars(shared)

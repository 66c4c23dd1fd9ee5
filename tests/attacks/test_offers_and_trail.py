"""What comes back from tools, what is offered as one, and what stands on record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from smolagents import CodeAgent, Model, PythonInterpreterTool, ToolCallingAgent
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor
from tests.support.probes import proves

from smolagents_hardened import Decision
from smolagents_hardened.audit.report import timeline
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.errors import ConfigError

# ---- what comes back -------------------------------------------------------------------------------------


def _open_private() -> None:
    with open("/srv/private-data/customers.db"):
        raise AssertionError("this file does not exist")


def _open_public() -> object:
    return open(__file__)


def _name_object() -> None:
    raise ValueError(f"bad object {object()!r}")


@proves("governance.leaks")
@pytest.mark.parametrize(
    ("tool", "secret"),
    [(_open_private, "/srv/private-data"), (_name_object, "0x"), (_open_public, str(Path(__file__).parent))],
    ids=["path", "address", "object"],
)
def test_nothing_of_the_host_comes_back(make_executor: MakeExecutor, tool: Any, secret: str) -> None:
    """Errors and descriptions of host objects carry no path, address or traceback of the host."""
    executor = make_executor(gate="off")
    opened: list[Any] = []
    executor.send_tools({"act": lambda: opened.append(tool()) or opened[-1]})
    code = "try:\n    told = str(act())\nexcept Exception as error:\n    told = repr(error)\ntold"
    told = str(executor(code).output)
    for one in opened:
        one.close()
    assert secret not in told
    assert "Traceback" not in told


@proves("governance.leaks")
def test_no_text_of_the_host_can_end_a_session(make_executor: MakeExecutor) -> None:
    """[R10] Errors and reasons that echo what the box sent, surrogates, NULs and megabytes, arrive as bounded text."""

    def echo(x: str) -> None:
        raise type("E" * 300, (ValueError,), {})(f"bad {x}")

    executor = make_executor(
        gate="off",
        governance=lambda call: Decision.deny(str(call.arguments["x"])) if call.tool == "no" else Decision.allow(),
    )
    executor.send_tools({"echo": echo, "no": echo})
    executor("kept = 1")
    for tool in ("echo", "no"):
        for text in ("'\\ud800'", "'\\0'", "'x' * 10**6", "'\\U0001F600' * 10**5", "'\\x1b[2J'"):
            code = f"try:\n    {tool}({text})\nexcept Exception as error:\n    length = len(str(error))\nlength"
            assert 0 < int(str(executor(code).output)) < 70_000
    assert executor("kept").output == 1


# ---- agents and functions --------------------------------------------------------------------------------


class NoModel(Model):  # type: ignore[misc]
    """A model that nobody asks."""


def _calling(**options: Any) -> ToolCallingAgent:
    return ToolCallingAgent(**{"tools": [], "model": NoModel(), "name": "helper", "description": "d"} | options)


def _local() -> CodeAgent:
    return CodeAgent(tools=[], model=NoModel(), name="inner", description="d")


UNGOVERNED = {
    "an interpreter": lambda: PythonInterpreterTool(),
    "a local agent": _local,
    "an agent with an interpreter": lambda: _calling(tools=[PythonInterpreterTool()]),
    "an agent of an agent": lambda: _calling(managed_agents=[_local()]),
    "an agent of an agent of an agent": lambda: _calling(
        managed_agents=[_calling(name="mid", managed_agents=[_local()])]
    ),
}


@proves("governance.agents")
@pytest.mark.parametrize("make", UNGOVERNED.values(), ids=UNGOVERNED.keys())
def test_nothing_that_runs_code_on_the_host_is_offered(make_executor: MakeExecutor, make: Any) -> None:
    """A tool or a managed agent, at any depth, that runs a model's code on the host is refused."""
    with pytest.raises(ConfigError, match="on the host"):
        make_executor().send_tools({"helper": make()})


@proves("governance.agents")
def test_a_harmless_agent_is_offered(make_executor: MakeExecutor) -> None:
    """An agent that runs no code is taken."""
    make_executor().send_tools({"helper": _calling()})


@proves("governance.agents")
@pytest.mark.parametrize("function", [eval, exec, compile, __import__, open], ids=lambda function: function.__name__)
def test_a_builtin_of_the_host_is_not_offered(make_executor: MakeExecutor, function: Any) -> None:
    """A builtin that runs code or opens files is the box's own under its own name, and refused under another."""
    with pytest.raises(ConfigError):
        make_executor(additional_functions={"other": function})


@proves("governance.agents")
def test_open_is_the_boxs_own(make_executor: MakeExecutor) -> None:
    """`{"open": open}` gives no way to the host's files."""
    executor = make_executor(additional_functions={"open": open, "eval": eval})
    own = str(Path(__file__))
    code = f"try:\n    open({own!r})\nexcept OSError as error:\n    number = error.errno\n(number, eval('1 + 1'))"
    assert executor(code).output[0] in (2, 13)  # ENOENT, EACCES


# ---- the trail -------------------------------------------------------------------------------------------

INJECTIONS = {
    "lines": '\'x\\n{"seq":1,"kind":"intent"}\\n\'',
    "escapes": "'\\x1b[2J\\x1b]0;title\\x07\\x9b31m'",
    "direction": "'\\u202e\\u2066'",
    "a surrogate": "'\\ud800'",
    "a NUL": "'\\0'",
    "10 MB": "'x' * 10**7",
    "many": "list(range(20_000))",
    "NaN": "[float('nan'), float('inf'), -0.0, 10**300]",
    "reserved keys": "{'$type': 'x', 'seq': 1, 'hash': '0', 'prev': '', 'kind': 'box_end', '$': 1}",
    "odd keys": "{1: 2, None: 3, (1, 2): 4, 'a\\nb': 5}",
    "deep": "__import__('functools').reduce(lambda x, _: [x], range(25), 1)",
}


@proves("governance.record")
@pytest.mark.parametrize("argument", INJECTIONS.values(), ids=INJECTIONS.keys())
def test_no_argument_breaks_the_trail(make_executor: MakeExecutor, tmp_path: Path, argument: str) -> None:
    """[R14] Whatever the box sends, the trail verifies, keeps one record a line, and shows as plain text."""
    path = tmp_path / "audit.jsonl"
    executor = make_executor(gate="off", audit=str(path))
    executor.send_tools({"act": lambda x: None})
    executor(f"act({argument})")
    report = verify(path)
    assert report.ok
    kinds = [json.loads(line)["kind"] for line in path.read_bytes().splitlines()]
    assert kinds == ["run", "code", "box_start", "intent", "outcome"]
    assert all(line.isprintable() for line in timeline(path))


@proves("governance.record")
@pytest.mark.parametrize("death", ["os._exit(1)", "ctypes.string_at(0)", "os.abort()"])
def test_a_call_is_on_record_though_the_box_dies(make_executor: MakeExecutor, tmp_path: Path, death: str) -> None:
    """[R14] A box that dies while its call runs leaves the whole record of the call."""
    path = tmp_path / "audit.jsonl"
    executor = make_executor(gate="off", audit=str(path))
    ran: list[int] = []
    executor.send_tools({"act": lambda: ran.append(1)})
    dying = f"import ctypes, os, threading\nthreading.Thread(target=act).start()\nimport time\ntime.sleep(0.1)\n{death}"
    with pytest.raises(InterpreterError):
        executor(dying)
    kinds = [json.loads(line)["kind"] for line in path.read_bytes().splitlines()]
    assert ran == [1]
    assert kinds[-3:] == ["intent", "outcome", "box_died"]
    assert verify(path).ok

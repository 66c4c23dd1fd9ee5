"""MCP tools, from a real stdio server and a real streamable-HTTP server, called from a box and governed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from smolagents import MCPClient, Tool, ToolCollection
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor

from smolagents_hardened import Decision, ToolCall

ROOT = Path(__file__).parents[2]
MODULE = "tests.support.mcp_server"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
# What the protocol's own libraries warn about, themselves or on behalf of each other.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def by_stdio() -> StdioServerParameters:
    """A server that is a child process."""
    return StdioServerParameters(command=sys.executable, args=["-m", MODULE, "stdio"], env=ENVIRONMENT)


@pytest.fixture
def http_server() -> Iterator[dict[str, str]]:
    """A server on a loopback port of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", MODULE, "http", str(port)], env=ENVIRONMENT, cwd=ROOT)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield {"url": f"http://127.0.0.1:{port}/mcp", "transport": "streamable-http"}
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(params=["stdio", "streamable-http"])
def tools(request: pytest.FixtureRequest) -> Iterator[dict[str, Tool]]:
    """The tools of a server on each transport."""
    place = by_stdio() if request.param == "stdio" else request.getfixturevalue("http_server")
    with MCPClient(place, structured_output=False) as found:
        yield {tool.name: tool for tool in found}


def test_mcp_tools_work_from_a_box(make_executor: MakeExecutor, tools: dict[str, Tool]) -> None:
    """Arguments by position and keyword, defaults, arrays, objects, records and images: all as the server declares them."""
    executor = make_executor()
    executor.send_tools(tools)
    assert executor("int(add(1, 2)), int(add(a=1)), int(add({'a': 5, 'b': 5}))").output == (3, 11, 10)
    calls = "total([1.0, 2.5], {'k': 'v'}), total(numbers=[1]), total([], options=None)"
    assert executor(calls).output == ("3.5:[('k', 'v')]", "1.0:[]", "0:[]")
    assert executor("p = picture()\n(p.size, p.getpixel((0, 0)))").output == ((3, 2), (9, 8, 7))
    assert int(executor("pid()").output) != os.getpid()


def test_mcp_calls_are_judged_and_recorded(make_executor: MakeExecutor, tools: dict[str, Tool]) -> None:
    """A hook sees MCP calls by keyword and can refuse them, wrong types are told, and the trail has them all."""
    seen: list[dict[str, object]] = []

    def guard(call: ToolCall) -> Decision:
        seen.append(dict(call.arguments))
        return Decision.deny("no weather") if call.tool == "weather" else Decision.allow()

    executor = make_executor(governance=guard)
    executor.send_tools(tools)
    executor("add(1, 2)\ntry:\n    weather('x')\nexcept PermissionError as e:\n    print(e)")
    assert seen == [{"a": 1, "b": 2}, {"city": "x"}]
    assert "no weather" in executor.state["_print_outputs"]
    # The adapter gives a server's error as text, with or without a sandbox: it drops the protocol's isError.
    assert "the server says no" in executor("fail()").output
    with pytest.raises(InterpreterError, match="must be integer, not str"):
        executor("add('1')")
    kinds = [
        record["kind"] for record in executor.trail.records() if record["kind"] in ("intent", "outcome", "refusal")
    ]
    assert kinds[:3] == ["intent", "outcome", "refusal"]


def test_a_tool_collection_works_too(make_executor: MakeExecutor) -> None:
    """`ToolCollection.from_mcp` gives tools that run the same way, here with structured records."""
    executor = make_executor()
    with ToolCollection.from_mcp(by_stdio(), trust_remote_code=True, structured_output=True) as collection:
        executor.send_tools({tool.name: tool for tool in collection.tools})
        assert executor("add(2, 2)['result'], weather('Paris')").output == (4, {"city": "Paris", "degrees": 20.5})

"""No tool runs but through the hook, by its exact name, with the arguments that were judged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from smolagents import Tool
from smolagents.local_python_executor import InterpreterError
from tests.attacks.lies import call, log, program
from tests.conftest import MakeExecutor
from tests.support.backends import DECLARED, backend
from tests.support.probes import proves

from smolagents_hardened import Decision, HardenedExecutor, ToolCall

# Each calls `act` once, or tries to.
ROUTES = {
    "plainly": "act()",
    "by __call__": "act.__call__()",
    "by its type": "type(act).__call__(act)",
    "by a copy of the proxy": "import copy\ncopy.copy(act)()",
    "in a comprehension": "[act() for _ in range(1)]",
    "in a generator": "list(act() for _ in range(1))",
    "by map": "list(map(lambda _: act(), [1]))",
    "as a decorator": "@lambda f: act()\ndef g(): pass",
    "as a default": "def g(x=act()): pass",
    "in an f-string": "f'{act()}'",
    "as a property": "class A:\n    @property\n    def x(self): return act()\nA().x",
    "in __getattr__": "class A:\n    def __getattr__(self, n): return act()\nA().x",
    "in __del__": "class A:\n    def __del__(self): act()\na = A()\ndel a",
    "in __str__": "class A:\n    def __str__(self):\n        act()\n        return ''\nstr(A())",
    "in a sort": "sorted([1], key=lambda _: act())",
    "in a metaclass": "class M(type):\n    def __init__(c, *a): act()\nclass A(metaclass=M): pass",
    "in a thread": "import threading\nt = threading.Thread(target=act)\nt.start()\nt.join()",
    "in a pool": "from concurrent.futures import ThreadPoolExecutor\nlist(ThreadPoolExecutor(2).map(lambda _: act(), [1]))",
    "in a coroutine": "import asyncio\nasync def f(): act()\nasyncio.run(f())",
    "in a thread of asyncio": "import asyncio\nasyncio.run(asyncio.to_thread(act))",
    "in a trace function": "import sys\ndef t(*_):\n    sys.settrace(None)\n    act()\nsys.settrace(t)\ndef f(): pass\nf()",
    "in a callback of gc": "import gc\ndef c(*_):\n    gc.callbacks.clear()\n    act()\ngc.callbacks.append(c)\ngc.collect()",
    "in a weak reference": "import weakref\nclass A: pass\na = A()\nw = weakref.ref(a, lambda _: act())\ndel a",
    "in a finally": "try: pass\nfinally: act()",
    "in an except": "try: 1 / 0\nexcept ZeroDivisionError: act()",
    "in exec": "exec('act()')",
    "in eval": "eval('act()')",
    "by the link": "import gc\nlink = next(o for o in gc.get_objects() if type(o).__name__ == 'Link')\ntype(act)('act', link, act._encode)()",
    "by hand": program(call(77), wait_s=0.3),
}


class Governed:
    """One executor whose hook says what the test wants; it counts."""

    def __init__(self, executor: HardenedExecutor) -> None:
        self.executor = executor
        self.verdict = Decision.allow()
        self.asked = self.ran = self.seen = 0

    def judge(self, call: ToolCall) -> Decision:
        self.asked += 1
        return self.verdict

    def act(self) -> str:
        self.ran += 1
        return "done"

    def attempt(self, code: str) -> None:
        """Run it; what it raises is the code's own affair."""
        self.asked = self.ran = 0
        self.seen = self.executor.trail.count
        with contextlib.suppress(InterpreterError):
            self.executor(code)
        if code == ROUTES["by hand"]:
            self.executor.cleanup()  # the runner's own count of calls is behind now

    def recorded(self, kind: str) -> int:
        return sum(record["kind"] == kind for record in list(self.executor.trail.records())[self.seen :])


@pytest.fixture(scope="module", params=DECLARED)
def governed(request: pytest.FixtureRequest) -> Iterator[Governed]:
    """One box for all routes: they do each other no harm."""

    def hook(call: ToolCall) -> Decision:
        return made.judge(call)

    executor = HardenedExecutor(["*"], backend=backend(str(request.param)), gate="off", governance=hook)
    made = Governed(executor)
    executor.send_tools({"act": made.act})
    yield made
    executor.cleanup()


@proves("governance.routes", "governance.record")
@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_every_route_is_judged_and_recorded(governed: Governed, route: str) -> None:
    """[R14] Whatever way the code takes, the hook is asked once, the tool runs once, and both stand on record."""
    governed.verdict = Decision.allow()
    governed.attempt(route)
    assert (governed.asked, governed.ran) == (1, 1)
    assert governed.recorded("intent") == governed.recorded("outcome") == 1


@proves("governance.routes")
@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_no_route_runs_a_refused_tool(governed: Governed, route: str) -> None:
    """[R11] The same ways, where the hook says no: the tool does not run, and the refusal stands on record."""
    governed.verdict = Decision.deny("no")
    governed.attempt(route)
    assert (governed.asked, governed.ran) == (1, 0)
    assert governed.recorded("refusal") == 1


# ---- names and arguments ---------------------------------------------------------------------------------

NAMES = ("Act", "ACT", "acts", "__class__", "system", "eval", "final_answer", "аct", "_act", "act_")


@proves("governance.names", "governance.record")
@pytest.mark.parametrize("name", NAMES)
def test_only_the_exact_name_is_a_tool(make_executor: MakeExecutor, name: str) -> None:
    """[R12] A name that is like a tool's runs nothing, and the attempt stands on record."""
    executor, ran = make_executor(gate="off"), []
    executor.send_tools({"act": lambda: ran.append(1)})
    executor(program(call(5, name), wait_s=0.2))
    assert ran == []
    assert "refusal" in [record["kind"] for record in executor.trail.records()]


class Mail(Tool):  # type: ignore[misc]
    """A tool with declared inputs; it keeps what it got."""

    name = "mail"
    description = "sends a mail"
    inputs: ClassVar = {
        "to": {"type": "string", "description": "who"},
        "times": {"type": "integer", "description": "how often", "nullable": True},
    }
    output_type = "string"

    def __init__(self) -> None:
        super().__init__()
        self.got: list[object] = []

    def forward(self, to: str, times: int | None = None) -> str:
        self.got.append((to, times))
        return "sent"


ILL_TYPED = {
    "nothing": "mail()",
    "too many": "mail('a', 1, 2)",
    "unknown": "mail('a', cc='b')",
    "twice": "mail('a', to='b')",
    "a list for text": "mail(['a'])",
    "bytes for text": "mail(b'a')",
    "a path for text": "import pathlib\nmail(pathlib.Path('a'))",
    "none for text": "mail(None)",
    "a bool for a number": "mail('a', True)",
    "a float for a number": "mail('a', 1.0)",
    "text for a number": "mail('a', '1')",
    "a dict with more": "mail({'to': 'a', 'cc': 'b'})",
    "two dicts": "mail({'to': 'a'}, {'to': 'b'})",
    "the switch of smolagents": "mail('a', sanitize_inputs_outputs=True)",
}


@proves("governance.schema", "governance.record")
@pytest.mark.parametrize("code", ILL_TYPED.values(), ids=ILL_TYPED.keys())
def test_arguments_that_do_not_fit_reach_nobody(make_executor: MakeExecutor, code: str) -> None:
    """[R12] A call that does not fit the declared inputs is refused before the hook and the tool, and is on record."""
    asked: list[ToolCall] = []
    executor = make_executor(gate="off", governance=lambda call: asked.append(call) or Decision.allow())
    mail = Mail()
    executor.send_tools({"mail": mail})
    with pytest.raises(InterpreterError, match="TypeError"):
        executor(code)
    assert (mail.got, asked) == ([], [])
    assert "refusal" in [record["kind"] for record in executor.trail.records()]


@proves("governance.schema")
def test_arguments_that_fit_arrive(make_executor: MakeExecutor) -> None:
    """The ways in which smolagents lets a tool be called work; a subclass arrives as its base."""
    executor, mail = make_executor(gate="off"), Mail()
    executor.send_tools({"mail": mail})
    executor("mail('a')\nmail('b', 2)\nmail(to='c')\nmail({'to': 'd', 'times': 3})")
    executor("class S(str):\n    def __str__(self): return 'other'\nmail(S('e'))")
    assert mail.got == [("a", None), ("b", 2), ("c", None), ("d", 3), ("e", None)]
    assert {type(to) for to, _ in mail.got} == {str}  # type: ignore[misc]


@proves("governance.judged")
def test_what_was_judged_is_what_runs(make_executor: MakeExecutor) -> None:
    """[R12] Code that changes its arguments while they are judged changes nothing."""
    judged: list[object] = []
    got: list[object] = []
    executor = make_executor(
        gate="off", governance=lambda call: judged.append(list(call.arguments["x"])) or Decision.allow()
    )
    executor.send_tools({"act": lambda x: got.append(list(x))})
    executor("""
import threading
x = ['safe'] * 100
stop = threading.Event()
def swap():
    while not stop.is_set():
        x[0] = 'evil'
        x[0] = 'safe'
t = threading.Thread(target=swap)
t.start()
for _ in range(50): act(x)
stop.set()
""")
    assert judged == got
    assert len(got) == 50


class Database:
    """A host object that cannot cross."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"database {self.name}"


@proves("governance.judged", "governance.handles")
def test_a_forged_description_of_a_handle_is_not_believed(make_executor: MakeExecutor) -> None:
    """What a hook reads about a host object is the host's own word: the box cannot call the admin's database harmless."""
    used: list[str] = []

    def hook(call: ToolCall) -> Decision:
        handle = call.arguments.get("db")
        return Decision.deny("not the admin's") if "admin" in getattr(handle, "text", "") else Decision.allow()

    executor = make_executor(gate="off", governance=hook)
    executor.send_tools({"connect": lambda: Database("admin"), "query": lambda db: used.append(db.name)})
    honest = "db = connect()\ntry:\n    query(db)\nexcept PermissionError: refused = True\nrefused"
    assert executor(honest).output is True
    for forged in ("type(db)(db.id, 'Reader', 'harmless')", "[type(db)(db.id, 'Reader', 'harmless')]"):
        try:
            executor(f"query({forged})")
        except InterpreterError:
            continue
    assert used == []


@proves("governance.handles")
@pytest.mark.parametrize("other", ["'0' * 32", "db.id.upper()", "db.id[:-1]", "''", "db.id + ' '"])
def test_a_guessed_handle_reaches_nobody(make_executor: MakeExecutor, other: str) -> None:
    """An id that the host did not give is refused before any tool runs."""
    used: list[object] = []
    executor = make_executor(gate="off")
    executor.send_tools({"connect": lambda: Database("admin"), "query": lambda db: used.append(db)})
    with pytest.raises(InterpreterError):
        executor(f"db = connect()\nquery(type(db)({other}, db.type_name, db.text))")
    assert used == []


@proves("governance.handles")
def test_a_handle_is_worth_nothing_in_another_session(make_executor: MakeExecutor) -> None:
    """[R16] The id of one executor's object means nothing to another."""
    used: list[object] = []
    first, second = make_executor(gate="off"), make_executor(gate="off")
    for executor in (first, second):
        executor.send_tools({"connect": lambda: Database("x"), "query": used.append})
    stolen = first("db = connect()\ndb.id").output
    with pytest.raises(InterpreterError):
        second(f"db = connect()\nquery(type(db)({stolen!r}, 'Database', 'x'))")
    assert used == []


class Account(Database):
    """A host object of which two with one name are equal, and count as one in a set and as a key."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Account) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


@proves("governance.judged", "governance.handles")
@pytest.mark.parametrize("argument", ["{a: 1, b: 2}", "{a, b}", "[{(a, 1): 1}]", "{frozenset({a})}", "[{'x': {b}}]"])
def test_what_was_judged_does_not_melt_into_one(make_executor: MakeExecutor, argument: str) -> None:
    """[R12] References cannot be keys or in a set, where the host's equal objects would be fewer than were judged."""
    seen: list[object] = []
    executor = make_executor(gate="off", governance=lambda call: seen.append(call) or Decision.allow())
    executor.send_tools({"account": lambda: Account("x"), "pay": lambda x: seen.append(x)})
    executor("a, b = account(), account()")
    executor("type(a).__hash__ = lambda self: hash(self.id)")
    judged = len(seen)
    with pytest.raises(InterpreterError, match="TypeError"):
        executor(f"pay({argument})")
    assert len(seen) == judged
    executor("pay([a, b, {'x': a}])")
    assert len(seen) == judged + 2


# ---- hooks -----------------------------------------------------------------------------------------------


def _raise(call: ToolCall) -> Decision:
    raise RuntimeError("hook is broken")


@proves("governance.hooks")
@pytest.mark.parametrize("hook", [_raise, lambda call: None, lambda call: True, lambda call: "allow", lambda call: 1])
def test_a_hook_that_does_not_decide_denies(make_executor: MakeExecutor, hook: Any) -> None:
    """[R11] An exception, None, and anything that is no Decision deny."""
    ran: list[int] = []
    executor = make_executor(gate="off", governance=hook)
    executor.send_tools({"act": lambda: ran.append(1)})
    with pytest.raises(InterpreterError, match="PermissionError"):
        executor("act()")
    assert ran == []


@proves("governance.hooks")
def test_after_the_final_answer_no_tool_runs(make_executor: MakeExecutor) -> None:
    """[R13] Calls behind the final answer, also those by hand and in flight, reach nobody."""
    ran: list[int] = []
    executor = make_executor(gate="off")
    executor.send_tools({"act": lambda: ran.append(1), "final_answer": lambda x: x})
    lies = (call(1, "final_answer", ["first"]), call(2), call(3, "final_answer", ["second"]), call(4), log("late"))
    found = executor(program(*lies, wait_s=10))
    assert (found.output, found.is_final_answer, found.logs) == ("first", True, "")
    assert ran == []

"""The pytest plugin under which upstream's test_local_python_executor.py runs, in a process of its own.

`-p tests.upstream.plugin --hardened-backend NAME`. It swaps the executor in, leaves out the cases of deselected.txt (and
fails when an entry there matches nothing), and judges the security cases by what they do outside the box instead of by
the words with which the AST interpreter refuses them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tests.upstream.swap import Swap

LIST = Path(__file__).with_name("deselected.txt")
# A class and a test whose cases are judged by their effect outside the box.
BY_EFFECT = frozenset({"TestLocalPythonExecutorSecurity", "test_dangerous_builtins_calls_are_blocked"})
TALLY = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The backend under test, and where the counts go."""
    parser.addoption("--hardened-backend", required=True)
    parser.addoption("--hardened-tally", type=Path, required=True)


def deselected() -> dict[tuple[str, str], str]:
    """(test or class, text in the case's id) -> why it is left out. Raises ValueError for a line without a reason."""
    entries = {}
    for line in LIST.read_text().splitlines():
        if line and not line.startswith("#"):
            name, separator, reason = line.partition("  # ")
            if not separator or not reason.strip():
                raise ValueError(f"deselected.txt: no reason given in {line!r}")
            test, _, case = name.strip().partition(" ~ ")
            entries[test, case] = reason
    return entries


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the list names; an entry that names nothing is stale and fails the run."""
    entries, used = deselected(), set()
    kept, left_out = [], []
    for item in items:
        test, _, case = item.nodeid.partition("::")[2].partition("[")
        names = (test, test.partition("::")[0])
        matches = {(name, text) for name, text in entries if name in names and text in case}
        used |= matches
        (left_out if matches else kept).append(item)
    stale = sorted(" ~ ".join(entry) for entry in entries.keys() - used)
    if stale:
        raise pytest.UsageError(f"deselected.txt names cases that do not exist: {stale}")
    config.stash[TALLY] = Counter(deselected=len(left_out))
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Write the counts for whoever started the run."""
    tally = config.stash.get(TALLY, Counter())
    for outcome in ("passed", "failed", "error", "skipped"):
        tally[outcome] = len(terminalreporter.stats.get(outcome, []))
    config.getoption("--hardened-tally").write_text(json.dumps(tally))


@pytest.fixture(autouse=True)
def _swapped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    swap = Swap(request.config.getoption("--hardened-backend"))
    module, canary = request.module, tmp_path / "canary"
    monkeypatch.setattr(module, "evaluate_python_code", swap.evaluate)
    monkeypatch.setattr(module, "LocalPythonExecutor", swap.executor)
    monkeypatch.setattr(module.TestEvaluatePythonCode, "assertDictEqualNoPrint", _equal_but_for_counters)
    if getattr(request.cls, "__name__", "") in BY_EFFECT or request.node.name in BY_EFFECT:
        monkeypatch.setattr(module, "pytest", _LenientPytest)
        monkeypatch.setattr(module, "does_not_raise", _LenientPytest.raises)
        monkeypatch.setattr(module, "LocalPythonExecutor", lambda imports: _Armed(swap.executor(imports), canary))
    yield
    swap.close()
    assert not canary.exists(), "the payload had an effect outside the box"


def _equal_but_for_counters(_self: object, left: dict[str, object], right: dict[str, object]) -> None:
    """Upstream's own comparison leaves out the prints; the AST interpreter's operation counter has no twin here."""
    internal = ("_print_outputs", "_operations_count")
    assert {k: v for k, v in left.items() if k not in internal} == {k: v for k, v in right.items() if k not in internal}


class _Armed:
    """Runs payloads in the box, armed."""

    def __init__(self, executor: Any, canary: Path) -> None:
        self._executor = executor
        self._canary = canary
        self.send_tools = executor.send_tools

    def __call__(self, payload: str) -> object:
        return self._executor(armed(payload, self._canary))


def armed(payload: str, canary: Path) -> str:
    """The payload with its harmless shell command replaced by one that leaves a trace."""
    trace = f"touch {canary}"
    payload = payload.replace("system(':')", f"system({trace!r})").replace('system(":")', f"system({trace!r})")
    return payload.replace('"-c", ":"', f'"-c", {trace!r}')


class _AnyWords(str):
    """What a lenient `raises` says was raised."""

    __slots__ = ()

    def __contains__(self, _words: object) -> bool:
        return True

    def __str__(self) -> str:
        return self  # str() would make a plain copy


class _LenientPytest:
    """Real CPython may run such a payload, or refuse it in words of its own; only its effect outside counts."""

    mark = pytest.mark

    @staticmethod
    @contextmanager
    def raises(*_expected: object, **_match: object) -> Iterator[SimpleNamespace]:
        with suppress(Exception):
            yield SimpleNamespace(value=_AnyWords())

    @staticmethod
    def skip(_reason: str) -> None:
        """Run it all the same."""

    @staticmethod
    def importorskip(name: str) -> ModuleType:
        """Import it, or fail."""
        return import_module(name)

"""An engine of the tests' own for the whole suite; an executor on it whose trail is kept in a file."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import Engine

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.audit.verify import VerifyReport, verify
from smolagents_hardened.backends.docker import DockerBackend
from smolagents_hardened.errors import BackendError

LIMITS = Limits(wall_s=2.0, grace_s=0.5, start_s=10.0)


@pytest.fixture(scope="session")
def one_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Started and loaded once: that takes longer than all the faults."""
    engine = Engine(tmp_path_factory.mktemp("engine"))
    try:
        engine.start()
        engine.load()
        yield engine
    finally:
        engine.close()


@pytest.fixture
def engine(one_engine: Engine) -> Iterator[Engine]:
    """The engine, whole again before and after each test."""
    one_engine.heal()
    yield one_engine
    one_engine.heal()


class Subject:
    """An executor on that engine with one tool, which notes its calls and may do something to the engine."""

    def __init__(self, engine: Engine, audit: Path) -> None:
        self.engine = engine
        self.audit = audit
        self.ran: list[str] = []
        self.during_call: Callable[[], object] = lambda: None
        self.backend = DockerBackend(engine.client())
        self.executor = HardenedExecutor(
            ["*"], backend=self.backend, audit=audit, limits=LIMITS, additional_functions={"note": self._note}
        )

    def _note(self, text: str) -> str:
        self.ran.append(text)
        self.during_call()
        return f"noted {text}"

    def report(self) -> VerifyReport:
        """What the trail's check says."""
        return verify(self.audit)

    def nothing_is_left(self) -> bool:
        """Whether the engine has no box of this process any more; what it made late goes with the box after."""
        if self.engine.boxes():
            self.executor.start()
            self.executor.cleanup()
        return self.engine.boxes() == []

    def close(self) -> None:
        with contextlib.suppress(BackendError):
            self.executor.close()


@pytest.fixture
def subject(engine: Engine, tmp_path: Path) -> Iterator[Subject]:
    """An executor on the tests' own engine."""
    made = Subject(engine, tmp_path / "audit.jsonl")
    yield made
    engine.heal()
    made.close()
    gc.collect()

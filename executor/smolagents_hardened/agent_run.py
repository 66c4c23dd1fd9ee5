"""Stands in the place of an agent's `run`, `interrupt`, last word and ends of steps: when a run begins and ends, why.

One for each agent, however many govern it. smolagents tells of steps only: a run that fails, is stopped, is interrupted
between two steps, or is given up half way has no last step. And it tells no callback of a step for which an earlier one
has raised, and keeps every callback for good.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol
from weakref import ref

from smolagents import ActionStep, MultiStepAgent
from smolagents.memory import MemoryStep, PlanningStep
from smolagents.monitoring import Timing
from smolagents.utils import AgentError

from smolagents_hardened.below import interrupt_below
from smolagents_hardened.errors import ConfigError, HardenedError, RunStopped
from smolagents_hardened.governance.latch import Ended, Latch
from smolagents_hardened.governance.served import Value
from smolagents_hardened.toolbox import Told

_NAME = "_smolagents_hardened_run"
_HANDLED: ContextVar[BaseException | None] = ContextVar("smolagents_hardened_handled", default=None)


class Follower(Protocol):
    """One that is told of the runs of an agent. It is held weakly: whoever made it keeps it."""

    @property
    def latch(self) -> Latch:
        """What ends the agent's run under this follower."""

    def begin(self, task: str) -> None:
        """A run begins with this task."""

    def step_is_over(self, step: MemoryStep) -> None:
        """May raise, to end the run."""

    def ended(self) -> Ended | None:
        """What has ended the run, or goes on above it."""

    def interrupted(self, error: AgentError) -> None:
        """The run ends with this interrupt: it is to be on record."""

    def run_is_over(self) -> None:
        """However it ended."""

    def resume(self, latch: Latch) -> None:
        """A run within another one is over, which goes on under this latch of its own."""

    def is_meant(self) -> bool:
        """Whether it governs what the agent does now: one of them does."""

    def answer(self, text: object) -> Value | Told:
        """Judge what the agent answers when its steps are used up."""

    def close(self) -> None:
        """Follow it no more."""


class AgentRun:
    """Made by `run_of`. `is_on` while a run goes on; one given up half way, until its generator is closed."""

    def __init__(self, agent: MultiStepAgent) -> None:
        self.agent = agent
        self.dispatcher: Any = None  # told first: see dispatch.py
        self._followers: list[ref[Follower]] = []
        self.run: object = None  # an object of its own for the latest run
        self._runs: dict[object, ref[Generator[Any, None, None]] | None] = {}  # those that are on, and their streams
        self._around: dict[object, list[tuple[Follower, Latch]]] = {}  # what the runs that each began in went on under
        self._is_followed = False  # whether anybody was told that one of them began
        self._marks = {
            "run": self,
            "interrupt": self.interrupt,
            "provide_final_answer": self.last_word,
            "_finalize_step": self.finalize,
            "__reduce_ex__": self._refuse_copy,
        }

    @property
    def _who(self) -> str:
        return f"agent {self.agent.name or 'agent'!r}"

    @property
    def is_on(self) -> bool:
        """Whether a run goes on."""
        return bool(self._runs)

    @property
    def followers(self) -> list[Follower]:
        """Those that are alive, in the order in which they came."""
        return [found for one in self._followers if (found := one()) is not None]

    def follow(self, follower: Follower) -> None:
        """Tell this one of all that comes."""
        self._followers = [*map(ref, self.followers), ref(follower)]
        vars(self.agent).update(self._marks)

    def leave(self, follower: Follower) -> None:
        """Tell it nothing any more. Idempotent. A run that nobody follows asks its model nothing more."""
        self._followers = [ref(one) for one in self.followers if one is not follower]
        if self.is_on and not self.followers:
            type(self.agent).interrupt(self.agent)
        self.let_go()

    def let_go(self) -> None:
        """The agent is its own again, if nobody follows it and no run is on."""
        if self.followers or self.is_on:
            return
        for name, mark in self._marks.items():
            if vars(self.agent).get(name) == mark:
                del vars(self.agent)[name]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run = self._begin(str(kwargs.get("task", args[0] if args else "")))
        with self._failing(run), _within_handler():
            result = type(self.agent).run(self.agent, *args, **kwargs)
        if isinstance(result, Generator):  # or what a subclass or a tracer has wrapped it in
            stream = self._streamed(result, run)
            self._runs[run] = ref(stream)
            next(stream)  # begun, so that it ends the run even if it is closed or dropped before its first step
            return stream
        self._end(run)
        return result

    def interrupt(self, reason: str | None = None) -> None:
        """In the place of `agent.interrupt`: nothing begins any more in its run and in those of the agents below.

        What waits, or is code in a box, ends now; a tool that runs is awaited. The run then ends with the reason.
        """
        type(self.agent).interrupt(self.agent)
        for follower in self.followers:
            follower.latch.interrupt(reason, of_run=True)
        interrupt_below(self.agent.managed_agents)

    def last_word(self, task: str) -> Any:
        """In the place of `agent.provide_final_answer`, which asks the model when the steps are used up. What it says
        is judged and recorded as a call of `final_answer`, though none is made; a refusal's text stands in its place.
        """
        if self.agent.interrupt_switch:
            raise AgentError("Agent interrupted.", self.agent.logger)  # as smolagents does before each step
        message = type(self.agent).provide_final_answer(self.agent, task)
        judge = next((one for one in self.followers if one.is_meant()), None)
        if judge is None:
            self.refuse_left()
            return message
        served = judge.answer(message.content)
        message.content = served.value if isinstance(served, Value) else served.message
        return message

    def finalize(self, step: MemoryStep) -> None:
        """In the place of `agent._finalize_step`, which calls the step callbacks. Whatever one of them raises, the step
        is charged, and what has ended the run ends it.
        """
        try:
            type(self.agent)._finalize_step(self.agent, step)
        finally:
            if self.dispatcher is not None:
                self.dispatcher.step_is_over(step)
            for follower in self.followers:
                follower.step_is_over(step)
        if isinstance(step, PlanningStep) and not self.followers:
            self.refuse_left()  # smolagents looks before a plan, and not behind it

    def refuse_left(self) -> None:
        """For what nobody governs. Raises HardenedError within a run that began governed: it must not go on without."""
        if self.is_on and self._is_followed:
            raise HardenedError(
                f"{self._who}: what governed this run was closed while it went on; nothing more is done in it"
            )

    def _streamed(self, steps: Generator[Any, None, Any], run: object) -> Generator[Any, None, None]:
        with self._failing(run), closing(steps):
            yield None
            thrown: BaseException | None = None
            with suppress(StopIteration):
                while True:
                    thrown = thrown if run in self._runs else self._superseded()
                    with _within_handler():
                        step = next(steps) if thrown is None else steps.throw(thrown)
                    thrown = None
                    try:
                        yield step
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001  # it is smolagents' to raise, after the step
                        thrown = error
        self._end(run)

    def _superseded(self) -> HardenedError:
        return HardenedError(f"{self._who}: another run of it has begun, so that nothing more is done in this one")

    def _begin(self, task: str) -> object:
        for earlier, steps in tuple(self._runs.items()):
            if steps is not None and not getattr(steps(), "gi_running", False):  # given up half way
                self._end(earlier)
        self._is_followed = bool(self.followers) or (self.is_on and self._is_followed)
        self.run = run = object()
        self._around[run] = [(one, one.latch) for one in self.followers] if self.is_on else []
        self._runs[run] = None
        try:
            for follower in self.followers:
                follower.begin(task)
        except BaseException:
            self._end(run)
            raise
        return run

    @contextmanager
    def _failing(self, run: object) -> Iterator[None]:
        """What leaves this block ends the run."""
        try:
            yield
        except BaseException as error:
            try:
                interrupted = self._explained(error)
            finally:
                self._end(run)
            if interrupted is None:
                raise
            raise interrupted from error

    def _end(self, run: object) -> None:
        if run not in self._runs:
            return  # given up before
        del self._runs[run]
        around = self._around.pop(run)
        if self.is_on:  # it was a part of another one, or went on beside it
            for follower, latch in around:
                if follower in self.followers:
                    follower.resume(latch)
            return
        if self.dispatcher is not None:
            self.dispatcher.let_go()
        for follower in self.followers:
            follower.run_is_over()
        self.let_go()

    def _explained(self, error: BaseException) -> AgentInterrupted | None:
        """What is to be raised for smolagents' own "Agent interrupted.", which it raises between two steps. What has
        ended a plan, or no step, is remembered, too.
        """
        if isinstance(error, RunStopped | AgentInterrupted):
            self._remember(StoppedError(error) if isinstance(error, RunStopped) else error)
        if not isinstance(error, AgentError) or isinstance(error, AgentInterrupted) or not self.agent.interrupt_switch:
            return None
        for follower in self.followers:
            why = follower.ended()
            if why is not None and why.error is None:
                made = AgentInterrupted(why.reason, self.agent.logger)
                self._remember(made)
                follower.interrupted(made)
                return made
        if not self.followers:
            self.refuse_left()
        return None

    def _remember(self, error: AgentInterrupted | StoppedError) -> None:
        """The reason is in the memory of the step that it ended; or, where it ended none, in one of its own."""
        steps = self.agent.memory.steps
        if not any(error.is_told(step) for step in steps[-2:]):
            now = time.time()
            steps.append(ActionStep(step_number=self.agent.step_number, timing=Timing(now, now), error=error))

    def _refuse_copy(self, _protocol: object) -> NoReturn:
        """What `copy` and `pickle` call: a copy would run the original, with its tools."""
        raise ConfigError(f"{self._who} is governed and cannot be copied: make another agent, and govern it")


@contextmanager
def _within_handler() -> Iterator[None]:
    """What is handled already where smolagents is called ends nothing of this run: it may begin in an `except`."""
    token = _HANDLED.set(sys.exception())
    try:
        yield
    finally:
        _HANDLED.reset(token)


def on_its_way() -> BaseException | None:
    """What leaves the step that is over."""
    found = sys.exception()
    return None if found is _HANDLED.get() else found


class AgentInterrupted(AgentError):  # type: ignore[misc]  # smolagents ships no types
    """What an interrupted run ends in: smolagents' own words, and the reason."""

    def __init__(self, reason: str, logger: Any) -> None:
        super().__init__(f"Agent interrupted: {reason}", logger)
        self.reason = reason

    def is_told(self, step: MemoryStep) -> bool:
        """Whether the step's memory has it: in these words, or in those of what did not begin any more."""
        error = getattr(step, "error", None)
        return error is not None and f"interrupted: {self.reason}" in str(error)


class StoppedError(AgentError):  # type: ignore[misc]  # smolagents ships no types
    """What the memory of a stopped step holds; not raised, so it is not logged as an error of the agent."""

    def __init__(self, stopped: RunStopped) -> None:
        Exception.__init__(self, stopped.reason)
        self.message = f"The run was stopped: {stopped.reason}"

    def is_told(self, step: MemoryStep) -> bool:
        """Whether the step's memory has it."""
        error = getattr(step, "error", None)
        return isinstance(error, StoppedError) and error.message == self.message


def run_of(agent: MultiStepAgent) -> AgentRun:
    """The one of this agent."""
    found = vars(agent).get(_NAME)
    if not isinstance(found, AgentRun) or found.agent is not agent:  # a copy has that of its original
        found = vars(agent)[_NAME] = AgentRun(agent)
    return found

"""What an agent's steps tell a governor (a run begins, tokens are used); how they are ended, and what that leaves.

RunStopped by itself is no Exception to smolagents: the step would stay in memory without error and observations. And an
interrupt by itself ends a run only before its next step, of which there may be none, and for no reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from smolagents import ActionStep, MultiStepAgent, ToolCallingAgent
from smolagents.memory import MemoryStep, PlanningStep
from smolagents.utils import AgentError

from smolagents_hardened.agent_run import AgentInterrupted, StoppedError, on_its_way, run_of
from smolagents_hardened.errors import AuditError, ConfigError, RunStopped
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.latch import Ended, Latch, ended, is_in_force
from smolagents_hardened.governance.served import Value
from smolagents_hardened.toolbox import Told


class AgentSteps:
    """What one agent's runs and steps are to one governor. `name` is the one that its budgets know.

    With `begins` a run of the agent is one to the governor; a managed agent's is a part of its manager's. What has
    ended a run (a stop, an interrupt, a trail that cannot be written) is raised after the step, if that is needed.
    """

    def __init__(self, agent: MultiStepAgent, governor: Governor, name: str, *, begins: bool = True) -> None:
        self._agent = agent
        self._governor = governor
        self._name = name
        self._begins = begins
        self._own = Latch()  # a managed agent's: the governor's is that of its manager
        self.agents: tuple[ref[MultiStepAgent], ...] = ()  # whose steps they have been, one after the other
        self.answer: Callable[[object], Value | Told] = Value  # judges the last word
        self.logs: Callable[[], str] = str
        self.pictures: Callable[[], list[object]] = list  # that the model is to see
        self.is_meant: Callable[[], bool] = lambda: True  # an agent that two manage works for one of them at a time
        self._run = run_of(agent)
        self._run.follow(self)

    @property
    def latch(self) -> Latch:
        """What ends the run that is on."""
        return self._governor.latch if self._begins else self._own

    @property
    def is_on(self) -> bool:
        """Whether a run goes on."""
        return self._run.is_on

    def take_over(self, earlier: AgentSteps | NoSteps) -> None:
        """In the place of these: a run of their agents is none of the governor's any more, and not to pass for ours."""
        earlier.close()
        self.agents = (*[one for one in earlier.agents if one() is not None], ref(self._agent))

    def look(self, state: object = None) -> None:
        """What somebody calls by hand, while no run is on, is ended by nothing that came before it. Raises ConfigError
        for the state of an agent that begins a run unseen, since another has taken its executor over, or it another.
        """
        for one in self.agents:
            agent = one()
            if agent is not None and agent.state is state and self not in run_of(agent).followers:
                raise ConfigError(
                    f"agent {agent.name or 'agent'!r} is not attached to this executor any more: call attach(agent), or"
                    " give it an executor of its own"
                )
        if not self.is_on:
            self._renew()

    def close(self) -> None:
        """The governor is not told any more. Idempotent."""
        self._run.leave(self)

    def begin(self, task: str) -> None:
        """A run begins: its budgets are there anew, and nothing has ended it yet."""
        self._renew(is_held=True)
        if self._begins:
            self._governor.begin(self._name, task)

    def run_is_over(self) -> None:
        """What was begun in it and goes on keeps the latch that it began under."""
        self._renew()

    def resume(self, latch: Latch) -> None:
        """What has ended the run within ends the one around it, too, and smolagents forgets an interrupt in between."""
        inner = self.latch.ended
        if inner is not None and inner.of_run:
            latch.fail(inner.error) if inner.error is not None else latch.interrupt(inner.reason, of_run=True)
        if self._begins:
            self._governor.latch = latch
        else:
            self._own = latch
        outer = latch.ended
        if outer is not None and outer.of_run and outer.error is None:
            type(self._agent).interrupt(self._agent)

    def step_is_over(self, step: MemoryStep) -> None:
        """Charge its tokens, and where it was the run's last one by force, say why and end the run."""
        if not isinstance(step, ActionStep | PlanningStep) or not self.is_meant():
            return
        is_answered, left = getattr(step, "is_final_answer", False), None
        try:
            self._governor.spend(self._name, _tokens(step.token_usage))
            if not is_answered and isinstance(self._agent, ToolCallingAgent):
                left = self._governor.leave_ended()  # it has no snippet that would be refused
        except AuditError as error:
            self.latch.fail(error)  # of what has ended the run the first stays
        self._show(step)
        why = self.ended() or left
        if why is not None and (why.error is not None or not is_answered):
            self._end_run(step, why)

    def ended(self) -> Ended | None:
        """What has ended this run: itself, or whatever goes on above it."""
        for latch in (self.latch, self._governor.latch):
            if latch.ended is not None and latch.ended.of_run:
                return latch.ended
        return ended()

    def interrupted(self, error: AgentError) -> None:
        """On record, as a limit that was hit."""
        told = {"limit": "interrupted", "reason": str(error), "state_lost": False}
        self._governor.trail.append("limit", run=self._governor.run_id, step=self._agent.step_number, **told)

    def _renew(self, *, is_held: bool = False) -> None:
        """A latch of a run is never cleared: what goes on in a thread of it is not to go on under the next run."""
        if self._begins:
            self._governor.latch = Latch(is_held=is_held)
            return
        self._own = Latch()
        managers = self._governor.latch
        if not managers.is_held and not is_in_force(managers):  # a managed agent that runs by itself
            self._governor.latch = Latch()

    def _show(self, step: ActionStep | PlanningStep) -> None:
        """What its code has shown becomes part of what the model observes."""
        if isinstance(step, ActionStep) and step.code_action is not None and (pictures := self.pictures()):
            step.observations_images = [*(step.observations_images or ()), *pictures]

    def _end_run(self, step: ActionStep | PlanningStep, why: Ended) -> None:
        """Say why in the step's memory and in the trail, where what has cut the step short has not, and raise it."""
        error = why.error or AgentInterrupted(why.reason, self._agent.logger)
        is_untold = isinstance(error, AgentInterrupted) and not error.is_told(step)
        if isinstance(error, RunStopped) and isinstance(step, ActionStep):
            step.error = StoppedError(error)
            step.observations = "Execution logs:\n" + self.logs() if self.logs() else step.observations
        elif is_untold and isinstance(step, ActionStep):
            step.error = error
        leaving = on_its_way()  # that error itself, or a person's own way out
        is_raised = leaving is not error and not isinstance(leaving, KeyboardInterrupt | SystemExit | GeneratorExit)
        if is_raised:
            self._agent.memory.steps.append(step)  # as smolagents would do next
        if is_untold:
            self.interrupted(error)
        if is_raised:
            raise error


class NoSteps:
    """In their place for an executor that was told of no agent: as far as it knows, all is called by hand."""

    is_on = False
    agents: tuple[ref[MultiStepAgent], ...] = ()

    def __init__(self, governor: Governor) -> None:
        self._governor = governor

    def look(self, _state: object = None) -> None:
        """Has a run begun? What has ended the one before, or what somebody ran without one, is over then."""
        self._governor.latch = Latch()
        if self._governor.counts_tokens:
            raise ConfigError(
                "a budget in tokens, or a price for them, needs to know the agent: call attach(agent), or make it with"
                " hardened_agent(..., executor=executor) or executor_type='hardened'"
            )

    def close(self) -> None:
        """Nobody is told of anything."""


def _tokens(usage: Any) -> tuple[int, int] | None:
    """In and out, as a model's library reports them; what is no count is no report."""
    counts = getattr(usage, "input_tokens", None), getattr(usage, "output_tokens", None)
    return counts if all(type(count) is int and count >= 0 for count in counts) else None  # type: ignore[return-value]

"""The answer that smolagents asks a model for when the steps are used up: no tool is called, but it is judged, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smolagents import MultiStepAgent
from smolagents.utils import AgentError

from smolagents_hardened.governance.served import Value
from smolagents_hardened.toolbox import Told


class LastWord:
    """In the place of one agent's `provide_final_answer`: judged and recorded as a call of `final_answer`.

    A refusal's text stands in the answer's place; after an interrupt AgentSteps ends the run in spite of it.
    """

    def __init__(self, agent: MultiStepAgent, judge: Callable[[object], Value | Told]) -> None:
        self._agent = agent
        self._judge = judge

    def __call__(self, task: str) -> Any:
        if self._agent.interrupt_switch:
            raise AgentError("Agent interrupted.", self._agent.logger)  # as smolagents does before each step
        message = type(self._agent).provide_final_answer(self._agent, task)
        served = self._judge(message.content)
        message.content = served.value if isinstance(served, Value) else served.message
        return message

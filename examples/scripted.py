"""A model that follows a script: no key, no network. It checks that what it reads is what the script expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smolagents import ChatMessage, Model


@dataclass(frozen=True, slots=True)
class Turn:
    """One step: the thought, the code, and a text that the model must have read by then."""

    thought: str
    code: str
    expects: str = ""


class ScriptedModel(Model):  # type: ignore[misc]
    """Says one Turn after the other. Raises AssertionError when the conversation does not hold what a Turn expects."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        super().__init__(model_id="scripted")
        self._turns = list(turns)
        self._said = 0

    def generate(self, messages: list[ChatMessage], **_options: Any) -> ChatMessage:
        turn = self._turns[self._said]
        read = "\n".join(str(message.content) for message in messages)
        if turn.expects not in read:
            raise AssertionError(f"turn {self._said}: the conversation lacks {turn.expects!r}")
        self._said += 1
        return ChatMessage(role="assistant", content=f"Thought: {turn.thought}\n<code>{turn.code}</code>")

"""Models that follow a script, for agents of both kinds, with and without streaming."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import smolagents.models
from smolagents import ChatMessage, Model
from smolagents.models import (
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    TokenUsage,
)


class CodeModel(Model):  # type: ignore[misc]
    """Says one snippet after the other; `read` holds the text of every conversation that it was shown."""

    def __init__(self, *snippets: str) -> None:
        super().__init__(model_id="code")
        self._snippets = list(snippets)
        self.read: list[str] = []

    @classmethod
    def from_dict(cls, model_dictionary: dict[str, Any]) -> CodeModel:
        """A saved model has nothing left to say."""
        return cls()

    def generate(self, messages: Sequence[ChatMessage], **_options: Any) -> ChatMessage:
        self.read.append("\n".join(str(message.content) for message in messages))
        text = f"Thought: next.\n<code>\n{self._snippets.pop(0)}\n</code>"
        return ChatMessage(MessageRole.ASSISTANT, text, token_usage=TokenUsage(1, 1))

    def generate_stream(self, messages: Sequence[ChatMessage], **options: Any) -> Iterator[ChatMessageStreamDelta]:
        text = str(self.generate(messages, **options).content)
        for start in range(0, len(text), 7):
            yield ChatMessageStreamDelta(content=text[start : start + 7], token_usage=TokenUsage(0, 1))


def make_known(model: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have smolagents find this class when it loads a saved agent: in its registry, or, before 1.25, in its module."""
    registry = getattr(smolagents.models, "MODEL_REGISTRY", None)
    if registry is not None:
        monkeypatch.setitem(registry, model.__name__, model)
    else:
        monkeypatch.setattr(smolagents.models, model.__name__, model, raising=False)


class PlanningModel(CodeModel):
    """Answers a call without stop sequences of a code step with a plan."""

    def generate(self, messages: Sequence[ChatMessage], **options: Any) -> ChatMessage:
        if options.get("stop_sequences") == ["<end_plan>"]:
            return ChatMessage(MessageRole.ASSISTANT, "1. Compute.\n<end_plan>", token_usage=TokenUsage(1, 1))
        return super().generate(messages, **options)


class CallModel(Model):  # type: ignore[misc]
    """Makes one round of tool calls after the other: each a list of (tool, arguments)."""

    def __init__(self, *rounds: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        super().__init__(model_id="calls")
        self._rounds = list(rounds)
        self.read: list[str] = []

    def generate(self, messages: Sequence[ChatMessage], **_options: Any) -> ChatMessage:
        self.read.append("\n".join(str(message.content) for message in messages))
        calls = [
            ChatMessageToolCall(ChatMessageToolCallFunction(dict(arguments), name), f"call_{number}", "function")
            for number, (name, arguments) in enumerate(self._rounds.pop(0))
        ]
        return ChatMessage(MessageRole.ASSISTANT, "", tool_calls=calls, token_usage=TokenUsage(1, 1))

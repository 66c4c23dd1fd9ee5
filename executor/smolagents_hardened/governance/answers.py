"""What foreign code has answered, as a value of our own.

Types lie in Python, so only an instance of exactly our class is looked at, and each field of it; what is kept of it has
plain texts and arguments that nobody else holds. What raises on the way is no answer either: see `asking.answered`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from smolagents_hardened.governance.arguments import private_copy
from smolagents_hardened.governance.call import STATUSES, CodeCall, ToolCall, ToolOutcome
from smolagents_hardened.governance.hooks import Decision, Verdict

_TEXTS = ("reason", "code", "prompt", "rule", "version", "by")
_PLAIN = frozenset({str})
_OTHERWISE = frozenset({Verdict.ALLOW, Verdict.DENY, Verdict.RESPOND, Verdict.STOP})
_FOR_CALLS = _OTHERWISE | {Verdict.MODIFY}
_FOR_CODE = frozenset({Verdict.ALLOW, Verdict.DENY, Verdict.STOP})
_FOR_RESULTS = frozenset({Verdict.DENY, Verdict.STOP})


class WrongAnswer(TypeError):
    """It is no answer. The message is the end of a sentence about who gave it; `code` is 'type', or 'none' for None."""

    def __init__(self, told: str, code: str = "type") -> None:
        super().__init__(told)
        self.code = code


def decision_of(answer: object) -> Decision:
    """The Decision that a hook has answered. Raises WrongAnswer."""
    if answer is None:
        raise WrongAnswer("returned None instead of a Decision", "none")
    if type(answer) is not Decision:
        raise WrongAnswer(f"returned {type(answer).__name__} instead of a Decision")
    if type(answer.verdict) is not Verdict:
        raise WrongAnswer("returned a Decision whose verdict is none")
    texts = (answer.reason, answer.code, answer.prompt, answer.rule, answer.version, answer.by)
    if not _PLAIN.issuperset(map(type, texts)):
        plain: dict[str, Any] = {name: _text(getattr(answer, name), f"Decision whose {name}") for name in _TEXTS}
        answer = replace(answer, **plain)
    if answer.verdict is Verdict.ASK:
        return _question(answer)
    if answer.verdict is Verdict.MODIFY:
        return replace(answer, arguments=_arguments(answer.arguments))
    return answer


def answer_of(answer: object, subject: ToolCall | CodeCall) -> Decision:
    """What a person's answer, a truth value or a Decision, means for what was asked about. Raises WrongAnswer."""
    if answer is True:
        return Decision.allow("a person approved it")
    if answer is False:
        return Decision.deny("a person refused it", code="approval_denied")
    decision = decision_of(answer)
    if decision.verdict not in (_FOR_CALLS if isinstance(subject, ToolCall) else _FOR_CODE):
        raise WrongAnswer(f"answered {decision.verdict}, which is no answer here")
    return decision


def outcome_of(answer: object, before: ToolOutcome) -> ToolOutcome | Decision | None:
    """What a hook has made of an outcome: nothing (None), another one, or a Decision that denies or stops.

    Raises WrongAnswer that names the field. How long the tool took is not the hook's to say.
    """
    if answer is None:
        return None
    if type(answer) is Decision:
        if answer.verdict not in _FOR_RESULTS:
            raise WrongAnswer("returned a Decision that is neither deny nor stop; None leaves a result as it is")
        return decision_of(answer)
    if type(answer) is not ToolOutcome:
        raise WrongAnswer(f"returned {type(answer).__name__} instead of a ToolOutcome, a Decision or None")
    return _sound(answer, before.duration_s)


def _sound(answer: ToolOutcome, duration_s: float) -> ToolOutcome:
    status = _text(answer.status, "ToolOutcome whose status")
    if status not in STATUSES:
        raise WrongAnswer(f"returned a ToolOutcome whose status is none of {', '.join(sorted(STATUSES))}")
    if not _is_seconds(answer.duration_s):
        raise WrongAnswer("returned a ToolOutcome whose duration_s is no number of seconds")
    if not isinstance(answer.labels, frozenset | set):
        raise WrongAnswer("returned a ToolOutcome whose labels are no set")
    labels = frozenset(_text(label, "ToolOutcome one of whose labels") for label in answer.labels)
    kind = _text(answer.error_type, "ToolOutcome whose error_type")
    message = _text(answer.error_message, "ToolOutcome whose error_message")
    if status in ("ok", "responded"):
        return ToolOutcome(status, answer.value, "", "", duration_s, labels)
    return ToolOutcome(status, None, kind, message, duration_s, labels)


def _question(ask: Decision) -> Decision:
    if ask.timeout_s is not None and not _is_seconds(ask.timeout_s):
        raise WrongAnswer("returned a Decision whose timeout_s is no number of seconds that can be waited")
    if type(ask.approvers) is not tuple:
        raise WrongAnswer("returned a Decision whose approvers are no tuple of names")
    ask = replace(ask, approvers=tuple(_text(name, "Decision one of whose approvers") for name in ask.approvers))
    silence: object = ask.otherwise
    if silence is None:
        return ask
    # Not nested: one answer to silence has none of its own.
    is_sound = type(silence) is Decision and type(silence.verdict) is Verdict and silence.verdict in _OTHERWISE
    if not is_sound or silence.otherwise is not None:  # type: ignore[attr-defined]
        raise WrongAnswer("returned an ask whose `otherwise` is no allow, deny, respond or stop")
    return replace(ask, otherwise=decision_of(silence))


def _arguments(arguments: object) -> dict[str, object]:
    if not isinstance(arguments, Mapping):
        raise WrongAnswer("returned modify without arguments by keyword")
    try:
        own = private_copy(arguments)
    except ValueError:
        raise WrongAnswer("returned arguments that cannot be read") from None
    if not _PLAIN.issuperset(map(type, own)):
        raise WrongAnswer("returned modify without arguments by keyword")
    return own


def _text(text: object, what: str) -> str:
    """As plain text: that of a StrEnum stands for its value."""
    if not issubclass(type(text), str):
        raise WrongAnswer(f"returned a {what} is no text")
    return str.__str__(text)


def _is_seconds(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= threading.TIMEOUT_MAX

"""Is what foreign code answered a Decision that is what it says? Types lie in Python, so each field is looked at."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from smolagents_hardened.governance.arguments import private_copy
from smolagents_hardened.governance.hooks import Decision, Verdict

_OTHERWISE = (Verdict.ALLOW, Verdict.DENY, Verdict.RESPOND, Verdict.STOP)


def fault(answer: object) -> str | None:
    """What is wrong with an answer that should be a Decision; None for a sound one."""
    if answer is None:
        return "None"
    if not isinstance(answer, Decision):
        return type(answer).__name__
    if not isinstance(answer.verdict, Verdict) or not _has_right_types(answer):
        return "a Decision with a field of the wrong type"
    if answer.otherwise is not None:
        return _fault_of_otherwise(answer.otherwise)
    if answer.verdict is Verdict.MODIFY and not _is_by_keyword(answer.arguments):
        return "modify without arguments by keyword"
    return None


def owned(decision: Decision) -> Decision:
    """The decision with arguments of its own: whoever made it may have kept them. Raises ValueError for cycles."""
    if decision.verdict is not Verdict.MODIFY or decision.arguments is None:
        return decision
    return replace(decision, arguments=private_copy(decision.arguments))


def _fault_of_otherwise(otherwise: object) -> str | None:
    inner = fault(otherwise)
    if inner is not None:
        return f"ask, otherwise {inner},"
    if isinstance(otherwise, Decision) and otherwise.verdict in _OTHERWISE:
        return None
    return "ask whose `otherwise` is no allow, deny, respond or stop"


def _is_by_keyword(arguments: object) -> bool:
    return isinstance(arguments, Mapping) and all(type(name) is str for name in arguments)


def _has_right_types(decision: Decision) -> bool:
    texts: tuple[object, ...] = (decision.reason, decision.code, decision.prompt, decision.rule, decision.version)
    timeout_s: object = decision.timeout_s
    is_limit = timeout_s is None or (isinstance(timeout_s, int | float) and 0 <= timeout_s <= threading.TIMEOUT_MAX)
    names: object = decision.approvers
    are_names = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
    return is_limit and are_names and all(isinstance(text, str) for text in texts)

"""Runs one snippet: parse, gate, compile, execute, and say what came of it. The only place that executes code."""

from __future__ import annotations

import ast
import builtins
import linecache
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Literal

from smolagents_hardened.guest import gate, rewrite, strict
from smolagents_hardened.guest.leaving import LeaveStep
from smolagents_hardened.guest.text import text_of

MESSAGE_CHARACTERS = 16 * 1024  # of one error, all in all
TRACE_FRAMES = 12


@dataclass(frozen=True, slots=True)
class Rules:
    """What CONFIGURE said about snippets."""

    authorized: tuple[str, ...] = ()
    tools: frozenset[str] = frozenset()
    gate: Literal["standard", "strict", "off"] = "standard"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a snippet failed: the exception's type and the message that the model reads."""

    type_name: str
    message: str


class Namespace:
    """The snippets' `__main__`: one module for the life of the box, so that state survives between steps."""

    def __init__(self) -> None:
        import sys

        self.module = ModuleType("__main__")
        self.names = self.module.__dict__
        self.names["__builtins__"] = builtins
        self.names.update({name: getattr(math, name) for name in gate.MATH_FUNCTIONS})
        sys.modules["__main__"] = self.module
        setattr(builtins, rewrite.LEAVE_NAME, LeaveStep)

    def replace_tools(self, old: frozenset[str], new: Mapping[str, Callable[..., object]]) -> None:
        """Take away the tools that are gone, put the new ones in; a user's tool wins over a function in scope."""
        for name in old - new.keys():
            self.names.pop(name, None)
            if name in gate.MATH_FUNCTIONS:
                self.names[name] = getattr(math, name)
        self.names.update(new)


@dataclass(frozen=True, slots=True)
class Value:
    """What the last statement gave."""

    value: object


def run(code: str, file: str, rules: Rules, namespace: Namespace) -> Value | Problem:
    """Run `code` in `namespace`. LeaveStep passes through; everything else is returned."""
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    prepared = _prepare(code, file, rules)
    if isinstance(prepared, Problem):
        return prepared
    names = namespace.names
    names.pop(rewrite.VALUE_NAME, None)
    names["__builtins__"] = builtins
    if rules.gate == "strict":
        names.update(strict.guards(_guarded_import(rules.authorized)))
    try:
        exec(prepared, names)  # noqa: S102  # nosec B102 - this is what the box is for
        return Value(names.pop(rewrite.VALUE_NAME, None))
    except LeaveStep:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a snippet raises, SystemExit included, is its outcome
        return _explain(error, code, file)


def _prepare(code: str, file: str, rules: Rules) -> CodeType | Problem:
    try:
        tree = ast.parse(code, file)
        if rules.gate != "off":
            gate.check(tree, rules.authorized, rules.tools)
        if rules.gate == "strict":
            tree, errors = strict.restrict(tree)
            if errors:
                return Problem("SyntaxError", "Code parsing failed: the strict gate refuses it. " + "; ".join(errors))
        return compile(rewrite.keep_value(rewrite.let_leaving_through(tree)), file, "exec", dont_inherit=True)
    except gate.Refused as refused:
        source = ast.get_source_segment(code, refused.statement) or ""
        return Problem("InterpreterError", _failed_at(source, "InterpreterError", str(refused)))
    except SyntaxError as error:
        return Problem(type(error).__name__, _not_parsed(error))
    except (
        ValueError,
        RecursionError,
        MemoryError,
    ) as error:  # NUL bytes, nesting beyond what the parser takes
        return Problem(type(error).__name__, f"Code parsing failed due to: {type(error).__name__}: {error}")


def _not_parsed(error: SyntaxError) -> str:
    text = (error.text or "").rstrip("\n")
    pointer = " " * max((error.offset or 1) - 1, 0) + "^"
    head = f"Code parsing failed on line {error.lineno} due to: {type(error).__name__}: {error}"
    return _bounded(f"{head}\n    {text}\n    {pointer}" if text else head)


def _failed_at(source: str, type_name: str, message: str) -> str:
    return f"Code execution failed at line '{_bounded(source, 2000)}' due to: {type_name}: {message}"


def _explain(error: BaseException, code: str, file: str) -> Problem:
    """The message: the failing top-level statement, the error, and a trace of the user's own lines."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith("<step ")]
    failed = next((frame for frame in own if frame.filename == file), None)
    source = _statement_at(code, (failed.lineno or 0, failed.colno or 0)) if failed else ""
    type_name = type(error).__name__
    message = _failed_at(source, type_name, text_of(error, MESSAGE_CHARACTERS))
    if len(own) > 1:
        rows = [f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}: {frame.line}' for frame in own]
        if len(rows) > TRACE_FRAMES:
            half = TRACE_FRAMES // 2
            rows = [*rows[:half], f"  ... {len(rows) - TRACE_FRAMES} more ...", *rows[-half:]]
        message += "\nTraceback (most recent call last):\n" + "\n".join(rows)
    return Problem(type_name, _bounded(message))


def _statement_at(code: str, place: tuple[int, int]) -> str:
    """The source of the top-level statement that spans this line and column; several may share a line."""
    for statement in ast.parse(code).body:
        if _start(statement) <= place <= (statement.end_lineno or 0, statement.end_col_offset or 0):
            return ast.get_source_segment(code, statement) or ""
    return ""


def _start(statement: ast.stmt) -> tuple[int, int]:
    decorators: Sequence[ast.expr] = getattr(statement, "decorator_list", [])
    return min([(statement.lineno, statement.col_offset), *((one.lineno, 0) for one in decorators)])


def _bounded(text: str, characters: int = MESSAGE_CHARACTERS) -> str:
    if len(text) <= characters:
        return text
    half = characters // 2
    return f"{text[:half]}\n... {len(text) - characters} characters left out ...\n{text[-half:]}"


def _guarded_import(authorized: tuple[str, ...]) -> Callable[..., object]:
    def guarded_import(name: str, *rest: object, **named: object) -> object:
        if not gate.is_authorized(name, authorized):
            raise ImportError(f"Import of {name} is not allowed. Authorized imports are: {sorted(authorized)}")
        return builtins.__import__(name, *rest, **named)  # type: ignore[arg-type]

    return guarded_import

"""The tools of one agent: exact name to callable, arguments bound to keywords and checked, results encoded.

A call arrives as a name, positionals and keywords that the box *claims*. It leaves as one mapping by keyword that was
checked against the tool's declared inputs; that mapping is what every hook judges and what the tool gets.
"""

from __future__ import annotations

import inspect
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Protocol, Union, get_args, get_origin

from smolagents_hardened.at_work import AT_WORK, at_work
from smolagents_hardened.calling import Caller
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import FINAL_ANSWER, ToolCall
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.latch import Latch, ended
from smolagents_hardened.governance.served import Failed, Refused, Value, refusal_text
from smolagents_hardened.handles import Handles
from smolagents_hardened.host_text import presentable, without_host_paths
from smolagents_hardened.limits import Limits
from smolagents_hardened.plain import pythons_own, unwrapped
from smolagents_hardened.step import Answer
from smolagents_hardened.wire.schema import is_name
from smolagents_hardened.wire.values import EncodeBudget, Encoded, EncodeError, encode

MESSAGE_BYTES = 4000  # of one tool's error
MOST_REFUSALS = 20  # on record for one step: a loop that probes must not fill the disk

# What a declared input type accepts. bool is no integer; "object" is anything structured, a data frame or a handle too.
_SCALARS = (str, int, float, bool, bytes, type(None))
_ACCEPTS: dict[str, Callable[[object], bool]] = {
    "any": lambda value: True,
    "null": lambda value: value is None,
    "string": lambda value: type(value) is str,
    "boolean": lambda value: type(value) is bool,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "array": lambda value: isinstance(value, list | tuple) or type(value).__name__ == "ndarray",
    "object": lambda value: not isinstance(value, _SCALARS) and not isinstance(value, list | tuple | PurePosixPath),
    "image": lambda value: not isinstance(value, _SCALARS),
    "audio": lambda value: not isinstance(value, _SCALARS),
}


# A plain function declares its inputs by annotation; what is not one of these is "any".
_ANNOTATED: dict[object, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object", NoneType: "null",
}  # fmt: skip


# What a parameter holds that takes whatever no other one does.
_GATHERED: dict[Any, Any] = {inspect.Parameter.VAR_POSITIONAL: list | tuple, inspect.Parameter.VAR_KEYWORD: Mapping}

_NAMED = {kind.__name__: kind for kind in (str, int, float, bool, list, dict)} | {"None": NoneType}


def _annotated(annotation: object) -> list[str]:
    """The types that an annotation names; none where it, or a part of it, is not in the table: anything goes then."""
    parts: list[object]
    if isinstance(annotation, str):  # one of the function's annotations names what is not there, so none is resolved
        parts = [_NAMED.get(part.strip().partition("[")[0]) for part in annotation.split("|")]
    else:
        is_union = isinstance(annotation, UnionType) or get_origin(annotation) is Union
        parts = [get_origin(one) or one for one in (get_args(annotation) if is_union else [annotation])]
    found = [_ANNOTATED[part] for part in parts if isinstance(part, type) and part in _ANNOTATED]
    return found if len(found) == len(parts) else []


def _wanted(declared: Mapping[str, Any]) -> list[str]:
    """The types of a declared input; MCP servers declare by JSON Schema, where `anyOf` and `oneOf` list several."""
    if declared.keys() & {"$ref", "allOf", "const", "not"}:
        return ["any"]  # the server knows; smolagents calls an input without a type a string
    parts = [one for word in ("anyOf", "oneOf") for part in declared.get(word, ()) for one in _wanted(part)]
    types = parts or declared.get("type", "any")
    return [types] if isinstance(types, str) else list(types)


def _is_listed(value: object, declared: Mapping[str, Any]) -> bool:
    """Whether it is one of the values that an `enum` lists, True being no 1."""
    return any(type(value) is type(one) and value == one for one in declared.get("enum", ()))


class MakeCall(Protocol):
    """Builds the ToolCall of one call: the executor knows the run, the step and the agent."""

    def __call__(self, tool: str, arguments: Mapping[str, object]) -> ToolCall: ...


Where = Callable[[], Mapping[str, object]]  # run, step and agent, for a record that is no ToolCall


@dataclass(frozen=True, slots=True)
class Entry:
    """One tool: how its arguments are bound, checked and passed."""

    name: str
    function: Callable[..., object]
    inputs: Mapping[str, Mapping[str, Any]] | None  # None: a plain function, bound by its signature
    signature: inspect.Signature | None
    is_open: bool = False  # the tool itself says what it misses

    def places(self) -> tuple[str, ...]:
        """The names of what can be given by position, in order."""
        if self.inputs is not None or self.signature is None:
            return tuple(self.inputs or ())
        gathered = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD
        return tuple([name for name, one in self.signature.parameters.items() if one.kind not in gathered])

    def bind(self, args: list[object], kwargs: dict[str, object]) -> dict[str, object]:
        """Positionals, keywords, or one dict of the inputs, as keywords. Raises TypeError like a Python call."""
        if self.inputs is None:
            return self._bind_function(args, kwargs)
        if len(args) == 1 and not kwargs and isinstance(args[0], dict) and all(key in self.inputs for key in args[0]):
            return self.check(args[0])
        if len(args) > len(self.inputs):
            raise TypeError(f"{self.name}() takes {len(self.inputs)} arguments but {len(args)} were given")
        bound = dict(zip(self.inputs, args, strict=False))
        twice = sorted(bound.keys() & kwargs.keys())
        if twice:
            raise TypeError(f"{self.name}() got multiple values for argument {twice[0]!r}")
        return self.check({**bound, **kwargs})

    def check(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """The arguments in the order of the inputs, each of its declared type; TypeError says which is not."""
        if self.inputs is None:
            return self._bind_again(arguments)
        unknown = [name for name in arguments if name not in self.inputs]
        if unknown:
            raise TypeError(
                f"{self.name}() has no argument {unknown[0]!r}; it takes: {', '.join(self.inputs) or 'none'}"
            )
        checked = {}
        for name, declared in self.inputs.items():
            if name in arguments:
                checked[name] = self._of_type(name, declared, arguments[name])
            elif not (self.is_open or declared.get("nullable", False) or "default" in declared):
                raise TypeError(f"{self.name}() misses the argument {name!r}")
        return checked

    def call(self, arguments: Mapping[str, object]) -> object:
        """Run the tool's own `__call__` (telemetry instruments it) in this thread."""
        if self.signature is None:
            return self.function(**arguments)
        bound = inspect.BoundArguments(self.signature, dict(arguments))
        return self.function(*bound.args, **bound.kwargs)

    def _of_type(self, name: str, declared: Mapping[str, Any], value: object) -> object:
        wanted = _wanted(declared)
        if value is None and declared.get("nullable", False):
            return None
        if not {"any", "object", "array"} & set(wanted):
            value = pythons_own(value)
        if not (any(_ACCEPTS.get(one, _ACCEPTS["any"])(value) for one in wanted) or _is_listed(value, declared)):
            given = type(value).__name__
            hint = ": convert it with str()" if "string" in wanted else ""
            raise TypeError(f"argument {name!r} of {self.name}() must be {' or '.join(wanted)}, not {given}{hint}")
        return value

    def _bind_again(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """Arguments as a function's signature names them, `*args` and `**kwargs` as one each: so they are judged."""
        if self.signature is None:
            return dict(arguments)
        parameters = self.signature.parameters
        for name, value in arguments.items():
            if name not in parameters:
                raise TypeError(f"{self.name}() has no argument {name!r}; it takes: {', '.join(parameters) or 'none'}")
            if not isinstance(value, _GATHERED.get(parameters[name].kind, object)):
                raise TypeError(f"argument {name!r} of {self.name}() holds all the others, which is no single value")
        bound = inspect.BoundArguments(self.signature, dict(arguments))
        return self._bind_function(list(bound.args), dict(bound.kwargs))

    def _bind_function(self, args: list[object], kwargs: dict[str, object]) -> dict[str, object]:
        if self.signature is None:
            if args:
                raise TypeError(f"{self.name}() has no signature that can be read: call it by keyword")
            return kwargs
        arguments = dict(self.signature.bind(*args, **kwargs).arguments)
        for name, value in arguments.items():
            parameter = self.signature.parameters[name]
            declared = _annotated(parameter.annotation)
            if declared and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                given = {"type": declared, "nullable": parameter.default is None}
                arguments[name] = self._of_type(name, given, value)
        return arguments


@dataclass(frozen=True, slots=True)
class Told:
    """Why a call gave no value, as the model reads it; with `error` the tool has run and raised that."""

    type_name: str
    message: str
    error: Exception | None = None


class Serving:
    """Serves the calls of one agent by name, through the governor. Whatever is refused is on record.

    Threads may call it: smolagents makes the tool calls of one round of a ToolCallingAgent in parallel.
    """

    def __init__(self, governor: Governor, make_call: MakeCall, where: Where, caller: Caller | None = None) -> None:
        self._governor = governor
        self._caller = caller or Caller(governor.loop)
        self._make_call = make_call
        self._where = where
        self._entries: dict[str, Entry] = {}
        self.places: Mapping[str, tuple[str, ...]] = {}  # what a position means to each tool
        self._refusals = 0  # of this step, before the governor
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The exact names, in the order they were given."""
        return tuple(self._entries)

    def replace(self, tools: Mapping[str, Callable[..., object]]) -> None:
        """Offer these tools from now on. Raises ConfigError for a name that is no identifier."""
        self._entries = {name: entry_of(name, tool) for name, tool in tools.items()}
        self.places = MappingProxyType({name: entry.places() for name, entry in self._entries.items()})

    def call(self, tool: str, args: list[object], kwargs: dict[str, object]) -> Value | Told:
        """One call, whole. Raises RunStopped and AuditError; everything else comes back."""
        entry = self._entries.get(tool)
        given = {**kwargs, "*": args} if args else kwargs
        if entry is None:
            reason = f"there is no tool {tool!r}; there are: {', '.join(self._entries)}"
            return self.refuse(tool, "unknown_tool", "NameError", reason, given)
        try:
            arguments = entry.bind(*self._owned(args, kwargs))
        except LookupError:
            reason = "a reference in the arguments belongs to another session: call the tool that made it again"
            return self.refuse(tool, "unknown_handle", "ValueError", reason, given)
        except TypeError as error:
            return self.refuse(tool, "invalid_arguments", "TypeError", str(error), given)
        return self._judged(entry, self._make_call(tool, arguments), partial(self._run, entry))

    def answer(self, agent: str, latch: Latch, text: object) -> Value | Told:
        """What the agent answers without calling `final_answer`, judged and recorded as if it had; no code did. No step
        comes after it: an interrupt that would end one ends the run.
        """
        with at_work(agent, latch):
            call = replace(self._make_call(FINAL_ANSWER, {"answer": text}), code="")
            served = self._judged(_ANSWER, call, _ANSWER.call)
            why = ended()
        if why is not None and not why.of_run:
            latch.interrupt(why.reason, of_run=True)
        return served

    def refuse(
        self, tool: str, code: str, type_name: str, reason: str, arguments: Mapping[str, object] | None = None
    ) -> Told:
        """Refuse a call that does not get as far as the governor. It is on record, too: probing leaves a trace.

        `arguments` are as they were given, positionals under "*".
        """
        with self._lock:
            self._refusals += 1
            is_written = self._refusals <= MOST_REFUSALS
        told = presentable(reason, MESSAGE_BYTES)
        if is_written:
            ids = {"call": uuid.uuid4().hex, "delegation": list(AT_WORK.get())}
            given = {} if arguments is None else {"arguments": dict(arguments)}
            self._record(
                self._placed(tool, arguments or {}), tool=presentable(tool, 200), code=code, reason=told, **ids, **given
            )
        return Told(type_name, f"{told} (code: {code})")

    def end_step(self) -> None:
        """Say on record how many refusals of this step were not written one by one, and count anew."""
        with self._lock:
            more, self._refusals = self._refusals - MOST_REFUSALS, 0
        if more > 0:
            reason = f"{more} more calls of this step were refused before anybody was asked"
            self._record({}, tool="*", code="more_refusals", reason=reason, count=more)

    def _record(self, hiding: Mapping[str, object], /, **told: object) -> None:
        self._governor.trail.append("refusal", hiding, **self._where(), **told)

    def _placed(self, tool: str, arguments: Mapping[str, object]) -> dict[str, object]:
        """The positionals of a call that does not fit, under the names of the places where they stand."""
        args = arguments.get("*")
        return dict(zip(self.places.get(tool, ()), args, strict=False)) if isinstance(args, list) else {}

    def _owned(self, args: list[object], kwargs: dict[str, object]) -> tuple[list[object], dict[str, object]]:
        """The arguments as the host has them. Raises LookupError for what is another session's."""
        return args, kwargs

    def _run(self, entry: Entry, arguments: Mapping[str, object]) -> object:
        return self._caller.call(entry.name, partial(entry.call, arguments))

    def _judged(self, entry: Entry, call: ToolCall, run: Callable[[Mapping[str, object]], object]) -> Value | Told:
        match self._governor.serve(call, entry.check, run):
            case Value() as value:
                return value
            case Refused() as refused:
                return Told("PermissionError", refusal_text(entry.name, refused))
            case Failed(raised):
                message = without_host_paths(_text(raised), known=_text(call.arguments))
                return Told(_type_name(raised), presentable(message, MESSAGE_BYTES), raised)


class Toolbox(Serving):
    """Serves the calls of one session's box, one at a time: host objects are handles there, results are encoded."""

    def __init__(
        self, governor: Governor, limits: Limits, make_call: MakeCall, where: Where, caller: Caller | None = None
    ) -> None:
        super().__init__(governor, make_call, where, caller)
        self.handles = Handles()
        self._budget = EncodeBudget(
            inline_bytes=limits.value_bytes // 2,
            nodes=limits.nodes // 2,
            depth=limits.depth // 2,
            blob_bytes=limits.blob_bytes,
        )

    def serve(self, tool: str, args: list[object], kwargs: dict[str, object]) -> Answer:
        """One call, whole. Raises RunStopped and AuditError; everything else is an Answer."""
        served = self.call(tool, args, kwargs)
        if isinstance(served, Told):
            return Answer("error", None, served.type_name, served.message)
        return self._give(tool, served.value)

    def encode(self, value: object) -> Encoded:
        """Make a value of the host ready for the box; what is no value becomes a handle. Raises EncodeError."""
        return encode(unwrapped(value, self.handles.keep), limits=self._budget, on_unknown=self.handles.keep)

    def forget(self) -> None:
        """The box is gone: let go of the objects that only its handles held."""
        self.handles = Handles()

    def _owned(self, args: list[object], kwargs: dict[str, object]) -> tuple[list[object], dict[str, object]]:
        return [self.handles.own(item) for item in args], {
            name: self.handles.own(item) for name, item in kwargs.items()
        }

    def _run(self, entry: Entry, arguments: Mapping[str, object]) -> object:
        return super()._run(entry, {name: self.handles.resolve(item) for name, item in arguments.items()})

    def _give(self, tool: str, value: object) -> Answer:
        if tool == FINAL_ANSWER:
            return Answer("final", final=value)
        try:
            return Answer("value", self.encode(value))
        except EncodeError as error:
            message = f"the result of {tool!r} cannot be given to the code: {error}"
            return Answer("error", None, "ValueError", message)


def entry_of(name: str, tool: Callable[..., object]) -> Entry:
    """How calls of this tool are bound and checked. Raises ConfigError for a name that is no identifier."""
    if not is_name(name) or not name.isascii() or name.startswith(("__", "_hardened")):
        raise ConfigError(f"a tool's name must be an ASCII Python identifier and no keyword, not {name[:80]!r}")
    inputs = getattr(tool, "inputs", None)
    if isinstance(inputs, Mapping):
        # So smolagents marks a tool whose inputs are a server's: `required` is lost on the way, and the server checks.
        return Entry(name, tool, inputs, None, getattr(tool, "skip_forward_signature_validation", False) is True)
    return Entry(name, tool, None, _signature(tool))


# `final_answer` as such: what an agent's own tool of that name would do with the answer is not wanted.
_ANSWER = Entry(FINAL_ANSWER, lambda answer: answer, {"answer": {"type": "any"}}, None)


def _signature(function: Callable[..., object]) -> inspect.Signature | None:
    """With annotations as objects where they can be had; None where nothing can be read."""
    for is_resolved in (True, False):
        try:
            return inspect.signature(function, eval_str=is_resolved)
        except (TypeError, ValueError, NameError, AttributeError, SyntaxError):
            continue
    return None


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - an exception of a tool may refuse to describe itself
        return f"<no text: {type(error).__name__}>"


def _type_name(error: BaseException) -> str:
    """The error's own type, or its nearest builtin base: that is what an `except` in the snippet can name."""
    names = [base.__name__ for base in type(error).__mro__ if base.__module__ == "builtins"]
    return names[0] if names and names[0] not in ("Exception", "object") else type(error).__name__

"""Everything a user can set, parsed once into one frozen object.

`executor_kwargs` are written into `agent.json`, so whatever can be given as an object can also be given as plain data:
an import string `"pkg.mod:name"`, a path, a dict of limits.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, cast

from smolagents_hardened.backends.base import Backend
from smolagents_hardened.backends.enforcement import LAYERS, REQUIRED, REQUIRED_WITHOUT_NAMESPACES
from smolagents_hardened.calling import ANY_TOOL
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.files import inputs
from smolagents_hardened.files.wishes import OutputWish, output_wish
from smolagents_hardened.governance.charter import Charter, Wishes, charter
from smolagents_hardened.limits import Limits

BACKENDS = ("auto", "native", "docker")
BARE = "landlock"  # as the whole of `require`: a box without namespaces
GATES = ("standard", "strict", "off")
# smolagents' own: what a snippet may always import (utils.BASE_BUILTIN_MODULES).
ALWAYS_AUTHORIZED = (
    *("collections", "datetime", "itertools", "math", "queue", "random"),
    *("re", "stat", "statistics", "time", "unicodedata"),
)
DEFAULT_PRINT_CHARACTERS = 50_000  # smolagents' DEFAULT_MAX_LEN_OUTPUT

# Builtins that would run code or open files on the host: refused under another name than their own.
_RUNS_CODE = ("eval", "exec", "compile", "__import__", "open", "input", "breakpoint")
Gate = Literal["standard", "strict", "off"]


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration; `from_options` makes it."""

    authorized: tuple[str, ...]
    backend: str | Backend
    charter: Charter  # hooks, people, budgets, the trail
    limits: Limits
    wall_s: float | None
    gate: Gate
    required: frozenset[str]
    print_characters: int
    functions: Mapping[str, Callable[..., object]]
    allow_unsandboxed_agents: bool
    tool_timeouts: Mapping[str, float]
    files: tuple[inputs.Input, ...]
    outputs: OutputWish
    show_pictures: bool
    profile: str  # of the filters, confinement/profile.py
    image: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Wishes):
    """What HardenedExecutor accepts by keyword, unchecked; with what its charter is made of."""

    backend: str | Backend = "auto"
    limits: Limits | Mapping[str, object] | None = None
    gate: str = "standard"
    require: Sequence[str] | str | None = None
    processes: bool = False  # generated code may start processes within its box
    max_print_outputs_length: int | None = None
    additional_functions: Mapping[str, object] | None = None
    timeout_seconds: float | None = -1
    allow_unsandboxed_agents: bool = False
    image: str | None = None  # an image of the user's own for Docker boxes
    tool_timeouts: Mapping[str, float] | float | None = None  # seconds, for all tools or by name ("*": all others)
    files: Mapping[str, object] | None = None  # name beneath /files -> path, or bytes
    outputs: Sequence[str] | str | None = None  # patterns of files to collect after each step
    outputs_to: str | Path | None = None  # the directory they are saved in
    show_pictures: bool = False  # hand the figures that a step has shown to the model


def from_options(authorized: Sequence[str], options: Options) -> Config:
    """Check every option. Raises ConfigError that names the option and says what it may be; nothing is started."""
    _refuse_other_than_booleans(options)
    limits, wall_s = _limits(options)
    print_characters = options.max_print_outputs_length
    return Config(
        authorized=_authorized(authorized),
        backend=_backend(options.backend),
        charter=charter(options),
        limits=limits,
        wall_s=wall_s,
        gate=_gate(options.gate),
        required=_required(options.require),
        print_characters=DEFAULT_PRINT_CHARACTERS if print_characters is None else _positive(print_characters),
        functions=_functions(options.additional_functions),
        allow_unsandboxed_agents=options.allow_unsandboxed_agents,
        tool_timeouts=_tool_timeouts(options.tool_timeouts),
        files=inputs.parse(options.files, limits),
        outputs=output_wish(options.outputs, options.outputs_to),
        show_pictures=options.show_pictures,
        profile=_profile(options),
        image=_image(options.image, options.backend),
    )


def refuse_unknown(options: Mapping[str, object]) -> None:
    """ConfigError for the first option that is not ours; `allow_pickle` gets an answer of its own."""
    if "allow_pickle" in options:
        raise ConfigError("allow_pickle is refused: nothing from the sandbox is ever unpickled; leave the option out")
    known = sorted(Options.__dataclass_fields__)
    for name in options:
        if name not in known:
            raise ConfigError(f"unknown option {name!r} in executor_kwargs; known options: {', '.join(known)}")


def _refuse_other_than_booleans(options: Options) -> None:
    """A text like "false" would be taken for true."""
    for one in fields(options):
        value = getattr(options, one.name)
        if isinstance(one.default, bool) and not isinstance(value, bool):
            raise ConfigError(f"{one.name} must be true or false, not {value!r}")


def _authorized(modules: Sequence[str]) -> tuple[str, ...]:
    if isinstance(modules, str) or not all(isinstance(module, str) and module for module in modules):
        raise ConfigError(f"additional_authorized_imports must be a list of module names, not {modules!r}")
    return tuple(sorted({*ALWAYS_AUTHORIZED, *modules}))


def _backend(backend: str | Backend) -> str | Backend:
    if isinstance(backend, str):
        if backend not in BACKENDS:
            raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}, or a Backend, not {backend!r}")
    elif not callable(getattr(backend, "start", None)):
        raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}, or a Backend, not {backend!r}")
    return backend


def _image(image: str | None, backend: str | Backend) -> str | None:
    if image is None:
        return None
    if not isinstance(image, str) or not image.strip() or not image.isprintable():
        raise ConfigError(f"image must be the name of a Docker image, like 'python:3.12-slim', not {image!r}")
    if backend not in ("auto", "docker"):
        raise ConfigError("image is for Docker boxes: leave backend out, or say backend='docker'")
    return image


def _limits(options: Options) -> tuple[Limits, float | None]:
    given = options.limits
    if isinstance(given, Mapping):
        limits = Limits.from_mapping(dict(given))
    elif given is None or isinstance(given, Limits):
        limits = given or Limits()
    else:
        raise ConfigError(f"limits must be a Limits or a dict of its fields, not {given!r}")
    wall_s = options.timeout_seconds
    if wall_s is None:
        return limits, None
    if wall_s == -1:
        return limits, limits.wall_s
    limits = replace(limits, wall_s=wall_s)
    return limits, limits.wall_s


def _gate(gate: str) -> Gate:
    if gate not in GATES:
        raise ConfigError(f"gate must be one of {', '.join(GATES)}, not {gate!r}")
    return cast(Gate, gate)


def _required(require: Sequence[str] | str | None) -> frozenset[str]:
    if require is None:
        return REQUIRED
    if require == BARE:
        return REQUIRED_WITHOUT_NAMESPACES
    names = frozenset([require] if isinstance(require, str) else require)
    unknown = sorted(names - set(LAYERS))
    if unknown:
        raise ConfigError(f"require: unknown layer {unknown[0]!r}; layers: {', '.join(LAYERS)}")
    return names


def _profile(options: Options) -> str:
    if options.require != BARE:
        return "processes" if options.processes else "default"
    if isinstance(options.backend, str) and options.backend not in ("auto", "native"):
        raise ConfigError("require='landlock' is a level of backend 'native': leave it out, or name that backend")
    if options.processes or options.files:
        raise ConfigError("require='landlock' does without namespaces, and so without `processes` and `files`")
    return BARE


def _functions(functions: Mapping[str, object] | None) -> Mapping[str, Callable[..., object]]:
    for name, function in (functions or {}).items():
        if not callable(function):
            raise ConfigError(f"additional_functions: {name!r} is not callable")
        own_name = next((own for own in _RUNS_CODE if getattr(builtins, own) is function), name)
        if own_name != name:
            raise ConfigError(
                f"additional_functions: {name!r} is the host's {own_name}(): it would run there. Under its own name,"
                f" {own_name!r}, it means the sandbox's"
            )
    return cast(Mapping[str, Callable[..., object]], dict(functions or {}))


def _positive(number: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigError(f"max_print_outputs_length must be a positive whole number, not {number!r}")
    return number


def _tool_timeouts(given: Mapping[str, float] | float | None) -> Mapping[str, float]:
    limits = given if isinstance(given, Mapping) else {} if given is None else {ANY_TOOL: given}
    for name, seconds in limits.items():
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 2**31:
            raise ConfigError(f"tool_timeouts: seconds for {name!r} must be a positive number, not {seconds!r}")
    return dict(limits)

"""From `syscalls.json` and the name of a profile to the two filters of a box.

The default profile is the whole file. Each other one is a file of its own, named after it, whose entries take the place
of those of the same name and whose warnings say in what it is weaker.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from smolagents_hardened.confinement.rules import LOW_32, Answer, Argument, Rule, RuleSet, Stage, Syscall
from smolagents_hardened.errors import ConfigError

ARCHITECTURE = "x86_64"
# The runner is the first process of its own pid namespace (ARCHITECTURE, decision 1). Without namespaces it is not, and
# the compiled filters hold OWN_PID, which is above every pid there can be, until the runner puts its own there.
RUNNER_PID = 1
OWN_PID = 0x7FFF0F1D
RUNNERS = {"default": RUNNER_PID, "processes": RUNNER_PID, "landlock": OWN_PID}
PROFILES = tuple(RUNNERS)


@dataclass(frozen=True, slots=True)
class Profile:
    """The two filters of a box: `start` comes before the interpreter, `run` before the first user byte."""

    name: str
    start: RuleSet
    run: RuleSet
    told: tuple[str, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        """Name each way in which this profile is weaker than the default one; empty for the default."""
        return self.told


def load_profile(name: str = "default", *, pid: int | None = None) -> Profile:
    """Return the named profile for a runner with this pid. Raises ConfigError for an unknown name."""
    if name not in PROFILES:
        raise ConfigError(f"unknown confinement profile {name!r}; known profiles: {', '.join(PROFILES)}")
    document = json.loads(_text_of("syscalls"))
    told: tuple[str, ...] = ()
    if name != "default":
        changes = json.loads(_text_of(name))
        told = tuple(changes["warnings"])
        document = overlaid(document, changes["syscalls"])
    profile = parse_profile(name, document, pid=RUNNERS[name] if pid is None else pid)
    return replace(profile, told=told)


def overlaid(document: dict[str, Any], changes: list[dict[str, Any]]) -> dict[str, Any]:
    """The document with each of these syscalls in the place of the entry, or the answer, of the same name."""
    changed = {entry["name"] for entry in changes}
    kept = [entry for entry in document["syscalls"] if entry["name"] not in changed]
    answers = [entry for entry in document["answers"] if entry["name"] not in changed]
    return document | {"syscalls": [*kept, *changes], "answers": answers}


@cache
def _text_of(name: str) -> str:
    return files("smolagents_hardened.confinement").joinpath(f"{name}.json").read_text(encoding="utf-8")


def parse_profile(name: str, document: object, *, pid: int = RUNNER_PID) -> Profile:
    """Build both filters from the parsed JSON. Raises ConfigError that says where the document is wrong."""
    top = _fields(document, "document", required={"architecture", "default", "syscalls", "answers"})
    if top["architecture"] != ARCHITECTURE:
        raise ConfigError(f"architecture must be {ARCHITECTURE!r}, not {top['architecture']!r}")
    default = _errno(top["default"], "default")
    answers = tuple(_answer(raw, f"answers[{i}]") for i, raw in enumerate(_list(top["answers"], "answers")))
    raw_syscalls = _list(top["syscalls"], "syscalls")
    both = [_syscall(raw, f"syscalls[{i}]", pid) for i, raw in enumerate(raw_syscalls)]
    _refuse_twice([syscall for _, syscall, _ in both])
    _refuse_twice(answers)
    run = tuple(syscall for stage, _, syscall in both if stage is Stage.RUN)
    running = {syscall.number for syscall in run}
    refused = {answer.number for answer in answers}
    if running & refused:
        raise ConfigError(f"syscall number {min(running & refused)} is both allowed to run and answered")
    start = tuple(syscall for _, syscall, _ in both)
    starting = {syscall.number for syscall in start}
    start_answers = tuple(answer for answer in answers if answer.number not in starting)
    return Profile(name, RuleSet(start, start_answers, default), RuleSet(run, answers, default))


def _syscall(raw: object, where: str, pid: int) -> tuple[Stage, Syscall, Syscall]:
    """Return the stage, the syscall as filter 1 sees it, and as filter 2 does."""
    entry = _fields(raw, where, required={"name", "number", "stage", "why", "used_by"}, optional={"allow", "otherwise"})
    if ("allow" in entry) != ("otherwise" in entry):
        raise ConfigError(f"{where}: 'allow' and 'otherwise' come together")
    stage = _stage(entry["stage"], where)
    staged = [_rule(r, f"{where}.allow[{i}]", pid) for i, r in enumerate(_list(entry.get("allow", []), where))]
    if "allow" in entry and not any(rule_stage is Stage.RUN for rule_stage, _ in staged):
        raise ConfigError(f"{where}: 'allow' needs a rule that is not for the start alone")
    otherwise = _errno(entry["otherwise"], where) if "otherwise" in entry else 0
    used_by = tuple(_text(user, f"{where}.used_by") for user in _list(entry["used_by"], where))

    def at(wanted: frozenset[Stage]) -> Syscall:
        rules = tuple(rule for rule_stage, rule in staged if rule_stage in wanted)
        name, number = _text(entry["name"], where), _number(entry["number"], where)
        return Syscall(name, number, _text(entry["why"], where), used_by, rules, otherwise)

    return stage, at(frozenset(Stage)), at(frozenset({Stage.RUN}))


def _rule(raw: object, where: str, pid: int) -> tuple[Stage, Rule]:
    entry = _fields(raw, where, required={"why", "args"}, optional={"stage", "pretends"})
    arguments = tuple(_argument(a, f"{where}.args[{i}]", pid) for i, a in enumerate(_list(entry["args"], where)))
    indexes = {argument.index for argument in arguments}
    if not arguments or len(indexes) != len(arguments):
        # libseccomp takes one comparison an argument.
        raise ConfigError(f"{where}: a rule compares at least one argument, and none twice")
    pretends = entry.get("pretends", False)
    if not isinstance(pretends, bool):
        raise ConfigError(f"{where}: 'pretends' is true or false")
    return _stage(entry.get("stage", "run"), where), Rule(arguments, _text(entry["why"], where), pretends)


def _argument(raw: object, where: str, pid: int) -> Argument:
    entry = _fields(raw, where, required={"index", "op", "value"}, optional={"mask"})
    index = _number(entry["index"], where)
    if index > 5:
        raise ConfigError(f"{where}: a syscall has six arguments, so index is 0 to 5")
    value = pid if entry["value"] == "pid" else _number(entry["value"], where)
    match entry["op"], "mask" in entry:
        case "eq", False:
            return Argument(index, value)
        case "masked_eq", True:
            mask = _number(entry["mask"], where)
            if value & ~mask:
                raise ConfigError(f"{where}: value has bits outside mask, so it could never match")
            return Argument(index, value, mask)
        case _:
            raise ConfigError(f"{where}: op is 'eq' without a mask or 'masked_eq' with one, nothing else")


def _answer(raw: object, where: str) -> Answer:
    entry = _fields(raw, where, required={"name", "number", "errno", "why"})
    name, number = _text(entry["name"], where), _number(entry["number"], where)
    return Answer(name, number, _errno(entry["errno"], where), _text(entry["why"], where))


def _refuse_twice(entries: list[Syscall] | tuple[Answer, ...]) -> None:
    keys: tuple[Callable[[Syscall | Answer], object], ...] = (lambda e: e.name, lambda e: e.number)
    for key in keys:
        seen: set[object] = set()
        for entry in entries:
            if key(entry) in seen:
                raise ConfigError(f"syscall {key(entry)!r} is listed twice")
            seen.add(key(entry))


def _fields(
    raw: object, where: str, *, required: set[str], optional: frozenset[str] | set[str] = frozenset()
) -> Mapping[str, object]:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected an object")
    wrong = (required - set(raw)) | (set(raw) - required - optional)
    if wrong:
        raise ConfigError(f"{where}: missing or unknown key {min(wrong)!r}")
    return raw


def _list(raw: object, where: str) -> list[object]:
    if not isinstance(raw, list):
        raise ConfigError(f"{where}: expected a list")
    return raw


def _text(raw: object, where: str) -> str:
    if not isinstance(raw, str) or not raw:
        raise ConfigError(f"{where}: expected a text that is not empty")
    return raw


def _number(raw: object, where: str) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw <= LOW_32:
        raise ConfigError(f"{where}: expected a whole number of 32 bits, not {raw!r}")
    return raw


def _stage(raw: object, where: str) -> Stage:
    if not isinstance(raw, str) or raw not in set(Stage):
        raise ConfigError(f"{where}: stage is 'start' or 'run', not {raw!r}")
    return Stage(raw)


def _errno(raw: object, where: str) -> int:
    value = getattr(errno, raw, None) if isinstance(raw, str) and raw.startswith("E") else None
    if not isinstance(value, int):
        raise ConfigError(f"{where}: {raw!r} is not the name of an errno")
    return value

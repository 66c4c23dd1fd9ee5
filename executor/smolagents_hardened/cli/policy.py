"""`hardened policy check | test | replay | schema`: a policy file, looked over and tried before it is used."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smolagents_hardened.host_text import neutral, presentable

_MAX_LINE_BYTES = 4_000


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    policy = commands.add_parser("policy", help="a policy file, before it is used")
    actions = policy.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="errors with line numbers, and rules that can never decide")
    check.add_argument("file", type=Path)
    check.set_defaults(command=_check)
    test = actions.add_parser("test", help="judge the calls of a file of cases, and compare")
    test.add_argument("file", type=Path)
    test.add_argument("cases", type=Path)
    test.set_defaults(command=_test)
    replay = actions.add_parser("replay", help="judge the calls of a trail again: what would be decided otherwise")
    replay.add_argument("file", type=Path)
    replay.add_argument("trail", type=Path)
    replay.add_argument("--all", action="store_true", help="show the calls that end the same, too")
    replay.set_defaults(command=_replay)
    actions.add_parser("schema", help="the JSON schema of a policy file").set_defaults(command=_schema)


def _say(text: str) -> None:
    """A line of what others have written, so that no terminal obeys it and any can show it."""
    print(neutral(presentable(text, _MAX_LINE_BYTES)))


def _schema(_arguments: argparse.Namespace) -> int:
    from smolagents_hardened.governance.policy_schema import schema

    print(json.dumps(schema(), indent=1, sort_keys=True))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.governance.check import check

    findings = check(arguments.file)
    for finding in findings:
        _say(f"{'error' if finding.is_error else 'warning'}: {finding.message}")
    errors = sum(finding.is_error for finding in findings)
    if not errors:
        from smolagents_hardened.governance.reload import PolicyFile

        print(_told(PolicyFile(arguments.file).described()))
    return 1 if errors else 0


def _told(facts: Mapping[str, Any]) -> str:
    mode = "mode shadow: nothing of it has an effect" if facts["mode"] == "shadow" else f"mode {facts['mode']}"
    return (
        f"ok: {facts['rules']} rules, {len(facts['budgets'])} budgets, default {facts['default']}, {mode}\n"
        f"file_sha256 {facts['file_sha256']} of the file, digest {facts['digest']} of what it says"
    )


def _test(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.governance.cases import try_cases
    from smolagents_hardened.governance.reload import load

    tried = try_cases(load(arguments.file), arguments.cases)
    for one in tried:
        _say(f"{'ok  ' if one.is_right else 'FAIL'} {one}")
    wrong = sum(not one.is_right for one in tried)
    print(f"{len(tried) - wrong} of {len(tried)} cases as expected")
    return 1 if wrong else 0


def _replay(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.governance.reload import load
    from smolagents_hardened.governance.replay import replay

    counts = {"same": 0, "different": 0, "unknown": 0, "elsewhere": 0}
    for one in replay(load(arguments.file), arguments.trail):
        counts[one.kind] += 1
        if one.kind == "unknown":
            said = "cannot be judged: the record does not hold what the policy looks at"
        elif one.decision is None:
            said = "the policy was not asked"
        else:
            said = f"now {one.decision.verdict} by {one.decision.rule}: {one.decision.reason}"
        if arguments.all or one.kind in ("different", "unknown"):
            _say(f"record {one.seq}: {one.tool} was {one.was}, {said}")
    told = {"elsewhere": "decided elsewhere"}
    print(", ".join(f"{count} {told.get(kind, kind)}" for kind, count in counts.items()))
    return 1 if counts["different"] else 0

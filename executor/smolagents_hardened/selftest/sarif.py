"""The report as SARIF 2.1.0, in the subset that code scanning reads.

Each probe is a rule; each probe that did not hold is a result. Code scanning shows every result as an alert, whatever
its `kind`, so what held is not a result; a rule without one has held. Every result needs a place in the repository: it
is the configuration that was tested.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePath

from smolagents_hardened.selftest.probe import Report, Result, State
from smolagents_hardened.selftest.promises import PROMISES

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
HELP = "SECURITY.md of smolagents-hardened has the promise in full; `hardened doctor` says what this host lacks."
NO_CONFIG = "pyproject.toml"  # where no file was given: the built-in defaults were tested
SEVERITY = {State.BROKEN: "9.0", State.NOT_RUN: "7.0"}  # critical and high, as code scanning names them


def render(report: Report) -> str:
    """One SARIF log with one run."""
    rules = [_rule(result) for result in report.results]
    places = {result.id: place for place, result in enumerate(report.results)}
    run = {
        "tool": {
            "driver": {
                "name": "smolagents-hardened selftest",
                "version": report.version,
                "semanticVersion": report.version,
                "rules": rules,
            }
        },
        "automationDetails": {"id": f"smolagents-hardened/{report.backend}/"},
        "invocations": [{"executionSuccessful": True, "startTimeUtc": report.started.replace("+00:00", "Z")}],
        "columnKind": "unicodeCodePoints",
        "results": [_result(result, places[result.id], report.config) for result in report.failed()],
        "properties": {"backend": report.backend, "image": report.image, "probes": len(report.results)},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(result: Result) -> dict[str, object]:
    severity = SEVERITY.get(result.state, SEVERITY[State.BROKEN])
    return {
        "id": result.id,
        "name": "".join(part.capitalize() for part in result.id.replace(".", "-").replace("_", "-").split("-")),
        "shortDescription": {"text": result.title},
        "fullDescription": {"text": f"{result.promise}: {PROMISES[result.promise]}."},
        "help": {"text": HELP},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["security", "sandbox", result.promise], "security-severity": severity},
    }


def _result(result: Result, place: int, config: str | None) -> dict[str, object]:
    fingerprint = hashlib.sha256(result.id.encode()).hexdigest()[:32]
    return {
        "ruleId": result.id,
        "ruleIndex": place,
        "level": "error",
        "kind": "fail",
        "message": {"text": f"{result.promise} {result.state.value}: {result.title}. {result.message}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(config)},
                    "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 2},
                }
            }
        ],
        "partialFingerprints": {"smolagentsHardenedProbe/v1": fingerprint},
    }


def _uri(config: str | None) -> str:
    """A path relative to the repository's root, as code scanning wants it; an absolute one keeps its name only."""
    path = PurePath(config or NO_CONFIG)
    return path.name if path.is_absolute() or ".." in path.parts else path.as_posix()

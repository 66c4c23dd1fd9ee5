"""The report as one JSON object, for scripts."""

from __future__ import annotations

import json

from smolagents_hardened.selftest.probe import Report

SCHEMA_VERSION = 1  # raised when a field changes its meaning or goes away


def render(report: Report) -> str:
    """One object: `ok`, what was tested, and a list of results."""
    results = [
        {
            "id": result.id,
            "promise": result.promise,
            "title": result.title,
            "state": result.state.value,
            "message": result.message,
            "seconds": round(result.seconds, 3),
        }
        for result in report.results
    ]
    document = {
        "schema_version": SCHEMA_VERSION,
        "ok": report.ok,
        "backend": report.backend,
        "image": report.image,
        "version": report.version,
        "config": report.config,
        "started": report.started,
        "seconds": round(report.seconds, 3),
        "results": results,
    }
    return json.dumps(document, indent=2) + "\n"

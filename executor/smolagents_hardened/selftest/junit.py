"""The report as JUnit XML, which every CI reads: a suite per group, a failure for broken, an error for not run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET  # nosec B405 - XML is written here, never read
from itertools import groupby

from smolagents_hardened.selftest.probe import Report, Result, State

# What XML 1.0 cannot hold, not even escaped; a message may quote what a box has said.
UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> str:
    """One document with the root `testsuites`."""
    root = ET.Element("testsuites", {"name": "smolagents-hardened selftest", **_counts(report.results)})
    results = sorted(report.results, key=lambda result: result.group)
    for group, members in groupby(results, key=lambda result: result.group):
        of_group = tuple(members)
        suite = ET.SubElement(root, "testsuite", {"name": group, "timestamp": report.started, **_counts(of_group)})
        for result in of_group:
            _case(suite, result)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, result: Result) -> None:
    names = {"classname": f"hardened.{result.group}", "name": f"{result.promise} {result.id}: {result.title}"}
    case = ET.SubElement(suite, "testcase", {**names, "time": f"{result.seconds:.3f}"})
    if result.state is not State.HELD:
        message = UNFIT.sub("?", result.message)
        kind = "failure" if result.state is State.BROKEN else "error"
        ET.SubElement(case, kind, {"type": result.state.value, "message": message.partition("\n")[0]}).text = message


def _counts(results: tuple[Result, ...]) -> dict[str, str]:
    states = [result.state for result in results]
    return {
        "tests": str(len(results)),
        "failures": str(states.count(State.BROKEN)),
        "errors": str(states.count(State.NOT_RUN)),
        "skipped": "0",
        "time": f"{sum(result.seconds for result in results):.3f}",
    }

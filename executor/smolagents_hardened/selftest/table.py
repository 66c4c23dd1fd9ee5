"""The report for a person: one line per probe, what was seen where it did not hold, and one line in the end."""

from __future__ import annotations

from smolagents_hardened.selftest.probe import Report, State

MARKS = {State.HELD: "ok", State.BROKEN: "BROKEN", State.NOT_RUN: "NOT RUN"}


def render(report: Report) -> str:
    """Lines of text, without colours."""
    width = max((len(result.id) for result in report.results), default=0)
    lines = [f"backend {report.backend}, image {report.image}, smolagents-hardened {report.version}", ""]
    for result in report.results:
        lines.append(f"{MARKS[result.state]:<8}{result.promise:<5}{result.id:<{width}}  {result.title}")
        lines += [f"{'':8}     {line}" for line in result.message.splitlines()]
    failed = report.failed()
    held = len(report.results) - len(failed)
    verdict = "every promise held" if report.ok else f"{len(failed)} did not hold"
    lines += ["", f"{held} of {len(report.results)} held in {report.seconds:.1f} s: {verdict}"]
    return "\n".join(lines) + "\n"

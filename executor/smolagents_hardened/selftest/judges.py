"""Small judgements that several probes share. Each says "" when all is well, else what was seen."""

from __future__ import annotations

from smolagents_hardened.selftest.probe import Evidence

SHOWN = 300  # characters of a finding in a report


def no_secret(evidence: Evidence) -> str:
    """No planted secret came out."""
    leaked = sum(secret in evidence.said for secret in evidence.secrets)
    return f"{leaked} of {len(evidence.secrets)} planted secrets came out of the box" if leaked else ""


def no_hit(evidence: Evidence) -> str:
    """Nothing reached a socket of the host's."""
    where = sorted({hit.where for hit in evidence.hits})
    return f"the host was reached: {', '.join(where)}"[:SHOWN] if where else ""


def no_litter(evidence: Evidence) -> str:
    """No file of the box's appeared in the canary directories."""
    return f"files appeared on the host: {', '.join(evidence.litter)}"[:SHOWN] if evidence.litter else ""


def confessed(evidence: Evidence, word: str) -> str:
    """The program says itself that an act which must fail has succeeded: a line that begins with `word`."""
    lines = [line for line in evidence.said.splitlines() if line.split(" ")[0] == word]
    return f"the box reports: {'; '.join(lines)}"[:SHOWN] if lines else ""


def numbers(evidence: Evidence, word: str) -> list[int]:
    """The whole numbers of the lines `word number`."""
    parts = [line.split(" ") for line in evidence.said.splitlines()]
    return [int(part[1]) for part in parts if len(part) == 2 and part[0] == word and part[1].isdigit()]


def at_least(evidence: Evidence, word: str, least: int) -> str:
    """The control inside the box: the same act, where it is allowed, succeeded so often."""
    most = max(numbers(evidence, word), default=0)
    return "" if most >= least else f"the probe's own control failed: {word} {most}, at least {least} expected"


def at_most(evidence: Evidence, word: str, most: int) -> str:
    """The box reports no more than `most`."""
    found = max(numbers(evidence, word), default=0)
    return f"{word} reached {found}, at most {most} expected" if found > most else ""


def begun(evidence: Evidence) -> str:
    """The program came to its attack: it has called `reached`."""
    return "" if evidence.times("reached") else f"the program did not begin: {evidence.error}"[:SHOWN]


def in_time(evidence: Evidence, slack_s: float) -> str:
    """The step was over by its wall time, its grace and `slack_s`, by the host's clock."""
    bound = evidence.limits.wall_s + evidence.limits.grace_s + slack_s
    return (
        "" if evidence.seconds <= bound else f"the step took {evidence.seconds:.1f} s, at most {bound:.1f} s expected"
    )


def flat(evidence: Evidence, most_bytes: int) -> str:
    """This process did not grow."""
    grown = evidence.grown_bytes
    return (
        ""
        if grown <= most_bytes
        else f"the host's memory grew by {grown >> 20} MiB, at most {most_bytes >> 20} expected"
    )


def first(*problems: str) -> str:
    """The first problem, "" if there is none."""
    return next((problem for problem in problems if problem), "")

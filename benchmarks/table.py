"""The README's table of ratios, made from the results: `python -m benchmarks.table` prints it, a test compares it."""

from __future__ import annotations

import json

from benchmarks.measure import RESULTS

# What a reader wants to know, in this order: result file, contender it is told against, words for both.
COLD, STEP = "a fresh box to its first result", "one trivial step"
IN_PROCESS = "smolagents' in-process interpreter"
ROWS = (
    ("cold_start_{backend}", "docker run (bare)", COLD, "bare `docker run` of the same image"),
    ("cold_start_{backend}", "python -c pass", COLD, "`python -c pass`, no isolation"),
    ("trivial_step_{backend}", "smolagents local", STEP, IN_PROCESS),
    (
        "governed_tool_call_{backend}",
        "smolagents local",
        "a step with one governed call",
        "the same, ungoverned, in process",
    ),
    ("cpu_loop_{backend}", "smolagents local", "a loop of 100,000 iterations", IN_PROCESS),
)


def table() -> str:
    """Markdown rows: what, against whom, the median ratio with its 10th and 90th percentile."""
    lines = []
    for backend in ("native", "docker"):
        for stem, peer, what, against in ROWS:
            path = RESULTS / f"{stem.format(backend=backend)}.json"
            if path.exists():
                ratio = json.loads(path.read_text())["ratio_ours_to"].get(peer)
                if ratio is not None:
                    lines.append(f"| {what} ({backend}) | {against} | {_told(ratio)} |")
    return "\n".join(lines)


def _told(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.3g}x ({ratio['p10']:.3g} to {ratio['p90']:.3g})"


if __name__ == "__main__":
    print(table())

"""A step, a governed tool call and a CPU loop, against smolagents' in-process interpreter (no isolation at all)."""

from __future__ import annotations

from benchmarks.measure import compare
from smolagents import Tool
from smolagents.local_python_executor import LocalPythonExecutor
from tests.support.backends import DECLARED, backend

from smolagents_hardened import Decision, HardenedExecutor

LOOP = "total = 0\nfor i in range(100_000):\n    total += i * i % 7\ntotal"


class Echo(Tool):
    """The smallest tool."""

    name = "echo"
    description = "Returns its argument."
    inputs = {"text": {"type": "string", "description": "Any text."}}  # noqa: RUF012 - smolagents' way
    output_type = "string"

    def forward(self, text: str) -> str:
        return text


def main() -> None:
    """Three comparisons per declared backend; the boxes are warm, as they are from the second step on."""
    local = LocalPythonExecutor([])
    local.send_tools({"echo": Echo()})
    for name in DECLARED:
        with HardenedExecutor([], backend=backend(name), governance=lambda call: Decision.allow()) as hardened:
            hardened.send_tools({"echo": Echo()})
            for what, code, rounds, inner in (
                ("trivial_step", "1 + 1", 200, 5),
                ("governed_tool_call", "echo('text')", 200, 5),
                ("cpu_loop", LOOP, 7, 1),
            ):
                contenders = {
                    f"hardened {name}": lambda c=code: hardened(c),
                    "smolagents local": lambda c=code: local(c),
                }
                compare(f"{what}_{name}", contenders, rounds=rounds, inner=inner)


if __name__ == "__main__":
    main()

"""A human approval at the terminal: the transfer waits until somebody approves, edits, rejects or answers it.

The box waits with its clock stopped. What was approved is bound to this call and to these arguments.
"""

from __future__ import annotations

from pathlib import Path

from smolagents import CodeAgent, tool

from scripted import ScriptedModel, Turn
from smolagents_hardened import register

POLICY = Path(__file__).with_suffix(".yaml")


@tool
def transfer(to: str, amount: int) -> str:
    """Moves money.

    Args:
        to: Whose account.
        amount: How much.
    """
    return f"{amount} moved to {to}"


CODE = """
first = transfer("Ann", 50)
try:
    second = transfer("Bob", 5000)
except PermissionError as refused:
    second = str(refused)
final_answer([first, second])
"""


def main() -> None:
    """Run the agent; you are asked about the second transfer."""
    register()
    kwargs = {"governance": str(POLICY), "approver": "terminal", "audit": "audit.jsonl"}
    model = ScriptedModel([Turn("Two transfers.", CODE)])
    with CodeAgent([transfer], model, executor_type="hardened", executor_kwargs=kwargs) as agent:
        print("Answer:", agent.run("Pay Ann 50 and Bob 5000."))


if __name__ == "__main__":
    main()

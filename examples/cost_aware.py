"""A cost-aware choice of models under a budget: the code asks the large model until the money is gone, then the small.

The models are host tools with prices. The budget is charged before a call runs, so it is never overdrawn; the code
reads the refusal like any exception and goes on with what it can afford. At the end the trail tells what was spent.
"""

from __future__ import annotations

from smolagents import CodeAgent, tool

from scripted import ScriptedModel, Turn
from smolagents_hardened import register
from smolagents_hardened.audit.trail import Trail


@tool
def ask_large(question: str) -> str:
    """Asks the large model: right, and dear.

    Args:
        question: What to ask.
    """
    return f"a thorough answer to {question!r}"


@tool
def ask_small(question: str) -> str:
    """Asks the small model: quick, and cheap.

    Args:
        question: What to ask.
    """
    return f"a short answer to {question!r}"


CODE = """
answers = []
for number in range(5):
    question = f"question {number}"
    try:
        answers.append(ask_large(question))
    except PermissionError as refused:
        if not answers or "thorough" in answers[-1]:
            print(refused)
        answers.append(ask_small(question))
print(answers)
"""
SCRIPT = (
    Turn("I ask the best model that I can afford.", CODE),
    Turn("Done.", "final_answer([answer.split()[1] for answer in answers])", expects="budget of 0.25 of cost"),
)
KWARGS = {
    "prices": {"ask_large": 0.1, "ask_small": 0.01},
    "budgets": [{"cost": 0.25}, {"tool": "ask_*", "calls": 20, "exhausted": "stop"}],
    "audit": "audit.jsonl",
}


def main() -> None:
    """Run the agent, print its answer and what was spent."""
    register()
    agent = CodeAgent([ask_large, ask_small], ScriptedModel(SCRIPT), executor_type="hardened", executor_kwargs=KWARGS)
    with agent:
        print("Answer:", agent.run("Answer five questions as well as the money allows."))
        agent.python_executor.close()
    with Trail("audit.jsonl") as trail:
        end = [record for record in trail.records() if record["kind"] == "end"][-1]
    print("Spent:", end["used"])


if __name__ == "__main__":
    main()

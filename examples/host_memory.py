"""An agent's memory between runs, kept in a host tool: the box forgets everything, the host keeps what it allows.

What is remembered is judged before it is written: a hook refuses secrets, a budget bounds how much one run may write.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from smolagents import CodeAgent, Tool

from scripted import ScriptedModel, Turn
from smolagents_hardened import Decision, ToolCall, register

STORE = Path("memory.json")


class Remember(Tool):  # type: ignore[misc]
    """Writes one fact."""

    name = "remember"
    description = "Keeps a short fact for later runs."
    inputs = {  # noqa: RUF012 - smolagents' way
        "key": {"type": "string", "description": "Its name."},
        "fact": {"type": "string", "description": "The fact."},
    }
    output_type = "string"

    def forward(self, key: str, fact: str) -> str:
        facts = json.loads(STORE.read_text()) if STORE.exists() else {}
        STORE.write_text(json.dumps(facts | {key: fact}, indent=1))
        return f"{key} is kept"


class Recall(Tool):  # type: ignore[misc]
    """Reads all facts."""

    name = "recall"
    description = "Returns every fact that was kept, by name."
    inputs = {}  # noqa: RUF012 - smolagents' way
    output_type = "object"

    def forward(self) -> dict[str, str]:
        return dict(json.loads(STORE.read_text())) if STORE.exists() else {}


def no_secrets(call: ToolCall) -> Decision:
    """Nothing that looks like a key or a password is kept."""
    if call.tool == "remember" and re.search(r"(?i)password|sk-[a-z0-9]{6}", json.dumps(dict(call.arguments))):
        return Decision.deny("secrets are not kept", code="secret")
    return Decision.allow()


FIRST = """
remember("home", "Ann lives in Oslo")
try:
    remember("login", "her password is hunter2")
except PermissionError as refused:
    print(refused)
final_answer("kept")
"""
SECOND = "facts = recall()\nfinal_answer(f\"{facts['home']}; login known: {'login' in facts}\")"


def run(code: str) -> object:
    """One agent with one box of its own."""
    kwargs = {"governance": no_secrets, "budgets": [{"tool": "remember", "calls": 5}], "audit": "audit.jsonl"}
    model = ScriptedModel([Turn("I use my memory.", code)])
    with CodeAgent([Remember(), Recall()], model, executor_type="hardened", executor_kwargs=kwargs) as agent:
        return agent.run("What do you know about Ann?")


if __name__ == "__main__":
    register()
    run(FIRST)
    print("Answer:", run(SECOND))

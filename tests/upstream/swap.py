"""What upstream's tests call, answered by HardenedExecutor: `evaluate_python_code` and `LocalPythonExecutor`.

Only the way in and out is translated. What a snippet does, gives and raises is the box's own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smolagents.local_python_executor import BASE_BUILTIN_MODULES, PrintContainer
from tests.support.backends import backend

from smolagents_hardened import HardenedExecutor

Tools = Mapping[str, Callable[..., object]]


class Swap:
    """Makes the executors of one test, and ends them."""

    def __init__(self, backend_name: str) -> None:
        self._backend = backend(backend_name)
        self._made: list[HardenedExecutor] = []

    def executor(self, additional_authorized_imports: Sequence[str], **options: Any) -> HardenedExecutor:
        """In the place of `LocalPythonExecutor(...)`."""
        made = HardenedExecutor(additional_authorized_imports, backend=self._backend, **options)
        self._made.append(made)
        return made

    def evaluate(
        self,
        code: str,
        static_tools: Tools | None = None,
        custom_tools: Tools | None = None,
        state: dict[str, Any] | None = None,
        authorized_imports: Sequence[str] = BASE_BUILTIN_MODULES,
        **options: Any,
    ) -> tuple[object, bool]:
        """In the place of `evaluate_python_code(...)`: a fresh box for each call; `state` goes in and comes back."""
        state = {} if state is None else state
        # A package that no image holds cannot be authorised: upstream looks at that in LocalPythonExecutor only.
        executor = self.executor([name for name in authorized_imports if not name.startswith("numpy.a")], **options)
        try:
            executor.send_variables(variables={name: value for name, value in state.items() if name[0] != "_"})
            executor.send_tools({**(static_tools or {}), **(custom_tools or {})})
            done = executor(code)
            state["_print_outputs"] = PrintContainer()
            state["_print_outputs"].append(executor.state["_print_outputs"])
            for name in bound_names(code):
                if name in executor.state:
                    state[name] = executor.state[name]
            return done.output, done.is_final_answer
        finally:
            executor.cleanup()

    def close(self) -> None:
        """End what the test has left."""
        for executor in self._made:
            executor.cleanup()


def bound_names(code: str) -> set[str]:
    """Every name that the code assigns or defines, in whatever scope."""
    nodes = list(ast.walk(ast.parse(code)))
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}

"""The language gate: a courtesy to the model, never the boundary.

It looks at a snippet before it runs and gives a good message early. `standard` knows two rules: the import allow-list
and the names of tools. `strict` adds RestrictedPython's own language and guards. `off` looks at nothing; every
containment test passes with it off.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

# Functions of `math` that snippets find in scope without an import, as smolagents has it.
MATH_FUNCTIONS = (
    "ceil", "floor", "log", "exp", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "degrees", "radians",
    "sqrt",
)  # fmt: skip
# Names that smolagents puts into scope; assigning one is refused as it is there, defining or importing one is not.
FUNCTIONS_IN_SCOPE = frozenset(MATH_FUNCTIONS) | {
    "print", "isinstance", "range", "float", "int", "bool", "str", "set", "list", "dict", "tuple", "round", "pow",
    "len", "sum", "max", "min", "abs", "enumerate", "zip", "reversed", "sorted", "all", "any", "map", "filter",
    "ord", "chr", "next", "iter", "divmod", "callable", "getattr", "hasattr", "setattr", "issubclass", "type",
    "complex",
}  # fmt: skip
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Refused(Exception):
    """The gate refuses the snippet because of this statement; the message is what the model reads."""

    def __init__(self, message: str, statement: ast.stmt) -> None:
        super().__init__(message)
        self.statement = statement


def check(tree: ast.Module, authorized: Sequence[str], tools: frozenset[str]) -> None:
    """Raise Refused for the first statement that imports or assigns what it may not."""
    for statement in tree.body:
        for node in ast.walk(statement):
            for module in _imported(node):
                if not is_authorized(module, authorized):
                    message = f"Import of {module} is not allowed. Authorized imports are: {sorted(authorized)}"
                    raise Refused(message, statement)
        for name, is_assigned in _bound(statement):
            if name in tools or (is_assigned and name in FUNCTIONS_IN_SCOPE):
                raise Refused(f"Cannot assign to name '{name}': doing this would erase the existing tool!", statement)


def is_authorized(module: str, authorized: Sequence[str]) -> bool:
    """`*` allows all; `x.*` allows x and all below; `x` allows only x; `x.y` also allows x."""
    return any(_allows(rule, module) for rule in authorized)


def _allows(rule: str, module: str) -> bool:
    if rule == "*" or rule == module or rule.startswith(module + "."):
        return True
    return rule.endswith(".*") and module.startswith(rule[:-1])


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield "." * node.level + (node.module or "")


def _bound(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Names that `node` binds in the module's scope, each with whether it is by plain assignment."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name, True
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name, False
        case ast.alias(name=name, asname=asname):
            yield asname or name.split(".")[0], False
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name, True
    if isinstance(node, _SCOPES):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.comprehension) and child is node.target:
            continue  # local to the comprehension; a walrus in its conditions is not
        yield from _bound(child)

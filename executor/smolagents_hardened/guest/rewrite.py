"""Two small changes to a snippet's syntax tree, so that plain CPython does what CodeAgent expects.

1. The value of the last statement is kept (a trailing expression, an assignment, a `def`, the last branch taken).
2. Every `try` first lets the private LeaveStep through, so that a bare `except:` does not swallow a final answer.
   `except*` cannot be mixed with that; there, and for `finally: return`, the host ends the step (it has latched the
   answer).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

VALUE_NAME = "_hardened_value"  # in the snippet's globals while it runs
LEAVE_NAME = "_hardened_leave_step"  # in builtins: functions of earlier steps need it too


def let_leaving_through(tree: ast.Module) -> ast.Module:
    """Put `except LeaveStep: raise` before the handlers of every `try`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and node.handlers:
            handler = ast.ExceptHandler(ast.Name(LEAVE_NAME, ast.Load()), None, [ast.Raise(None, None)])
            node.handlers.insert(0, ast.copy_location(handler, node.handlers[0]))
    return ast.fix_missing_locations(tree)


def keep_value(tree: ast.Module) -> ast.Module:
    """Make the last statement leave its value under VALUE_NAME."""
    _keep_last(tree.body)
    return ast.fix_missing_locations(tree)


def _keep_last(body: list[ast.stmt]) -> None:
    if not body:
        return
    match body[-1]:
        case ast.Expr() as last:
            body[-1] = ast.copy_location(ast.Assign([_store()], last.value), last)
        case ast.Assign() as last:
            last.targets.insert(0, _store())
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target, value=ast.expr()):
            if isinstance(target, ast.Name):
                _append_load(body, target.id)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            _append_load(body, name)
        case last:
            for branch in _branches(last):
                _keep_last(branch)


def _branches(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The bodies of a compound statement, of which one runs last."""
    match statement:
        case ast.Match(cases=parts) | ast.Try(handlers=parts):
            yield from (part.body for part in parts)
    if isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.Try):
        yield statement.body
        yield getattr(statement, "orelse", [])


def _append_load(body: list[ast.stmt], name: str) -> None:
    body.append(ast.copy_location(ast.Assign([_store()], ast.Name(name, ast.Load())), body[-1]))


def _store() -> ast.Name:
    return ast.Name(VALUE_NAME, ast.Store())

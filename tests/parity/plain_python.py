"""Runs snippets in this very interpreter and says what came of each: JSON list of codes in, list of rows out."""

from __future__ import annotations

import ast
import io
import json
import linecache
import sys
from contextlib import redirect_stderr, redirect_stdout


def run(code: str, number: int, names: dict[str, object]) -> tuple[str, str, str]:
    """Value of the last expression as text, output, and the name of the error's type."""
    printed = io.StringIO()
    file = f"<snippet {number}>"
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    value: object = None
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            body = ast.parse(code, file)
            last = body.body.pop() if body.body and isinstance(body.body[-1], ast.Expr) else None
            exec(compile(body, file, "exec", dont_inherit=True), names)  # noqa: S102 - a snippet of our own table
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), file, "eval", dont_inherit=True), names)  # noqa: S307
            text, error = str(value), ""
        except BaseException as problem:  # noqa: BLE001 - whatever a snippet raises is what is looked at
            text, error = "None", type(problem).__name__
    return text, printed.getvalue(), error


def main() -> None:
    """One namespace for all, as the box has it."""
    names = sys.modules["__main__"].__dict__
    rows = [run(code, number, names) for number, code in enumerate(json.load(sys.stdin))]
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    main()

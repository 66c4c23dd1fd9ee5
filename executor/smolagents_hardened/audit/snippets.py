"""Secrets in source text: literals that are bound to a secret's name, by keyword, by key or by assignment.

`login(password="hunter2")` binds one, `login("hunter2")` does not: what a position means is the tool's matter, and is
not known where the code is recorded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

MAX_PARSED_CHARS = 256 * 1024  # parsing takes some microseconds a character at worst; beyond, the pattern has to do
# What every secret's name has in it (redact.is_secret_name): without any of them nothing has to be parsed.
_STEMS = ("secret", "token", "credential", "authorization", "cookie", "pwd", "pass", "key")
# For what is no Python: a name, a sign of binding, a text or a word. Bounded, and tried where words begin only.
_BINDING = re.compile(
    r"(?<![\w-])([\w-]{1,256})"
    r"([\"']?[ \t]*(?::[ \t]*[\w.\[\], |]{1,64}=|={1,3}|:=?)[ \t]*)"
    r"(?:[A-Za-z]{0,2}(?:\"\"\"(?s:.*?)(?:\"\"\"|\Z)|'''(?s:.*?)(?:'''|\Z)|\"[^\"\n]*\"?|'[^'\n]*'?)|[^\s,;)\]}\"']+)"
)
_QUOTES = "\"'"
_LINE_END = re.compile(rb"\r\n|\r|\n")

Span = tuple[int, int]  # in bytes of the UTF-8 form


def has_stem(code: str) -> bool:
    """Whether one of the usual names of secrets may stand in it."""
    lowered = code.lower()
    return any(stem in lowered for stem in _STEMS)


def masked(code: str, is_secret: Callable[[str], bool], mask: Callable[[str], str]) -> str:
    """The code with every literal under a secret's name replaced by a text literal of what `mask` says of it."""
    try:
        spans = _spans(code, is_secret) if len(code) <= MAX_PARSED_CHARS else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        spans = None
    if spans is None:
        return _BINDING.sub(lambda found: _masked_binding(found, is_secret, mask), code)
    data, made, done = code.encode(), [], 0
    for start, end in spans:
        made += [data[done:start].decode(), repr(mask(_content(data[start:end].decode())))]
        done = end
    return "".join(made) + data[done:].decode()


def _masked_binding(found: re.Match[str], is_secret: Callable[[str], bool], mask: Callable[[str], str]) -> str:
    name, middle = found.groups()
    value = found[0][len(name) + len(middle) :]
    return f"{name}{middle}{mask(value.strip(_QUOTES))!r}" if is_secret(name) else found[0]


def _content(literal: str) -> str:
    """What a literal says; its source text for one whose parts are put together at run time."""
    try:
        value = ast.literal_eval(f"({literal})")
    except (ValueError, SyntaxError):
        return literal
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _spans(code: str, is_secret: Callable[[str], bool]) -> list[Span]:
    """Where the literals stand, in order, none within another."""
    starts = [0, *(end.end() for end in _LINE_END.finditer(code.encode()))]
    found = set()
    for value in _bound(ast.parse(code), is_secret):
        for node in _literals(value):
            end_line, end = node.end_lineno or 0, node.end_col_offset or 0  # never None in what was parsed
            found.add((starts[node.lineno - 1] + node.col_offset, starts[end_line - 1] + end))
    outermost: list[Span] = []
    for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
        if not outermost or start >= outermost[-1][1]:
            outermost.append((start, end))
    return outermost


def _bound(tree: ast.AST, is_secret: Callable[[str], bool]) -> Iterator[ast.expr]:
    """Every expression whose value gets a secret's name; a text with parts to fill in as a whole, since Python 3.11
    does not say where in it they stand.
    """
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.JoinedStr):
            if any(is_secret(name) for part in ast.walk(node) for name, _ in _bindings(part)):
                yield node
            continue
        yield from (value for name, value in _bindings(node) if value is not None and is_secret(name))
        todo += ast.iter_child_nodes(node)


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    match node:
        case ast.keyword(arg=name, value=value):
            yield name or "", value
        case ast.Dict(keys=keys, values=values):
            yield from ((_text(key), value) for key, value in zip(keys, values, strict=True))
        case ast.Assign(targets=targets, value=value):
            yield from ((name, value) for target in targets for name in _names(target))
        case ast.AnnAssign(target=target, value=value) | ast.AugAssign(target=target, value=value):
            yield from ((name, value) for name in _names(target))
        case ast.NamedExpr(target=target, value=value):
            yield target.id, value
        case ast.arguments():
            positional = [*node.posonlyargs, *node.args]
            yield from zip((one.arg for one in positional[::-1]), node.defaults[::-1], strict=False)
            yield from zip((one.arg for one in node.kwonlyargs), node.kw_defaults, strict=True)


def _names(target: ast.AST) -> Iterator[str]:
    """The names that an assignment binds: variables, attributes, keys."""
    for node in ast.walk(target):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.Subscript(slice=key):
                yield _text(key)


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _literals(value: ast.AST) -> Iterator[ast.expr]:
    """Texts, bytes and numbers."""
    todo = [value]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.JoinedStr):
            yield node
        elif not isinstance(node, ast.Constant):
            todo += ast.iter_child_nodes(node)
        elif isinstance(node.value, str | bytes | int | float | complex) and not isinstance(node.value, bool):
            yield node

"""What a parser finds bound to a secret's name, the reader of tokens finds, too: held against real code."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from smolagents_hardened.audit.snippets import masked

STDLIB = Path(sysconfig.get_paths()["stdlib"])
FILES = ("argparse", "dataclasses", "inspect", "linecache", "logging/config", "smtplib", "tarfile", "urllib/request")
PLACE = 1  # of a secret, in the call of each function that has a name


def is_secret(name: str) -> bool:
    """Every fourth name or so."""
    return name[:1] in {"d", "f", "n", "s"}


def names(target: ast.expr) -> Iterator[str]:
    """Of what is assigned to, or of a key."""
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
            yield name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            yield name
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from names(part)


def bound(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names and what is bound to each of them here, by the grammar."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((name, value) for target in targets for name in names(target))
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
            yield from ((name, value) for name in names(target))
        case ast.NamedExpr(target=ast.Name(id=name), value=value) | ast.keyword(arg=str(name), value=value):
            yield name, value
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            yield from ((name, value) for key, value in pairs if key is not None for name in names(key))
        case ast.arguments(posonlyargs=first, args=then, defaults=defaults):
            yield from zip([one.arg for one in first + then][-len(defaults) :], defaults, strict=False)
            later = zip(node.kwonlyargs, node.kw_defaults, strict=True)
            yield from ((one.arg, value) for one, value in later if value is not None)
        case ast.Call(func=ast.Name(), args=args) if len(args) > PLACE and not isinstance(args[0], ast.Starred):
            yield "first", args[PLACE]


def texts(value: ast.expr) -> Iterator[str]:
    """The literals in a value; not the keys by which it is looked up, and not the code in it."""
    todo: list[ast.AST] = [value]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        elif isinstance(node, ast.Subscript):
            todo.append(node.value)
        elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            todo += ast.iter_child_nodes(node)


@pytest.mark.parametrize("file", FILES)
def test_what_a_parser_finds_is_hidden(file: str) -> None:
    """Every literal that the grammar binds to a secret's name or place is replaced, in a file of the library."""
    code = (STDLIB / f"{file}.py").read_text()
    places = {node.id: ("", "first") for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    tree = ast.parse(masked(code, is_secret, lambda _: "gone", places))
    values = [value for node in ast.walk(tree) for name, value in bound(node) if is_secret(name)]
    shown = {text.strip() for value in values for text in texts(value)}
    assert shown - {""} == {"gone"}

"""The strict gate: RestrictedPython compiles the snippet under its own policy, these are the guards it then calls.

A second, narrower language for users who want one: no names that begin with an underscore, no write to modules,
classes or functions, only the safe builtins. Maintained by the Zope community; not a boundary here either.
"""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

_MORE_BUILTINS = [
    "all",
    "any",
    "ascii",
    "bin",
    "dict",
    "enumerate",
    "filter",
    "frozenset",
    "hasattr",
    "iter",
    "list",
    "map",
    "max",
    "min",
    "next",
    "object",
    "print",
    "property",
    "reversed",
    "set",
    "staticmethod",
    "classmethod",
    "sum",
    "super",
    "type",
    "format",
    "hash",
]
_INPLACE = {
    "+=": operator.iadd, "-=": operator.isub, "*=": operator.imul, "/=": operator.itruediv, "//=": operator.ifloordiv,
    "%=": operator.imod, "**=": operator.ipow, "<<=": operator.ilshift, ">>=": operator.irshift, "|=": operator.ior,
    "^=": operator.ixor, "&=": operator.iand, "@=": operator.imatmul,
}  # fmt: skip


class _PrintThrough:
    """RestrictedPython turns `print(x)` into a call on this: pass it on to the box's own print."""

    def __init__(self, _getattr: object = None) -> None:
        pass

    def _call_print(self, *objects: object, **kwargs: Any) -> None:
        builtins.print(*objects, **kwargs)


def restrict(tree: ast.Module) -> tuple[ast.Module, list[str]]:
    """Rewrite the tree under RestrictedPython's policy; the second value lists what it refuses."""
    from RestrictedPython.transformer import RestrictingNodeTransformer

    errors: list[str] = []
    rewritten = RestrictingNodeTransformer(errors, [], {}).visit(tree)
    return ast.fix_missing_locations(rewritten), errors


def guards(guarded_import: Callable[..., object]) -> dict[str, object]:
    """The names that restricted code calls, for the snippet's namespace."""
    from RestrictedPython.Eval import default_guarded_getitem, default_guarded_getiter
    from RestrictedPython.Guards import (
        guarded_iter_unpack_sequence,
        guarded_unpack_sequence,
        safe_builtins,
        safer_getattr,
    )
    from RestrictedPython.Limits import limited_builtins
    from RestrictedPython.Utilities import utility_builtins

    allowed: dict[str, object] = {**safe_builtins, **limited_builtins, **utility_builtins}
    allowed |= {name: getattr(builtins, name) for name in _MORE_BUILTINS}
    allowed |= {
        "getattr": safer_getattr,
        "range": range,
        "list": list,
        "tuple": tuple,
        "__import__": guarded_import,
    }
    return {
        "__builtins__": allowed,
        "__metaclass__": type,
        "_getattr_": safer_getattr,
        "_getitem_": default_guarded_getitem,
        "_getiter_": default_guarded_getiter,
        "_iter_unpack_sequence_": guarded_iter_unpack_sequence,
        "_unpack_sequence_": guarded_unpack_sequence,
        "_write_": _writable,
        "_inplacevar_": _inplace,
        "_print_": _PrintThrough,
    }


def _writable(target: object) -> object:
    if isinstance(target, ModuleType | type | FunctionType):
        raise TypeError(f"the strict gate does not allow writing to a {type(target).__name__}")
    return target


def _inplace(operation: str, left: Any, right: Any) -> object:
    apply: Callable[[Any, Any], object] = _INPLACE[operation]
    return apply(left, right)

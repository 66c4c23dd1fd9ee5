"""What a call of each tool costs, and each token of a model: a table of names, where tools may be globs.

A tool's own name counts first, else the highest price of the globs that fit it: doubt is dear, never free.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fnmatch import fnmatchcase

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.authority import Price
from smolagents_hardened.governance.budget import exact
from smolagents_hardened.governance.rules import is_glob

TOKENS = INPUT, OUTPUT = "model:input", "model:output"  # the names of a model's tokens
_CACHED_TOOLS = 1000  # names whose globs are looked through once only; names come from the agent's tools, not the box


class PriceTable:
    """A table as it is charged: exact numbers, and functions of the call. Raises ConfigError."""

    def __init__(self, table: Mapping[str, object]) -> None:
        self._found: dict[str, Decimal | Price | None] = {}
        globs: dict[str, Decimal] = {}
        for name, price in table.items():
            wrong = fault(name, price)
            cost = price if callable(price) else exact(price)
            if wrong or cost is None:
                raise ConfigError(f"prices: {wrong}")
            if is_glob(name) and isinstance(cost, Decimal):
                globs[name] = cost
            else:
                self._found[name] = cost
        self._globs = tuple(globs.items())
        self._most = len(self._found) + _CACHED_TOOLS

    def of(self, name: str) -> Decimal | Price | None:
        """The price of a tool's call or of a token; None where nothing is said of it."""
        if name in self._found:
            return self._found[name]
        fitting = [cost for glob, cost in self._globs if name not in TOKENS and fnmatchcase(name, glob)]
        found = max(fitting, default=None)
        if len(self._found) < self._most:
            self._found[name] = found
        return found


def fault(name: object, price: object) -> str:
    """What is wrong with one line of a table; "" where nothing is."""
    if not isinstance(name, str):
        return f"a price is of a tool's name, not of {name!r}"
    if name.startswith("model:") and name not in TOKENS:
        return f"{name!r} is no price of a model's tokens: those are {INPUT} and {OUTPUT}"
    if callable(price) and (name in TOKENS or is_glob(name)):
        return f"the price of {name!r} is a number: a function is for one tool, or for all calls (prices = function)"
    if not callable(price) and exact(price) is None:
        return f"the price of {name!r} is a number from 0 on, not {price!r}"
    return ""

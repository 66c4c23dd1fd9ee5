"""Secrets in source text: literals that are bound to a secret's name, by keyword, by key, by assignment, or by their
position in the call of a tool (`login("bob", "hunter2")`; under another name, as in `f = login`, it is not known).

The text is read token by token, once, and not parsed to tell where a literal stands: what a model writes may be of a
newer Python than ours, or none; a tree takes hundreds of times its length in memory; and a form of binding that a
reader of trees forgets would show what it binds, where here every `=` and `:` counts. What is bound to a secret's name
ends with the logical line, within brackets with the next comma.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from keyword import kwlist

MAX_CHARS = 128 * 1024  # a token takes some microseconds; what lies beyond is hidden as a whole
MAX_NAME_CHARS = 256
# What every secret's name has in it (redact.is_secret_name): without any of them nothing has to be read.
_STEMS = ("secret", "token", "credential", "authorization", "cookie", "pwd", "pass", "key")
_KEYWORDS = frozenset(kwlist) - {"None", "True", "False"}
# Possessive throughout, and every text may be without its end: no token is tried in two ways.
_TOKEN = re.compile(
    r"""(?xs)
      (?P<text>(?P<prefix>[A-Za-z]{0,2})(?P<quoted>
          \"\"\"(?:[^"\\]++|\\.|"(?!""))*+(?:\"\"\")?+ | '''(?:[^'\\]++|\\.|'(?!''))*+(?:''')?+
        | "(?:[^"\\\r\n]++|\\\r\n|\\.)*+"?+ | '(?:[^'\\\r\n]++|\\\r\n|\\.)*+'?+))
    | (?P<name>[^\W\d]\w*+(?:-[^\W\d]\w*+)*+)
    | (?P<number>\.?\d(?:[eE][+-]|[\w.])*+)
    | (?P<gap>[^\S\r\n]++ | \#[^\r\n]*+ | \\\r?\n)
    | (?P<end>[\r\n]++ | ;)
    | (?P<open>[(\[{]) | (?P<close>[)\]}]) | (?P<comma>,)
    | (?P<compare>[=!<>]=) | (?P<bind>:?=) | (?P<colon>:)
    | (?P<other>.)"""
)
# For what is no Python: what stands without quotes behind a sign of binding.
_WORD = re.compile(r"[^\S\r\n]*+([^\s=,;()\[\]{}<>\"']{1,256}+)(?![^\S\r\n]*+[=(\[\"'])")
_FIELD = re.compile(r"\{((?:[^{}]++|\{[^{}]*+\})*+)\}")  # of an f-string
_QUOTES = "\"'"

Places = Mapping[str, Sequence[str]]  # name of a tool -> the names of its positional arguments, in order


def has_stem(code: str) -> bool:
    """Whether one of the usual names of secrets may stand in it."""
    lowered = code.lower()
    return any(stem in lowered for stem in _STEMS)


def masked(
    code: str, is_secret: Callable[[str], bool], mask: Callable[[str], str], places: Places, *, is_told: bool = False
) -> str:
    """The text with every literal under a secret's name replaced by a text literal of what `mask` says of it.

    Words without quotes are replaced as well where the text is no Python, and where it `is_told`: what an object says
    of itself has no variables.
    """
    head, rest = code[:MAX_CHARS], code[MAX_CHARS:]
    scan = _scanned(head, lru_cache(maxsize=4096)(is_secret), places)
    spans = scan.literals
    if scan.words and (is_told or not _is_python(head)):
        spans = sorted(spans + scan.words, key=lambda span: (span[0], -span[1]))
    made, done = [], 0
    for start, end in spans:
        if start < done:  # a number within a word
            continue
        content = _content(head[start:end])
        if content.strip():
            made += [head[done:start], repr(mask(content))]
            done = end
    made += [head[done:], repr(mask(rest)) if rest else ""]
    return "".join(made)


def _scanned(code: str, is_secret: Callable[[str], bool], places: Places) -> _Scan:
    """Read it; a bracket that is never closed would take in all lines that follow, and is then given up where a line
    begins with a name.
    """
    scan = _Scan(code, is_secret, places).run()
    return scan if len(scan.frames) == 1 else _Scan(code, is_secret, places, gives_up=True).run()


def _is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _is_number(begin: str) -> bool:
    return begin.isdigit() or begin == "."


def _content(literal: str) -> str:
    """What a text says; the source of a number, and of what Python does not read or puts together at run time."""
    if _is_number(literal[0]):
        return literal
    try:
        value = ast.literal_eval(f"({literal})")
        return value.decode("latin-1") if isinstance(value, bytes) else str(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return literal.strip(_QUOTES)


@dataclass(slots=True)
class _Frame:
    """What is known within one pair of brackets, or of one logical line. Literals are hidden as `hides` says: 0 none,
    1 texts (in a call within a hidden value: `token = login(url, timeout=100)` is no secret of 100), 2 numbers, too.
    """

    inherited: int = 0
    is_call: bool = False
    hides: int = 0
    places: Sequence[bool] = ()  # of the arguments of a tool that are to come: whether one is a secret
    is_placed: bool = False  # the one at hand is, unless it turns out to have a name
    is_named: bool = False  # a secret's name stands before the next sign of binding
    was_named: bool = False
    has_keyword: bool = False  # the next colon belongs to a statement or a lambda

    def next(self) -> None:
        """What follows is another argument, or item."""
        self.is_placed, self.places = any(self.places[:1]), self.places[1:]
        self.hides, self.is_named, self.has_keyword = 2 if self.is_placed else self.inherited, False, False


@dataclass(slots=True)
class _Scan:
    code: str
    is_secret: Callable[[str], bool]
    places: Places
    gives_up: bool = False
    literals: list[tuple[int, int]] = field(default_factory=list)
    words: list[tuple[int, int]] = field(default_factory=list)
    frames: list[_Frame] = field(default_factory=lambda: [_Frame()])
    _before: str = ""  # kind of the token before
    _last: str = ""  # the name that was read last
    _is_joined: bool = False  # it was a hidden text: one that follows belongs to it

    def run(self) -> _Scan:
        """Feed each token to the method for its kind."""
        feed = {kind: getattr(self, f"_{kind}") for kind in _KINDS}
        for found in _TOKEN.finditer(self.code):
            kind = found.lastgroup or ""
            if kind == "gap":
                continue
            if kind in feed:
                feed[kind](found)
            if kind != "end":
                self._is_joined = self._is_joined and kind == "text"
                self._before = "keyword" if found[0] in _KEYWORDS else kind
        return self

    def _text(self, found: re.Match[str]) -> None:
        top, content = self.frames[-1], found["quoted"].strip(_QUOTES)
        if top.hides or ("f" in found["prefix"].lower() and self._has_secret(content)):
            start = self.literals.pop()[0] if self._is_joined else found.start()
            self.literals.append((start, found.end()))
            self._is_joined = True
            return
        self._is_joined = False
        if len(content) <= MAX_NAME_CHARS and self.is_secret(content):
            top.is_named = top.was_named = True

    def _has_secret(self, text: str) -> bool:
        """Whether what fills in a text has one; the numbers there are widths."""
        scans = [(part, _scanned(part, self.is_secret, self.places)) for part in _FIELD.findall(text)]
        return any(not _is_number(part[start]) for part, scan in scans for start, _ in scan.literals)

    def _name(self, found: re.Match[str]) -> None:
        top, self._last = self.frames[-1], found[0]
        name = self._last
        if name in _KEYWORDS:
            top.has_keyword, top.is_named = True, False
        elif self.is_secret(name[:MAX_NAME_CHARS]):
            top.is_named = top.was_named = True

    def _number(self, found: re.Match[str]) -> None:
        if self.frames[-1].hides > 1:
            self.literals.append(found.span())

    def _open(self, found: re.Match[str]) -> None:
        hides, is_applied = self.frames[-1].hides, self._before in ("name", "close")
        if is_applied:  # what is asked for by a key is not the key: `token = os.environ["API_KEY"]`
            hides = min(hides, 1) if found[0] == "(" else 0
        is_call = is_applied and found[0] == "("
        names = self.places.get(self._last, ()) if is_call and self._before == "name" else ()
        self.frames.append(_Frame(hides, is_call, hides, [self.is_secret(name) for name in names]))
        self.frames[-1].next()

    def _close(self, _: re.Match[str]) -> None:
        if len(self.frames) > 1:
            closed = self.frames.pop()
            if closed.was_named and not closed.is_call:  # `d["api_key"] = ...`, `(user, password) = ...`
                self.frames[-1].is_named = self.frames[-1].was_named = True

    def _comma(self, _: re.Match[str]) -> None:
        if len(self.frames) > 1:
            self.frames[-1].next()

    def _bind(self, found: re.Match[str]) -> None:
        top = self.frames[-1]
        if top.is_named:
            top.hides = 2
            word = _WORD.match(self.code, found.end())
            if word is not None and word[1] not in kwlist:
                self.words.append(word.span(1))
        elif top.is_placed and self._before == "name" and found[0] == "=":
            top.hides = top.inherited

    def _other(self, found: re.Match[str]) -> None:
        top = self.frames[-1]
        is_spread = found[0] == "*" and self._before in ("open", "comma")
        if is_spread and (top.is_placed or any(top.places)):  # what place anything has from here on is not known
            top.inherited = top.hides = 2

    def _colon(self, found: re.Match[str]) -> None:
        top = self.frames[-1]
        if top.has_keyword:
            top.has_keyword = top.is_named = False
        else:
            self._bind(found)

    def _end(self, found: re.Match[str]) -> None:
        is_given_up = self.gives_up and found[0] != ";" and self.code[found.end() : found.end() + 1].isidentifier()
        if len(self.frames) == 1 or is_given_up:
            self.frames, self._before, self._is_joined = [_Frame()], "", False


_KINDS = ("text", "name", "number", "open", "close", "comma", "bind", "colon", "end", "other")

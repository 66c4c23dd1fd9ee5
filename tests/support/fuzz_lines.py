"""The target on policy files in TOML, YAML and JSON: what they say is read, or refused, with the lines of its parts."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path
from time import process_time

from tests.support.fuzz_choices import Choices

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.policy_file import parse
from smolagents_hardened.wire.json_text import Tree

# What a repeated piece may cost: readers take some 0.3 s for as much when they are traced, a quadratic one minutes.
_REPEATED_CHARS = {".toml": 40_000, ".json": 40_000, ".yaml": 8_000}
_MOST_S = 5.0
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_SUFFIXES = (".toml", ".json", ".yaml")
_KEYS = ("rule", "default", "budget", "label", "prices", "tools", "a b", "=", "#", "[[rule]]", "é", "tool", "x.y")
_LEAVES: tuple[Tree, ...] = ("x", 1, True, 2.5, "", "# no comment", "[", '"', "'", "\\", "=", "[[rule]]", ": ", "é")
_PIECES = (
    "[[rule]]\n", "[rule]\n", "rule = [", "{", "}", "]", '"""', "'''", '"', "'", "\\", "#", "\n", "\r\n", "\r", ",",
    "a.", "a = 1\n", "a: 1\n", "- ", "- - ", "? ", "&a ", "*a ", "!!x ", "|\n", ">-\n", "---\n", "...\n",
    "%YAML 1.2\n", "[a.b]\n", "x = {", "[[a]]\n", '"a": ', "[", "9999999999999999999999999999999999999999",
    "2026-01-01", "\t", "\ufeff", "\u2028", "\x85", "\x00", "é", "\ud800", "1e999", "nan", "0x", "\\ud800", "'\n",
    '"\n', ": ", "{a: ", "[[[", "\n ", "\n  - ", "é: ", "a=\n", "\x0c",
)  # fmt: skip


def policy_text(data: bytes) -> None:
    """A text in any of the three languages gives a document or a ConfigError, in bounded time; every line that either
    names is in the file, and in a file whose layout is known every part is found in the line where it stands.
    """
    choices = Choices(data)
    suffix = choices.pick(_SUFFIXES)
    text, stands = _laid_out(choices, suffix)
    is_whole = True
    for _ in range(choices.below(4)):
        text, is_whole = _spoilt(choices, text), False
    _check_text(text, suffix, stands if is_whole else None)
    if choices.chance(32):
        piece = choices.pick(_PIECES) + choices.pick(("", *_PIECES))
        _check_text(
            choices.pick(("", "a = ", "a: ", "[")) + piece * (_REPEATED_CHARS[suffix] // len(piece)), suffix, None
        )


def _check_text(text: str, suffix: str, stands: dict[tuple[str | int, ...], int] | None) -> None:
    document, told, began = None, "", process_time()
    try:
        document = parse(text, Path(f"p{suffix}"))
    except ConfigError as error:
        told = str(error)
    assert process_time() - began < _MOST_S, text[:100]
    lines = list(document.lines.values()) if document else [int(line) for line in _LINE_TOLD.findall(told)]
    assert all(1 <= line <= len(_LINE_ENDS.findall(text)) + 1 for line in lines), (text, lines, told)
    if stands is not None:
        assert document is not None, (text, told)
        found = {path: document.line(*path) for path in stands}
        assert found == stands, (text, found, stands)


# Ours, tomllib's, json's, and the YAML reader's; the text itself may be quoted behind them.
_LINE_TOLD = re.compile(r'(?:is not valid: |\(at |^[^"]*: |in "<unicode string>", )line (\d+)')


def _spoilt(choices: Choices, text: str) -> str:
    at = choices.below(len(text) + 1)
    piece = choices.pick(_PIECES) if choices.below(4) else choices.raw(8).decode("utf-8", "surrogateescape")
    return text[:at] + piece + text[at + choices.below(24) :]


def _laid_out(choices: Choices, suffix: str) -> tuple[str, dict[tuple[str | int, ...], int]]:
    tree: dict[str, Tree] = {"default": "deny"}
    for _ in range(choices.below(5)):
        tree[choices.pick(_KEYS)] = _grown(choices, 3)
    return (_Toml(choices) if suffix == ".toml" else _Json(choices, is_yaml=suffix == ".yaml")).document(tree)


def _grown(choices: Choices, depth: int) -> Tree:
    match choices.below(4) if depth else 0:
        case 1:
            return [_grown(choices, depth - 1) for _ in range(choices.below(4))]
        case 2:
            return {choices.pick(_KEYS): _grown(choices, depth - 1) for _ in range(choices.below(4))}
        case 3:
            return [{"tool": choices.pick(_LEAVES), choices.pick(_KEYS): _grown(choices, depth - 1)} for _ in range(2)]
    return choices.pick(_LEAVES)


class _Writer:
    """Writes a tree with gaps of any kind in between, and notes in which line its parts begin."""

    gaps: tuple[str, ...] = ("", " ", "\n", "\n\n", "\r\n")

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.made: list[str] = []
        self.stands: dict[tuple[str | int, ...], int] = {}

    def say(self, text: str) -> None:
        self.made.append(text)

    def gap(self) -> None:
        self.say(self.choices.pick(self.gaps))

    def note(self, *path: str | int) -> None:
        if len(path) <= 2:
            self.stands.setdefault(path, "".join(self.made).count("\n") + 1)

    def listed(self, values: list[Tree], path: tuple[str | int, ...]) -> None:
        self.say("[")
        for place, value in enumerate(values):
            self.gap()
            if len(path) == 1:
                self.note(*path, place)
            self.value(value, (*path, place))
            self.gap()
            self.say("," if place < len(values) - 1 else "")
        self.gap()
        self.say("]")

    def value(self, value: Tree, path: tuple[str | int, ...]) -> None:
        raise NotImplementedError


class _Json(_Writer):
    """JSON, and the YAML that is JSON but for comments and keys without quotes."""

    def __init__(self, choices: Choices, *, is_yaml: bool) -> None:
        super().__init__(choices)
        self.gaps = ("", " ", "\n ", "\n\n ", "\r\n ", " # [{,\n ") if is_yaml else (*self.gaps, "\t")
        self.colon = ": " if is_yaml else "\n:"
        self.texts = ('"x\n\n y"', "'\n  x'") if is_yaml else ('"x"',)

    def document(self, tree: dict[str, Tree]) -> tuple[str, dict[tuple[str | int, ...], int]]:
        self.gap()
        self.value(tree, ())
        self.gap()
        return "".join(self.made), self.stands

    def value(self, value: Tree, path: tuple[str | int, ...]) -> None:
        if isinstance(value, list):
            self.listed(value, path)
        elif isinstance(value, dict):
            self.say("{")
            for place, (key, item) in enumerate(value.items()):
                self.gap()
                self.note(*path, key)
                self.say(json.dumps(key, ensure_ascii=bool(self.choices.below(2))))
                self.say(self.choices.pick((": ", ":\n ", self.colon)))
                self.value(item, (*path, key))
                self.gap()
                self.say("," if place < len(value) - 1 else "")
            self.gap()
            self.say("}")
        elif value == "x":
            self.say(self.choices.pick(self.texts))
        else:
            self.say(json.dumps(value, ensure_ascii=bool(self.choices.below(2))))


class _Toml(_Writer):
    """TOML: lists of tables with headers or in line, keys quoted or not, texts of several lines."""

    gaps = ("", " ", "\n", "\n\n", "\r\n", " # [[rule]] ]\n")
    _bare = frozenset(string.ascii_letters)

    def document(self, tree: dict[str, Tree]) -> tuple[str, dict[tuple[str | int, ...], int]]:
        later = {}
        for key, value in tree.items():
            is_table = isinstance(value, dict) or (value and _is_all_tables(value))
            if is_table and self.choices.below(2):
                later[key] = value
            else:
                self.pair((), key, value)
        for key, value in later.items():
            for place, table in enumerate(value) if isinstance(value, list) else ((None, value),):
                path = (key,) if place is None else (key, place)
                self.note(key)
                self.note(*path)
                self.say(f"[{self.key(key)}]\n" if place is None else f"[[ {self.key(key)} ]]\n")
                for name, item in table.items():  # type: ignore[union-attr]
                    self.pair(path, name, item)
        return "".join(self.made), self.stands

    def pair(self, path: tuple[str | int, ...], key: str, value: Tree) -> None:
        self.say(self.choices.pick(("", " ", "\n", "# x = [\n", "# '''\n")))
        self.note(*path, key)
        self.say(self.key(key) + self.choices.pick((" = ", "=")))
        self.value(value, (*path, key))
        self.say(self.choices.pick(("\n", " # ]\n", "\r\n")))

    def key(self, key: str) -> str:
        is_bare = self._bare.issuperset(key) and self.choices.below(2) == 0
        return key if is_bare else json.dumps(key, ensure_ascii=False)

    def value(self, value: Tree, path: tuple[str | int, ...]) -> None:
        if isinstance(value, list):
            self.listed(value, path)
        elif isinstance(value, dict):
            self.say("{")
            for place, (key, item) in enumerate(value.items()):
                self.say(" " + self.key(key) + " = ")
                self.value(item, (*path, key))
                self.say("," if place < len(value) - 1 else " ")
            self.say("}")
        elif isinstance(value, str) and "'" not in value and self.choices.below(3):
            quotes = self.choices.pick(("'", "'''", "'''\n"))
            self.say(quotes + value + quotes.strip())
        elif isinstance(value, str) and self.choices.below(2):
            self.say('"""\n' + value.replace("\\", "\\\\").replace('"', '\\"') + '\\\n  """')
        else:
            self.say(json.dumps(value, ensure_ascii=False))


def _is_all_tables(value: Tree) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)

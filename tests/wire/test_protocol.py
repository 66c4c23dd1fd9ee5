"""PROTOCOL.md and the code say the same: messages, kinds, transitions, tags, limits, codes."""

import ast
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from smolagents_hardened import wire
from smolagents_hardened.limits import Limits
from smolagents_hardened.wire import messages as m
from smolagents_hardened.wire.budget import MAX_DEPTH, Budget
from smolagents_hardened.wire.order import TRANSITIONS
from smolagents_hardened.wire.schema import KINDS, SCHEMA
from smolagents_hardened.wire.values import READERS

ROOM = Path(wire.__file__).parent
TEXT = (ROOM / "PROTOCOL.md").read_text()


def rows(first_header: str) -> list[list[str]]:
    """The rows of the table whose first header is this, as lists of cells."""
    lines = iter(TEXT.splitlines())
    for line in lines:
        if line.startswith(f"| {first_header} |"):
            next(lines)
            break
    table = []
    for line in lines:
        if not line.startswith("|"):
            return table
        table.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
    return table


def test_the_messages_are_those_of_the_code():
    """Type, senders, and the kind of every field."""
    told = {row[0]: (row[1], row[2]) for row in rows("type")}
    held = {}
    for word, (sides, _, kinds) in SCHEMA.items():
        listed = ", ".join(f"`{name}`: {kind}" for name, kind in kinds.items())
        held[word] = (", ".join(sorted(sides)), listed.removeprefix("`"))
    assert told == held


def test_every_message_class_has_its_row_with_all_its_fields():
    """The schema forgets no message and no field of one."""
    by_class = {made: kinds for _, made, kinds in SCHEMA.values()}
    assert set(by_class) == set(m.Message.__args__)
    for made, kinds in by_class.items():
        assert [field.name for field in fields(made)] == list(kinds)


def test_the_kinds_of_fields_are_those_of_the_code():
    """Each kind is explained, and none that does not exist."""
    assert {row[0] for row in rows("kind of field")} == set(KINDS)


def test_the_transitions_are_those_of_the_code():
    """State, sender, message and next state, row for row."""
    assert [tuple(row) for row in rows("in")] == [
        (str(state), side, kind.__name__, str(after)) for (state, side, kind), after in TRANSITIONS.items()
    ]


def test_the_tags_are_those_of_the_code():
    """Each tag with its fields."""
    told = {row[0]: {name.strip("` ") for name in row[1].split(",")} for row in rows("tag")}
    assert told == {tag: set(reader.fields) for tag, reader in READERS.items()}


def test_the_limits_are_those_of_the_code():
    """The defaults of PROTOCOL.md, Budget and Limits are the same numbers."""
    told = {row[0]: int(row[1]) for row in rows("number")}
    assert told == asdict(Budget()) == asdict(Budget.from_limits(Limits()))
    assert Budget.from_limits(Limits(depth=1000)).depth == MAX_DEPTH


def codes_raised() -> set[str]:
    """The first argument of every WireError(...) in the room that is a literal."""
    found = set()
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "WireError":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    found.add(first.value)
    return found


def test_the_codes_are_those_of_the_code():
    """Every code that can be raised is listed, and no other."""
    listed = TEXT[TEXT.index("`WireError.code` is one of:") :].split("`")[3::2]
    assert set(listed) == codes_raised()


@pytest.mark.parametrize("path", sorted(ROOM.glob("*.py")), ids=lambda path: path.name)
def test_the_room_imports_nothing_that_acts(path):
    """No I/O, no clock, no pickle, nothing of the package but the room itself; libraries only inside functions."""
    allowed = {
        "__future__",
        "array",
        "binascii",
        "collections",
        "contextlib",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "json",
        "keyword",
        "math",
        "pathlib",
        "re",
        "sys",
        "types",
        "typing",
        "unicodedata",
        "uuid",
        "zoneinfo",
    }
    tree = ast.parse(path.read_text())
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] in allowed or name.startswith("smolagents_hardened.wire"), name
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"open", "eval", "exec", "compile", "__import__", "input", "print"}

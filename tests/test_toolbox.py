"""Binding and checking of arguments, without a box."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Optional

import pytest
from smolagents import Tool

from smolagents_hardened.at_work import at_work
from smolagents_hardened.audit.digest import digest
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.latch import Latch
from smolagents_hardened.limits import Limits
from smolagents_hardened.toolbox import Toolbox
from smolagents_hardened.wire.values import decode


class Search(Tool):  # type: ignore[misc]
    """Every kind of input."""

    name = "search"
    description = "Searches."
    inputs = {  # noqa: RUF012 - smolagents' way
        "text": {"type": "string", "description": "t"},
        "most": {"type": "integer", "description": "n", "nullable": True},
        "share": {"type": "number", "description": "s", "nullable": True},
        "only": {"type": "array", "description": "o", "nullable": True},
        "options": {"type": "object", "description": "d", "nullable": True},
        "extra": {"type": "any", "description": "x", "nullable": True},
    }
    output_type = "object"

    def forward(
        self,
        text: str,
        most: int | None = None,
        share: float | None = None,
        only: list[str] | None = None,
        options: dict[str, object] | None = None,
        extra: object = None,
    ) -> dict[str, object]:
        return {"text": text, "most": most, "share": share, "only": only, "options": options, "extra": extra}


def toolbox(*hooks: object, **tools: object) -> Toolbox:
    """A toolbox with these tools."""

    def make_call(tool: str, arguments: Mapping[str, object]) -> ToolCall:
        return ToolCall("id", "run", 1, "agent", ("agent",), tool, arguments, digest(tool, arguments), "code")

    box = Toolbox(
        Governor(hooks, Trail(), clock=time.monotonic, run_id="run"), Limits(), make_call, lambda: {"run": "run"}
    )
    box.replace(tools)  # type: ignore[arg-type]
    return box


def value(box: Toolbox, tool: str, *args: object, **kwargs: object) -> object:
    """What the snippet would get."""
    answer = box.serve(tool, list(args), kwargs)
    assert answer.encoded is not None, answer.message
    return decode(answer.encoded.tree)


@pytest.mark.parametrize(
    ("arguments", "is_allowed"),
    [
        ({"text": "a"}, True),
        ({"text": "a", "most": 1}, True),
        ({"text": "a", "most": None}, True),
        ({"text": None}, False),
        ({"text": b"a"}, False),
        ({"text": "a", "most": True}, False),
        ({"text": "a", "most": 1.0}, False),
        ({"text": "a", "most": "1"}, False),
        ({"text": "a", "share": 1}, True),
        ({"text": "a", "share": False}, False),
        ({"text": "a", "only": ("x",)}, True),
        ({"text": "a", "only": "x"}, False),
        ({"text": "a", "only": {"x": 1}}, False),
        ({"text": "a", "options": {}}, True),
        ({"text": "a", "options": ["x"]}, False),
        ({"text": "a", "options": "x"}, False),
        ({"text": "a", "extra": object}, True),
        ({"Text": "a"}, False),
        ({"text": "a", "more": 1}, False),
        ({}, False),
    ],
)
def test_declared_types_are_strict(arguments: dict[str, object], is_allowed: bool) -> None:
    """No coercion: bool is no int, int is a number, a string is no list, a look-alike name is unknown."""
    answer = toolbox(search=Search()).serve("search", [], arguments)
    assert (answer.type_name != "TypeError") is is_allowed


def test_functions_are_bound_by_their_signature() -> None:
    """A plain function gets positionals, variadics and keywords as it declares them."""

    def show(first: object, *rest: object, flag: object = 0, **more: object) -> list[object]:
        return [first, list(rest), flag, more]

    box = toolbox(show=show)
    assert value(box, "show", 1, 2, 3, flag=4, other=5) == [1, [2, 3], 4, {"other": 5}]
    assert box.serve("show", [], {}).type_name == "TypeError"


def note(
    text: str,
    most: int | None = None,
    tags: Optional[list[str]] = None,  # noqa: UP045 - the older spelling is one to be understood
    share: float = 0.5,
    free: complex = 1,
    odd: [1] = 2,  # type: ignore[valid-type]
) -> str:
    """A plain function with every kind of annotation, one that is no type among them."""
    return f"{text} {most} {tags} {share} {free} {odd}"


def unresolved(
    text: str,
    most: int | None = None,
    tags: list[str] | None = None,
    share: float = 0.5,
    free: Nowhere = 1,  # type: ignore[name-defined]  # noqa: F821 - as where it is imported for type checkers only
    odd: list[int | str] = 2,  # type: ignore[assignment]
) -> str:
    """The same, where one annotation cannot be resolved."""
    return note(text, most, tags, share)


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ({"text": "a", "most": 1, "tags": ["x"], "share": 1, "free": (), "odd": {}}, ""),
        ({"text": "a", "most": None, "tags": None, "share": 0.5}, ""),
        ({"text": 1}, "argument 'text' of note() must be string, not int: convert it with str()"),
        ({"text": None}, "argument 'text' of note() must be string, not NoneType: convert it with str()"),
        ({"text": "a", "most": "1"}, "argument 'most' of note() must be integer or null, not str"),
        ({"text": "a", "most": True}, "argument 'most' of note() must be integer or null, not bool"),
        ({"text": "a", "tags": "x"}, "argument 'tags' of note() must be array or null, not str"),
        ({"text": "a", "share": None}, "argument 'share' of note() must be number, not NoneType"),
        ({"text": "a", "more": 1}, "got an unexpected keyword argument 'more'"),
        ({}, "missing a required argument: 'text'"),
    ],
)
@pytest.mark.parametrize("function", [note, unresolved])
def test_annotations_of_plain_functions_are_strict(
    function: Callable[..., str], arguments: dict[str, object], refused: str
) -> None:
    """[R12] A plain function's annotated argument of another type is refused with its name and both types."""
    answer = toolbox(note=function).serve("note", [], arguments)
    told = f"{refused} (code: invalid_arguments)" if refused else ""
    assert (answer.message, answer.type_name) == (told, "TypeError" if refused else "")


def test_a_function_without_signature_takes_keywords() -> None:
    """A builtin whose signature cannot be read is called by keyword."""
    box = toolbox(make=dict)
    assert value(box, "make", a=1) == {"a": 1}


def test_names_are_exact() -> None:
    """No case fold, no look-alike, no dotted name."""
    box = toolbox(search=Search())
    for name in ("Search", "search ", "\N{LATIN SMALL LETTER LONG S}earch", "search.forward", "__call__", ""):
        assert box.serve(name, [], {"text": "a"}).type_name == "NameError"


@pytest.mark.parametrize("name", ["a b", "a.b", "1a", "", "s\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_odd_names_are_refused(name: str) -> None:
    """A tool whose name is no ASCII identifier is a ConfigError."""
    with pytest.raises(ConfigError, match="ASCII Python identifier"):
        toolbox(**{name: Search()})


def test_what_does_not_get_as_far_as_a_hook_is_on_record() -> None:
    """A refusal of a call nobody was asked about has an id, who made it, and the arguments as they were given."""
    box = toolbox(search=Search())
    with at_work("boss", Latch()), at_work("clerk", Latch()):
        box.serve("search", [1], {"only": "x" * 10**6})
        box.serve("nothing", [], {"text": float("nan")})
    first, second = box._governor.trail.records()
    assert (first["code"], second["code"]) == ("invalid_arguments", "unknown_tool")
    assert first["delegation"] == ["boss", "clerk"]
    assert first["call"] != second["call"]
    assert first["arguments"]["*"] == [1]
    assert second["arguments"].keys() == {"text"}
    assert len(str(first)) < 10**5


@pytest.mark.parametrize(
    ("code", "tool", "args"),
    [("invalid_arguments", "search", [1]), ("invalid_arguments", "login", []), ("unknown_tool", "nothing", [])],
)
def test_the_code_of_a_refusal_is_in_what_the_model_reads(code: str, tool: str, args: list[object]) -> None:
    """Also where nobody was asked; the record has it apart, and a call that fits has none."""
    box = toolbox(search=Search(), login=login)
    answer = box.serve(tool, args, {})
    assert answer.message.endswith(f" (code: {code})")
    (record,) = box._governor.trail.records()
    assert (record["code"], code in record["reason"]) == (code, False)
    assert "code:" not in box.serve("login", ["bob", "x"], {}).message


def login(user: str, /, password: str, *rest: str, note: str = "") -> str:
    """A plain function with something in every kind of place."""
    return f"{user} {password} {rest} {note}"


def test_positions_have_the_names_of_inputs() -> None:
    """For whoever reads a snippet: of declared inputs as of a plain function's parameters, as far as a position goes."""
    assert toolbox(search=Search(), login=login, print=print).places == {
        "search": ("text", "most", "share", "only", "options", "extra"),
        "login": ("user", "password", "rest"),
        "print": ("args",),
    }


def test_a_secret_in_its_place_is_hidden_where_a_call_does_not_fit() -> None:
    """A refused call's positionals have no names on record; what stands where the secret belongs is not shown."""
    box = toolbox(login=login)
    box.serve("login", ["bob", "hunter2"], {"user": 1})
    box.serve("login", ["bob", "hunter2"], {"city": "Rome", "*": 1})
    box.serve("login", ["bob"], {})
    records = list(box._governor.trail.records())
    assert [record["code"] for record in records] == ["invalid_arguments"] * 3
    assert ("hunter2" in str(records), "bob" in str(records[0]), "Rome" in str(records[1])) == (False, True, True)


def test_more_refusals_than_are_written_are_counted() -> None:
    """A loop that probes fills no disk, and does not hide: the end of the step says how many more there were."""
    box = toolbox(search=Search())
    for _ in range(30):
        box.serve("nothing", [], {})
    for _ in range(2):
        box.end_step()
    box.serve("nothing", [], {})
    refused = list(box._governor.trail.records())
    assert [r.get("count", 1) for r in refused] == [1] * 20 + [10, 1]


def test_changed_arguments_are_checked_again() -> None:
    """A hook's modify that breaks the declaration is refused, a sound one is run."""
    ran = toolbox(lambda call: Decision.modify({"text": "changed"}), search=Search())
    assert value(ran, "search", "original")["text"] == "changed"  # type: ignore[index]
    refused = toolbox(lambda call: Decision.modify({"text": 3}), search=Search()).serve("search", ["a"], {})
    assert refused.type_name == "PermissionError"


OPEN = [
    (lambda url, *parts, **options: [url, list(parts), options], ["a", 1], {"timeout": 3}, ["b", [1], {"timeout": 3}]),
    (lambda url, /, *parts: [url, list(parts)], ["a", 1, 2], {}, ["b", [1, 2]]),
    (lambda *parts, url: [list(parts), url], [1], {"url": "a"}, [[1], "b"]),
]


@pytest.mark.parametrize(("function", "args", "kwargs", "ran"), OPEN)
def test_a_change_of_a_functions_arguments_is_what_runs(
    function: object, args: list[object], kwargs: dict[str, object], ran: object
) -> None:
    """A hook that changes one argument leaves the others as they are, also those of `*args` and `**kwargs`."""
    changed = toolbox(lambda call: Decision.modify({**call.arguments, "url": "b"}), act=function)
    assert value(changed, "act", *args, **kwargs) == ran


@pytest.mark.parametrize("change", [{"parts": 1}, {"options": [1]}, {"more": 1}, {"options": {"url": "c"}}])
def test_a_change_that_does_not_fit_a_function_is_refused(change: dict[str, object]) -> None:
    """What stands for all further arguments holds several, no other name is taken, and nothing is given twice."""
    changed = toolbox(lambda call: Decision.modify({**call.arguments, **change}), act=OPEN[0][0])
    assert changed.serve("act", ["a", 1], {}).type_name == "PermissionError"


class Served(Tool):  # type: ignore[misc]
    """As smolagents makes it of a tool of an MCP server: what is required is lost, what has no type is a string."""

    name, description, output_type = "served", "Serves.", "object"
    skip_forward_signature_validation = True
    inputs = {  # noqa: RUF012 - smolagents' way
        "query": {"type": "string", "description": "q"},
        "limit": {"type": "integer", "description": "l"},
        "level": {"type": "string", "enum": [1, 2], "description": "l"},
        "options": {"type": "string", "oneOf": [{"type": "object"}, {"type": "null"}], "description": "o"},
        "exact": {"type": "string", "const": 5, "description": "e"},
    }

    def forward(self, **arguments: object) -> object:
        return arguments


@pytest.mark.parametrize(
    ("arguments", "is_allowed"),
    [
        ({"query": "a"}, True),
        ({"query": "a", "limit": 3}, True),
        ({"level": 2}, True),
        ({"level": True}, False),
        ({"level": 3}, False),
        ({"options": {"x": 1}}, True),
        ({"options": None}, True),
        ({"options": 1}, False),
        ({"exact": 5}, True),
        ({"limit": "3"}, False),
        ({"more": 1}, False),
    ],
)
def test_a_servers_inputs_are_what_the_server_wants(arguments: dict[str, object], is_allowed: bool) -> None:
    """An input may be left out, and be of any type that its schema lists; what it names clearly stays strict."""
    answer = toolbox(served=Served()).serve("served", [], arguments)
    assert (answer.type_name != "TypeError") is is_allowed


def test_errors_carry_no_host_path() -> None:
    """The directories of the host are taken out of a tool's error."""

    def fail() -> None:
        raise OSError(f"no such file: {__file__}")

    answer = toolbox(fail=fail).serve("fail", [], {})
    assert answer.type_name == "OSError"
    assert answer.message == "no such file: <host path>"


def test_a_library_error_keeps_its_builtin_base() -> None:
    """An error type of a library reaches the snippet as its nearest builtin base."""

    class LibraryError(KeyError):
        pass

    def fail() -> None:
        raise LibraryError("x")

    assert toolbox(fail=fail).serve("fail", [], {}).type_name == "KeyError"

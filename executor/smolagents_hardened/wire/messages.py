"""The messages of the wire: one frozen dataclass each.

`value`, `args`, `kwargs` and `values` hold *trees*: what `values.encode` made and `values.decode` reads. A
message never holds a live object, so that parsing one builds nothing but plain JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from smolagents_hardened.wire.json_text import Tree

PROTOCOL_VERSION = 1
Side = Literal["host", "box"]


# ---- host to box -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Configure:
    """What the snippets may import, which tools exist, how strict the gate is. Answered by Ready."""

    authorized_imports: tuple[str, ...]
    tools: tuple[str, ...]  # exact names; the box learns nothing else about a tool
    gate: Literal["standard", "strict", "off"]


@dataclass(frozen=True, slots=True)
class Run:
    """Run one snippet. Answered by any number of Log and Call, then one Done with the same `seq`."""

    seq: int
    code: str


@dataclass(frozen=True, slots=True)
class Set:
    """Put variables into the snippets' namespace. Answered by Ready."""

    values: dict[str, Tree]


@dataclass(frozen=True, slots=True)
class Get:
    """Ask for variables by name. Answered by Values."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class List:
    """Ask for the files in the working directory, those behind `after` in order. Answered by Listing."""

    after: str = ""  # a path as wire.paths writes it, or "": from the beginning


@dataclass(frozen=True, slots=True)
class Read:
    """Ask for a piece of one file. Answered by Piece."""

    path: str
    offset: int
    most: int  # bytes


@dataclass(frozen=True, slots=True)
class Look:
    """Ask for one of the pictures that the latest step has shown. Answered by Picture."""

    picture: int  # from 0, below Done.pictures


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one Call.

    kind: "value" -> `value` is a tree · "error" -> raise `type_name`(`message`) in the snippet ·
    "final" -> the step is over: leave the snippet without running more of it.
    """

    call: int
    kind: Literal["value", "error", "final"]
    value: Tree = None
    type_name: str = ""
    message: str = ""


# ---- box to host -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a box: what it says about its own confinement, as plain bounded JSON."""

    protocol: int
    python: str
    report: dict[str, object]


@dataclass(frozen=True, slots=True)
class Ready:
    """Configure or Set has been carried out; `error` says why not ("" means it was)."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """Text that the snippet printed, as it comes."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """The snippet calls a tool. `call` counts up from 1 within a session."""

    call: int
    tool: str
    args: tuple[Tree, ...]
    kwargs: dict[str, Tree]


@dataclass(frozen=True, slots=True)
class Values:
    """The answer to Get. `missing` are unknown; `opaque`: name -> (type name, text) of what cannot cross."""

    values: dict[str, Tree]
    missing: tuple[str, ...] = ()
    opaque: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """The answer to List: path, size in bytes, time of change in microseconds of each; `more` come behind the last."""

    files: tuple[tuple[str, int, int], ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """The answer to Read: the whole file's size, and `data`, a tree of bytes; or why there is none."""

    problem: Literal["none", "missing", "kind", "changed", "unreadable"]
    size: int = 0
    data: Tree = None


@dataclass(frozen=True, slots=True)
class Picture:
    """The answer to Look: a tree of pixels."""

    value: Tree


@dataclass(frozen=True, slots=True)
class Done:
    """The snippet has ended.

    kind: "value" -> `text` is str() of the last statement's value, `type_name` its type, and `value` its tree
    if `has_value` · "error" -> `type_name`, `text` is the message the model reads · "final" -> ended by
    final_answer · "interrupted" -> ended by the host's polite interrupt.
    """

    seq: int
    kind: Literal["value", "error", "final", "interrupted"]
    text: str = ""
    type_name: str = ""
    has_value: bool = False
    value: Tree = None
    pictures: int = 0  # that the step has shown, to be asked for by Look


# ---- both ways ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a blob that the next message refers to.

    Pieces of one blob come in order and without gap (`offset`); each names the whole `size`; `data` is
    base64. After the first Chunk only Chunks may follow until the message that uses every blob announced
    since.
    """

    blob: int
    size: int
    offset: int
    data: str


HostMessage = Configure | Run | Set | Get | List | Read | Look | Result | Chunk
BoxMessage = Hello | Ready | Log | Call | Values | Listing | Piece | Picture | Done | Chunk
Message = HostMessage | BoxMessage

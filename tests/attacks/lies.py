"""What a box may try on the wire by hand: bytes that the protocol does not allow at this moment, each by its name.

The moment is the first step of a session, right after RUN 1, with a tool `act` on offer.
"""

from __future__ import annotations

import base64
import json
import struct

WIRE_OUT = 201


def frame(body: bytes) -> bytes:
    """A frame as the protocol has it."""
    return struct.pack(">I", len(body)) + body


def message(**fields: object) -> bytes:
    """Any object as one frame."""
    return frame(json.dumps(fields).encode())


def log(text: str = "x") -> bytes:
    """Text that was printed."""
    return message(type="log", text=text)


def call(number: float = 1, tool: str = "act", args: list[object] | None = None, **kwargs: object) -> bytes:
    """A call of a tool."""
    return message(type="call", call=number, tool=tool, args=args or [], kwargs=kwargs)


def done(**other: object) -> bytes:
    """The end of the step."""
    fields = {"seq": 1, "kind": "value", "text": "", "type_name": "", "has_value": False, "value": None, "pictures": 0}
    return message(type="done", **(fields | other))


def value(tree: object) -> bytes:
    """The end of the step, with a value."""
    return done(has_value=True, value=tree)


def number(text: str) -> bytes:
    """The end of the step, with a number as it is written here."""
    return frame(value(None)[4:].replace(b'"value": null', b'"value": ' + text.encode()))


def tagged(tag: str, **fields: object) -> bytes:
    """The end of the step, with a tagged value."""
    return value({"$": tag, **fields})


def chunk(blob: int = 0, size: int = 1, offset: int = 0, data: str = "eA==") -> bytes:
    """A piece of a blob."""
    return message(type="chunk", blob=blob, size=size, offset=offset, data=data)


def piece() -> str:
    """A full piece, as base64."""
    return base64.b64encode(bytes(2**18)).decode()


def listing(*paths: object, more: bool = False) -> bytes:
    """An answer to LIST."""
    return message(type="listing", files=[[path, 1, 1] for path in paths], more=more)


def piece_of(size: object, text: str = "", **other: object) -> bytes:
    """An answer to READ."""
    data = {"$": "bytes", "b": base64.b64encode(text.encode()).decode()}
    return message(type="piece", **({"problem": "none", "size": size, "data": data} | other))


ORDER = {
    "a second hello": message(type="hello", protocol=1, python="3", report={}),
    "ready without an order": message(type="ready", error=""),
    "values without a get": message(type="values", values={}, missing=[], opaque={}),
    "the host's own configure": message(type="configure", authorized_imports=["*"], tools=[], gate="off"),
    "the host's own run": message(type="run", seq=2, code=""),
    "the host's own result": message(type="result", call=1, kind="value", value=1, type_name="", message=""),
    "a listing without a list": listing("a"),
    "a piece without a read": piece_of(1, "x"),
    "a picture without a look": message(type="picture", value=1),
    "nine pictures": done(pictures=9),
    "the host's own read": message(type="read", path="a", offset=0, most=1),
    "done of another run": done(seq=2),
    "done of run 0": done(seq=0),
    "final without an answer": done(kind="final"),
    "interrupted without an interrupt": done(kind="interrupted"),
    "the same call twice": call(7) + call(7),
    "calls backwards": call(9) + call(8),
    "call 0": call(0),
}

FRAMING = {
    "rubbish": b"rubbish of some length",
    "an empty frame": struct.pack(">I", 0),
    "a frame of 4 GiB": struct.pack(">I", 2**32 - 1),
    "one byte too long": struct.pack(">I", 2**20 + 1),
    "no object": frame(b"[1]"),
    "no JSON": frame(b"{]"),
    "two objects": frame(b"{}{}"),
    "UTF-16": frame(json.dumps({"type": "log", "text": "x"}).encode("utf-16")),
    "broken UTF-8": frame(b'{"type":"log","text":"\xff"}'),
    "a byte order mark": frame(b"\xef\xbb\xbf" + json.dumps({"type": "log", "text": "x"}).encode()),
    "a key twice": frame(b'{"type":"log","type":"log","text":"x"}'),
    "a lone surrogate": frame(b'{"type":"log","text":"\\ud800"}'),
    "a NUL in a key": message(type="log", text="x", **{"a\0": 1}),
    "NaN": number("NaN"),
    "Infinity": number("-Infinity"),
    "1e400": number("1e400"),
    "2**53 + 1": value(2**53 + 1),
    "2**64": value(2**64),
    "5,000 digits": number("9" * 5000),
    "a number of 100 characters": number("0." + "1" * 100),
    "too deep": number("[" * 80 + "]" * 80),
    "far too deep": number("[" * 200_000 + "]" * 200_000),
    "too many nodes": value([0] * 100_001),
    "too many quotes": value([""] * 100_001),
}

FIELDS = {
    "an unknown type": message(type="pwn"),
    "a type that is no text": message(type=[1]),
    "no type": message(text=1),
    "an unknown field": message(type="log", text="x", more=1),
    "a missing field": message(type="log"),
    "a log of numbers": message(type="log", text=1),
    "true for a number": done(seq=True),
    "a negative call": call(-1),
    "a half call": call(1.5),
    "a dotted tool": call(tool="act.__call__"),
    "a tool with a space": call(tool="act "),
    "a tool called import": call(tool="import"),
    "a tool that NFKC changes": call(tool="ａct"),
    "a tool of 300 characters": call(tool="a" * 300),
    "an argument that is no name": call(**{"a b": 1}),
    "too many arguments": call(args=[0] * 1001),
    "a kind that is unknown": done(kind="pwn"),
    "a type name of 300 characters": done(type_name="x" * 300),
    "a text of 65,537 bytes": done(text="x" * 65537),
}

BLOBS = {
    "a gap": chunk(size=300_000, offset=5, data="eA=="),
    "blob 1 first": chunk(blob=1),
    "an empty blob": chunk(size=0, data=""),
    "a blob beyond the budget": chunk(size=2**40),
    "a piece that is too short": chunk(size=300_000),
    "a piece that is too long": chunk(data=base64.b64encode(b"xx").decode()),
    "a piece that is no base64": chunk(data="!!!!"),
    "base64 with a line break": chunk(data="eA==\n"),
    "base64 in another spelling": chunk(data="eB=="),
    "a blob that is not used": chunk() + call(args=[1]),
    "a blob that is used twice": chunk() + call(args=[{"$": "bytes", "b": 0}, {"$": "bytes", "b": 0}]),
    "a blob that was not sent": call(args=[{"$": "bytes", "b": 0}]),
    "a log amid chunks": chunk(size=300_000, data=piece()) + log(),
    "chunks before a done": chunk() + tagged("bytes", b=0),
}

TAGS = {
    "an unknown tag": tagged("pickle", v="gASV"),
    "a tag that is no text": value({"$": ["list"]}),
    "a tag with a field more": tagged("tuple", v=[], more=1),
    "a tag with a field less": tagged("tuple"),
    "an element twice": tagged("set", v=[1, 1]),
    "a key twice, tagged": tagged("dict", v=[[1, 2], [1, 3]]),
    "a list as a key": tagged("dict", v=[[[], 1]]),
    "one hash for all": tagged("set", v=[{"$": "int", "v": format(n * (2**61 - 1), "x")} for n in range(8, 200)]),
    "a small integer as text": tagged("int", v="1"),
    "an integer of a million digits": tagged("int", v="f" * 10**5),
    "a decimal of 5,000 digits": tagged("decimal", v="1" * 5000),
    "a decimal in another spelling": tagged("decimal", v=" 1"),
    "a date that is none": tagged("date", v="2024-02-31"),
    "a zone that climbs": tagged("datetime", v="2024-01-01T00:00:00", fold=0, tz=["../../etc/passwd", None]),
    "a zone beyond a day": tagged("datetime", v="2024-01-01T00:00:00", fold=0, tz=[None, 10**15]),
    "an array of objects": tagged("array", dtype="|O8", shape=[1], b="AAAAAAAAAAA="),
    "an array with fields": tagged("array", dtype="[('a', '<i4')]", shape=[1], b="AAAAAA=="),
    "an array of negative size": tagged("array", dtype="|u1", shape=[-1], b="eA=="),
    "an array larger than its bytes": tagged("array", dtype="<f8", shape=[2**30, 2**30], b="eA=="),
    "an array whose product wraps": tagged("array", dtype="<f8", shape=[2**32, 2**32], b=""),
    "an array of 33 dimensions": tagged("array", dtype="|u1", shape=[1] * 33, b="eA=="),
    "a bool of 7": tagged("array", dtype="|b1", shape=[1], b="Bw=="),
    "a character beyond Unicode": tagged("array", dtype="<U1", shape=[1], b="/////w=="),
    "an image larger than its bytes": tagged("pixels", mode="RGB", size=[30000, 30000], b="eA==", palette=""),
    "an image of an unknown mode": tagged("pixels", mode="PNG", size=[1, 1], b="eA==", palette=""),
    "a range of 2**62": tagged("rangeindex", name=None, v=[0, 2**53, 1]),
    "texts of negative length": tagged("strings", kind="str", lengths="/v///w==", b=""),
    "codes beyond the categories": tagged(
        "categorical",
        categories={"$": "array", "dtype": "<i8", "shape": [1], "b": "AAAAAAAAAAA="},
        codes={"$": "array", "dtype": "|i1", "shape": [1], "b": "BQ=="},
        ordered=False,
    ),
    "a handle of numbers": tagged("handle", v=[1, 2, 3]),
    "text that is no UTF-8": tagged("text", b="/w=="),
}

# Answers to orders about files, each a lie about the file "a" or the list it is in.
LISTINGS = {
    "a path upwards": listing("../a"),
    "a path from the top": listing("/etc/passwd"),
    "a path with an empty part": listing("a//b"),
    "a path of nothing": listing(""),
    "a path with a newline": listing("a\nb"),
    "a path with a terminal's escape": listing("\x1b[2J"),
    "a path in another spelling": listing("%41"),
    "an escaped slash": listing("..%2F..%2Fetc"),
    "an escaped NUL": listing("a%00"),
    "a part of 300 bytes": listing("a" * 300),
    "a path that is a number": listing(1),
    "a path twice": listing("a", "a"),
    "paths that descend": listing("b", "a"),
    "too many at once": listing(*(f"{n:05}" for n in range(1001))),
    "a negative size": message(type="listing", files=[["a", -1, 1]], more=False),
    "a time before all time": message(type="listing", files=[["a", 1, -1]], more=False),
    "two fields": message(type="listing", files=[["a", 1]], more=False),
    "a piece instead": piece_of(1, "x"),
}
PIECES = {
    "more than announced": piece_of(1, "xx"),
    "less than announced": piece_of(3, "xx"),
    "more than asked for": piece_of(2**40, "xx"),
    "text for bytes": piece_of(1, data="x"),
    "a path for bytes": piece_of(1, data={"$": "path", "v": "/etc/passwd"}),
    "a negative size": piece_of(-1, "x"),
    "an unknown problem": piece_of(1, "x", problem="pwn"),
    "a listing instead": listing("a"),
    "chunks that nothing uses": chunk() + piece_of(1, "x"),
    "a log before": log() + piece_of(1, "x"),
}
PICTURES = {
    "no picture": message(type="picture", value=[1]),
    "a file name": message(type="picture", value="/etc/passwd"),
    "another mode": message(
        type="picture", value={"$": "pixels", "mode": "L", "size": [1, 1], "b": "eA==", "palette": ""}
    ),
    "no pixels": message(
        type="picture", value={"$": "pixels", "mode": "RGB", "size": [9, 9], "b": "eA==", "palette": ""}
    ),
    "a PNG": message(type="picture", value={"$": "bytes", "b": "iVBORw0KGgo="}),
}
LIES = {**ORDER, **FRAMING, **FIELDS, **BLOBS, **TAGS}
# Told from a real box as well: one of each group, through the channel that each backend has.
FROM_A_BOX = (
    "a second hello",
    "final without an answer",
    "a frame of 4 GiB",
    "too many nodes",
    "a dotted tool",
    "a blob beyond the budget",
    "one hash for all",
    "an array larger than its bytes",
)


def program(*lies: bytes, wait_s: float = 5) -> str:
    """The snippet that writes these bytes to the wire and waits for what comes of it."""
    told = base64.b64encode(b"".join(lies)).decode()
    write = f"while data: data = data[os.write({WIRE_OUT}, data):]"
    return (
        f"import base64, os, time\ndata = base64.b64decode({told!r})\n{write}\ntime.sleep({wait_s})\n'nothing happened'"
    )

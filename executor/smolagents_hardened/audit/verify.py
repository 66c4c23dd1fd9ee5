"""Check a trail with nothing but its files: each line's form, each record's hash, and the chain between them.

**Cutting records off the end leaves a perfect, shorter chain**: only a head that was kept elsewhere shows it. With the
public key every signature is checked, and a tail without one is named. A signature proves everything before it, so one
in the middle can be taken away without a trace, and without loss: the last one proves all that it did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from smolagents_hardened.audit.chain import Chain, Problem
from smolagents_hardened.audit.record import FIRST
from smolagents_hardened.audit.segments import lines, whole
from smolagents_hardened.audit.sign import Head, Verifier

MAX_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a check found. `unknown_outcomes` are calls that were about to run and of which nothing more is
    recorded; `signed` is the number of the last record that a signature proves.
    """

    ok: bool
    count: int
    head: str
    problems: tuple[Problem, ...]
    unknown_outcomes: tuple[str, ...]
    signed: int = 0


def verify(path: str | Path, head: str | Head | None = None, key: Verifier | None = None) -> VerifyReport:
    """Check a whole trail, the files that rotation has made of it included; constant memory but for the calls without
    an outcome.

    With `head`, the hash of the last record (or the signed Head) as it was noted elsewhere, a cut-off end shows as
    well: that record must be in the trail. With `key` signatures are checked, and there has to be one at the end.
    Raises OSError when a file cannot be read.
    """
    chain = Chain(None if key is None else key.record)
    problems: list[Problem] = []
    wanted = head.hash if isinstance(head, Head) else head
    is_head_seen = wanted is None or wanted == FIRST
    for file, stream in whole(Path(path)):
        chain.count = 0
        for line in lines(stream):
            found = chain.feed(line[:-1]) if line.endswith(b"\n") else _torn(chain)
            if found and len(problems) < MAX_PROBLEMS:
                problems += [replace(problem, file=file.name) for problem in found]
            is_head_seen = is_head_seen or chain.head == wanted
    problems += _end(chain, key, head, is_head_seen=is_head_seen)
    return VerifyReport(not problems, chain.total, chain.head, tuple(problems), chain.open_calls, chain.signed_seq)


def _torn(chain: Chain) -> list[Problem]:
    chain.skip()
    return [Problem(chain.count, "torn", "the last line was not written to its end")]


def _end(chain: Chain, key: Verifier | None, head: str | Head | None, *, is_head_seen: bool) -> Iterator[Problem]:
    if isinstance(head, Head) and key is not None and not key.head(head):
        yield Problem(chain.count, "head", "the head that was given is not signed by this key")
    if not is_head_seen:
        wanted = head.hash if isinstance(head, Head) else head
        yield Problem(chain.count, "head", f"no record has the expected hash {wanted}: cut off")
    if key is not None and chain.signed_seq == 0:
        yield Problem(chain.count, "unsigned", "no record has a signature by this key: nothing is proven")
    elif key is not None and chain.signed_seq < chain.seq:
        first = chain.signed_seq + 1
        yield Problem(chain.count, "unsigned", f"records {first}..{chain.seq} at the end have no signature behind them")

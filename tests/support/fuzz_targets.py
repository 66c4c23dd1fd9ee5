"""Every fuzz target by name: what `tests/fuzz` runs for seconds and `benchmarks/fuzz.py` for as long as it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.fuzz_files import audit, policy, trail
from tests.support.fuzz_languages import cedar, cel
from tests.support.fuzz_lines import policy_text
from tests.support.fuzz_replay import cases, replayed
from tests.support.fuzz_session import session
from tests.support.fuzz_snippets import snippets
from tests.support.fuzz_urls import urls
from tests.support.fuzz_wire import connection, frames, json_text, messages, order, paths, values

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
Run = Callable[[bytes], None]

TARGETS: dict[str, Run] = {
    run.__name__: run
    for run in (
        *(frames, json_text, messages, values, paths, order, connection, session),
        *(audit, trail, snippets, replayed),
        *(policy, policy_text, cedar, cel, urls, cases),
    )
}
# The rooms that a target is about: where a coverage-guided fuzzer looks for new ways, and what its coverage is told of.
ROOMS: dict[str, tuple[str, ...]] = {
    "frames": ("wire.frames",),
    "json_text": ("wire.json_text",),
    "messages": ("wire.json_text", "wire.schema"),
    "values": ("wire.values", "wire.codec", "wire.scalars", "wire.arrays", "wire.tables", "wire.blobs"),
    "paths": ("wire.paths",),
    "order": ("wire.order",),
    "connection": ("wire.connection", "wire.frames", "wire.order", "wire.schema", "wire.blobs"),
    "session": ("session", "orders", "step", "deadline", "wire.connection", "wire.order", "toolbox", "handles"),
    "audit": ("audit.verify", "audit.report"),
    "trail": ("audit.trail", "audit.file", "audit.verify"),
    "snippets": ("audit.snippets", "audit.redact"),
    "replayed": ("governance.replay",),
    "policy": ("governance.policy", "governance.policy_file", "governance.policy_yaml", "governance.predicates"),
    "policy_text": ("governance.policy_file", "governance.policy_lines", "governance.policy_yaml"),
    "cedar": ("governance.cedar",),
    "cel": ("governance.cel",),
    "urls": ("governance.urls",),
    "cases": ("governance.cases", "governance.policy_file"),
}


def corpus(name: str) -> list[Path]:
    """The checked-in inputs of a target."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())

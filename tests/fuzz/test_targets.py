"""Every target of the host's decoders, of a whole session, of trails and policies: corpus, new inputs, memory."""

from __future__ import annotations

import tracemalloc
from random import Random
from time import monotonic

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.support import fuzz_files, fuzz_languages, fuzz_session, fuzz_urls, fuzz_wire
from tests.support.fuzz_choices import Choices
from tests.support.fuzz_targets import CORPUS, TARGETS, corpus

from smolagents_hardened.governance.policy import Policy

# Whatever a target's budget lets in, decoded and kept twice for the comparison, and the trail of the calls it made.
MOST_BYTES = 8 * 2**20
SECONDS = 1.5  # of each target's search; the long one is `python -m benchmarks.fuzz`
LONGEST = 600


@pytest.mark.parametrize("name", TARGETS)
def test_the_invariant_holds_on_the_corpus(name: str) -> None:
    """Every input that once covered something new, or broke something, keeps the target's invariant."""
    inputs = corpus(name)
    assert inputs
    for path in inputs:
        TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_the_invariant_holds_on_new_inputs(name: str) -> None:
    """Random decisions, and decisions of the corpus that go on at random, keep the target's invariant."""
    ends = monotonic() + SECONDS
    known = [path.read_bytes() for path in corpus(name)]
    beginnings = st.sampled_from(known).flatmap(lambda data: st.integers(0, len(data)).map(lambda end: data[:end]))

    @settings(
        max_examples=100,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(st.just(b""), beginnings), st.binary(max_size=LONGEST))
    def search(beginning: bytes, rest: bytes) -> None:
        TARGETS[name](beginning + rest)

    while monotonic() < ends:
        search()


@pytest.mark.parametrize("name", TARGETS)
def test_memory_is_bounded_on_the_corpus(name: str) -> None:
    """No input of a few hundred bytes makes the host hold more than a few times the budget of a message."""
    inputs = [path.read_bytes() for path in corpus(name)][:150]
    TARGETS[name](inputs[0])  # what is loaded and cached once is not counted
    tracemalloc.start()
    try:
        for data in inputs:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            TARGETS[name](data)
            assert tracemalloc.get_traced_memory()[1] - before < MOST_BYTES, data
    finally:
        tracemalloc.stop()


def test_every_target_states_its_invariant() -> None:
    """A target without an invariant proves nothing; a corpus without a target is never run."""
    assert all(run.__doc__ for run in TARGETS.values())
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize(("text", "suffix"), [(fuzz_files._POLICY, ".toml"), (fuzz_files._YAML, ".yaml")])
def test_the_policies_that_are_cut_up_are_whole(text: str, suffix: str) -> None:
    """The positive control of the target on policies: what it starts from is a policy with rules."""
    with fuzz_files.file_of(text.encode(), suffix) as path:
        assert len(Policy.from_file(path)._rules) >= 2


def test_corpus_files_are_small() -> None:
    """The corpus stays small enough to be read: at most 400 bytes a file."""
    assert [path for name in TARGETS for path in corpus(name) if path.stat().st_size > 400] == []


def test_decisions_end_with_the_bytes() -> None:
    """The positive control of every generator: bytes decide, and without bytes the first choice is taken."""
    choices = Choices(b"\x02\x01")
    assert [choices.below(3), choices.chance(2), choices.below(3), choices.is_over] == [2, True, 0, True]


BEHIND = {
    "messages": (fuzz_wire, "to_body"),
    "values": (fuzz_wire, "_check_again"),
    "session": (fuzz_session, "_check_calls"),
}


@pytest.mark.parametrize("name", BEHIND)
def test_the_corpus_gets_past_the_first_check(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control of the corpus: some of its inputs are accepted, so that what lies behind is reached."""
    module, attribute = BEHIND[name]
    behind, reached = getattr(module, attribute), []
    monkeypatch.setattr(
        module, attribute, lambda *arguments, **options: (reached.append(1), behind(*arguments, **options))[1]
    )
    for path in corpus(name):
        TARGETS[name](path.read_bytes())
    assert len(reached) > 5


ACCEPTED = {
    "cedar": (fuzz_languages, "_as_the_library_has_it"),
    "cel": (fuzz_languages, "_judging"),
    "urls": (fuzz_urls, "_browser"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_made_up_is_often_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control of these generators: one in twenty texts is a policy, an expression or a URL that is read."""
    module, attribute = ACCEPTED[name]
    behind, reached = getattr(module, attribute), []
    monkeypatch.setattr(module, attribute, lambda *arguments: (reached.append(1), behind(*arguments))[1])
    for seed in range(100):
        TARGETS[name](Random(seed).randbytes(80))
    assert len(reached) >= 5

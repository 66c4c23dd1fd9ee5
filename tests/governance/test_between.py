"""Rules that change, and runs that end, between the judgement of a call and the call itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.governance.governed import Bench, bench

from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.reload import PolicyFile
from smolagents_hardened.governance.served import Refused, Served, Value

RULE = 'default = "allow"\n[[rule]]\ntool = "weather"\neffect = "{}"\nreason = "{}"\n'


def served_while_the_file_changes(path: Path, answer: object, *rules: tuple[str, str]) -> tuple[Served, Bench]:
    """Serve a call that asks; each question that is answered is followed by the next rule."""
    changes = iter(rules)
    path.write_text(RULE.format("ask", "sure?"))

    def approver(_: object) -> object:
        change = next(changes, None)
        if change is not None:
            path.write_text(RULE.format(*change))
        return answer

    with bench(PolicyFile(path), approver=approver) as it:
        return it.serve(), it


@pytest.mark.parametrize("answer", [True, Decision.respond("an answer"), Decision.modify({"city": "Rome"})])
def test_rules_that_changed_while_a_person_was_asked_count(tmp_path: Path, answer: object) -> None:
    """What is in force when the call would be made has the last word, over a person's, too."""
    served, it = served_while_the_file_changes(tmp_path / "policy.toml", answer, ("deny", "forbidden from now on"))
    assert served == Refused("forbidden from now on", "denied")
    assert it.tool.calls == []
    refusal = next(record for record in it.trail.records() if record["kind"] == "refusal")
    said = [one["verdict"] for one in refusal["decisions"]]  # type: ignore[attr-defined]
    assert (said[0], said[-1]) == ("ask", "deny")


def test_what_was_granted_stays_granted_under_other_rules(tmp_path: Path) -> None:
    """Nobody is asked again for what is asked in the same words, or not at all any more; other words are a question."""
    for change, asked in ((("ask", "sure?"), 1), (("allow", "fine"), 1), (("ask", "really?"), 2)):
        served, it = served_while_the_file_changes(tmp_path / "policy.toml", True, change)
        assert isinstance(served, Value)
        assert it.kinds().count("approval") == asked


@pytest.mark.parametrize(
    ("before", "after", "is_asked_again"),
    [
        ('approvers = ["ann"]', 'approvers = ["boss"]', True),
        ('timeout_s = 5\non_timeout = "allow"', 'timeout_s = 5\non_timeout = "deny"', True),
        ('approvers = ["ann"]', 'approvers = ["ann"]\nid = "x"', False),
    ],
)
def test_a_grant_is_for_what_was_asked_of_whom(tmp_path: Path, before: str, after: str, is_asked_again: bool) -> None:
    """Other people, and another meaning of silence, make another question of the same words."""
    path, asked = tmp_path / "policy.toml", list[str]()
    path.write_text(RULE.format("ask", "sure?") + before)

    def approver(_: object) -> bool:
        asked.append("")
        path.write_text(RULE.format("ask", "sure?") + after)
        return len(asked) == 1

    with bench(PolicyFile(path), approver=approver) as it:
        assert isinstance(it.serve(), Refused if is_asked_again else Value)
    assert len(asked) == 1 + is_asked_again


def test_rules_that_never_rest_refuse(tmp_path: Path) -> None:
    """A call whose rules change with every question is refused, and was not made."""
    changes = [("ask", f"sure about {number}?") for number in range(10)]
    served, it = served_while_the_file_changes(tmp_path / "policy.toml", True, *changes)
    assert isinstance(served, Refused)
    assert (served.code, it.tool.calls) == ("too_many_modifications", [])


class Slow(Trail):
    """A trail on which something happens while an intent is written."""

    def append(self, kind: str, *args: object, **fields: object) -> dict[str, object]:
        record = super().append(kind, *args, **fields)  # type: ignore[arg-type]
        if kind == "intent":
            next(self.events)()
        return record

    events: Iterator[object]


@pytest.mark.parametrize("value", [None, "an answer"])
@pytest.mark.parametrize("is_stop", [True, False])
def test_a_run_that_ends_while_the_intent_is_written_begins_nothing(is_stop: bool, value: object) -> None:
    """The record may wait for a slow disk: the tool does not begin after the end, and the outcome says so."""
    trail = Slow()
    with bench(lambda _: Decision.respond(value) if value else Decision.allow(), trail=trail) as it:
        latch = it.governor.latch
        end = (lambda: latch.fail(RunStopped("WHY"))) if is_stop else lambda: latch.interrupt("WHY", of_run=True)
        trail.events = iter([lambda: None, end])
        assert isinstance(it.serve(), Value)
        done = len(it.tool.calls)
        if is_stop:
            with pytest.raises(RunStopped, match="WHY"):
                it.serve()
        else:
            assert it.serve() == Refused("the run was interrupted: WHY", "interrupted")
        assert len(it.tool.calls) == done
        assert (it.last()["kind"], it.last()["status"]) == ("outcome", "interrupted")
        assert "WHY" in str(it.last()["error"])

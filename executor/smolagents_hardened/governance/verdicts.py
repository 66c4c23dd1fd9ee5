"""Several opinions, one verdict: the strictest wins, and contradictions refuse. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smolagents_hardened.audit.digest import digest, digest_value
from smolagents_hardened.audit.plain import Glimpse
from smolagents_hardened.governance.hooks import Decision, Verdict

ALLOWED = Decision.allow()


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one hook said, in which round of judging (from 1). One of a shadow hook does not count."""

    hook: str
    round: int
    decision: Decision
    is_shadow: bool = False

    def told(self) -> dict[str, object]:
        """What the trail keeps of it: the filled fields of the decision only."""
        decision = self.decision
        made: dict[str, object] = {"hook": self.hook, "round": self.round, "verdict": decision.verdict.value}
        for name in ("reason", "code", "prompt", "rule", "version"):
            text = getattr(decision, name)
            if text:
                made[name] = text
        if decision.verdict is Verdict.ASK:
            made |= terms(decision)
        if decision.arguments is not None:
            made["arguments"] = decision.arguments
        if decision.verdict is Verdict.RESPOND:
            made["value"] = Glimpse(decision.value)
        if self.is_shadow:
            made["shadow"] = True
        return made


def terms(ask: Decision) -> dict[str, object]:
    """What the trail keeps of a question: who may answer it, in what time, and what silence means."""
    silence = Verdict.DENY if ask.otherwise is None else ask.otherwise.verdict
    made: dict[str, object] = {"otherwise": silence.value}
    if ask.approvers:
        made["approvers"] = list(ask.approvers)
    if ask.timeout_s is not None:
        made["timeout_s"] = ask.timeout_s
    return made


def strictest(opinions: Sequence[Opinion]) -> Decision:
    """The decision that counts among those of one round: stop > deny > respond > modify > allow; no opinion
    allows.

    Asks are left out: they do not compete, each has to be granted (see judge.py); so are shadow hooks. Two modifies
    to different arguments, or two different responses, contradict each other and deny. Within one verdict the first
    hook's word counts.
    """
    said = [opinion.decision for opinion in opinions if not opinion.is_shadow]
    if all(decision.verdict is Verdict.ALLOW for decision in said):
        return ALLOWED
    for verdict in (Verdict.STOP, Verdict.DENY, Verdict.RESPOND, Verdict.MODIFY):
        found = [decision for decision in said if decision.verdict is verdict]
        if not found:
            continue
        if verdict in (Verdict.RESPOND, Verdict.MODIFY) and _contradict(found):
            return Decision.deny(
                f"two hooks want to {verdict} this call in different ways", code=f"conflicting_{verdict}"
            )
        return found[0]
    return ALLOWED


def _contradict(decisions: Sequence[Decision]) -> bool:
    if len(decisions) == 1:
        return False
    try:
        return len({digest_value(decision.value) + digest("", decision.arguments or {}) for decision in decisions}) > 1
    except ValueError:  # nested too deep to compare: doubt refuses
        return True

"""What the trail is told about calls and snippets: one function for each kind of record."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from smolagents_hardened.audit.digest import TooLarge, digest_value
from smolagents_hardened.audit.plain import Glimpse, Snippet
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import AuditError
from smolagents_hardened.governance.after import Aftermath
from smolagents_hardened.governance.approval import Approval
from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome
from smolagents_hardened.governance.delegation import Grant
from smolagents_hardened.governance.hooks import Decision, NamedHook, Verdict
from smolagents_hardened.governance.judge import Judgement
from smolagents_hardened.governance.verdicts import Opinion

# A result is digested for the record only, so a huge one must not cost seconds; arguments are always digested whole.
MAX_RESULT_BYTES = 64 * 2**20
_Version = tuple[object, object, object, bool]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Writes the records of one governor. Every method raises AuditError when its record is not written."""

    trail: Trail
    run: str
    # What is on record of each hook, as long as it is in use by anybody: digests, error, whether in shadow.
    _versions: WeakKeyDictionary[NamedHook, _Version] = field(default_factory=WeakKeyDictionary)

    def policies(self, hooks: Sequence[NamedHook]) -> bool:
        """Each set of rules that is in force and not yet on record, or that has changed since, or is in shadow now or
        no longer ("policy_load"). Whether there was any.
        """
        is_new = False
        for hook in hooks:
            if hook.described is None:
                continue
            described = hook.described()
            versions = described.get("digest"), described.get("file_sha256")
            version = (*versions, described.get("error"), hook.is_shadow())
            if self._versions.get(hook) != version:
                self.trail.append("policy_load", run=self.run, hook=hook.name, shadow=version[-1], **described)
                self._versions[hook] = version
                is_new = True
        return is_new

    def versions(self, hooks: Sequence[NamedHook]) -> list[_Version | None]:
        """Which sets of rules of these hooks are on record."""
        return [self._versions.get(hook) for hook in hooks]

    def delegation(self, lineage: Sequence[Grant]) -> None:
        """What the agent was lent, outermost first ("delegation")."""
        self.trail.append("delegation", run=self.run, grants=[grant.delegation.told() for grant in lineage])

    def task(self, agent: str, task: str, used: Sequence[Mapping[str, object]]) -> None:
        """An agent begins with a task, and its budgets anew; what the run before has used ("task")."""
        self.trail.append(
            "task", run=self.run, agent=agent, text=Glimpse(task), **({"used": list(used)} if used else {})
        )

    def usage(self, agent: str, tokens: Mapping[str, int], cost: float) -> None:
        """What a model has reported for one step ("usage"); no numbers: it has reported nothing."""
        self.trail.append("usage", run=self.run, agent=agent, **tokens, cost=cost)

    def end(self, used: Sequence[Mapping[str, object]]) -> None:
        """The run is over; what it has used of its budgets ("end")."""
        self.trail.append("end", run=self.run, **({"used": list(used)} if used else {}))

    def code(self, code: CodeCall, decision: Decision, opinions: Sequence[Opinion], hooks: Sequence[NamedHook]) -> None:
        """A snippet that is about to run ("code"), or is not to ("code_refusal"), under these hooks."""
        is_refused = decision.verdict is not Verdict.ALLOW
        refusal = _refused(decision, code.grants) if is_refused else {}
        self.trail.append(
            "code_refusal" if is_refused else "code",
            **_where(code),
            text=Snippet(code.code, code.places),
            digest=code.digest,
            **_under(code.grants),
            **self._why(opinions, hooks),
            **refusal,
        )

    def approval(self, subject: ToolCall | CodeCall, hiding: Collection[object], approval: Approval) -> None:
        """What a person, or nobody, has answered about what, before anything comes of it ("approval"). What is secret
        in `hiding` is hidden, as in the other records of the call.
        """
        about: dict[str, object] = {"run": subject.run, "digest": subject.digest}
        if isinstance(subject, ToolCall):
            about |= {"call": subject.call_id, "tool": subject.tool, "arguments": dict(subject.arguments)}
        else:
            about["text"] = Snippet(subject.code, subject.places)
        self.trail.append("approval", hiding, **about, **_under(subject.grants), **approval.told())

    def refusal(self, judgement: Judgement, hooks: Sequence[NamedHook]) -> None:
        """A call that is not made under these hooks, and why."""
        refused = _refused(judgement.decision, judgement.candidate.call.grants)
        self.trail.append("refusal", judgement.answers, **self._call(judgement, hooks), **refused)

    def intent(self, judgement: Judgement, hooks: Sequence[NamedHook]) -> None:
        """A call that is about to be made under these hooks, or answered by one of them."""
        effect = judgement.decision.verdict.value
        self.trail.append("intent", judgement.answers, **self._call(judgement, hooks), effect=effect)

    def outcome(self, judgement: Judgement, aftermath: Aftermath, rehearsed: Aftermath | None = None) -> None:
        """What came of a call whose intent is on record; and what else hooks in shadow would have made of it."""
        outcome = aftermath.outcome
        more: dict[str, object] = {}
        if outcome.status in ("ok", "responded"):
            more = {"result": Glimpse(outcome.value), "result_digest": _digest(outcome.value)}
        if outcome.error_type:
            more = {"error_type": outcome.error_type, "error": Glimpse(outcome.error_message)}
        more |= _made_of(aftermath, outcome.labels)
        if rehearsed is not None and rehearsed is not aftermath:
            shadow = _made_of(rehearsed, rehearsed.outcome.labels - outcome.labels)
            more |= {"shadow": shadow} if shadow else {}
        self._conclude(judgement, outcome, more)

    def _conclude(self, judgement: Judgement, outcome: ToolOutcome, more: Mapping[str, object]) -> None:
        call, micros = judgement.candidate.call, round(outcome.duration_s * 1e6)
        ids = {"run": call.run, "call": call.call_id, "tool": call.tool, **_under(call.grants)}
        try:
            self.trail.append("outcome", judgement.said(), **ids, status=outcome.status, duration_us=micros, **more)
        except AuditError as error:
            done = "was answered by a hook" if outcome.status == "responded" else "HAS RUN"
            raise AuditError(
                f"tool {call.tool!r} {done} (call {call.call_id}, {outcome.status}), but what came of it "
                f"could not be recorded, so its result is withheld: {error}"
            ) from error

    def _call(self, judgement: Judgement, hooks: Sequence[NamedHook]) -> dict[str, object]:
        call = judgement.candidate.call
        made = {
            **_where(call),
            "call": call.call_id,
            "tool": call.tool,
            "arguments": dict(call.arguments),
            "digest": call.digest,
        }
        if judgement.requested is not None:
            made["requested"] = dict(judgement.requested)
        if call.labels:
            made["labels"] = sorted(call.labels)
        return made | _under(call.grants) | self._why(judgement.opinions, hooks)

    def _why(self, opinions: Sequence[Opinion], hooks: Sequence[NamedHook]) -> dict[str, object]:
        """The decisions, and which policies were in force where none of them says so."""
        made: dict[str, object] = {"decisions": [opinion.told() for opinion in opinions]}
        if not any(opinion.decision.version for opinion in opinions):
            versions = [self._versions[hook] for hook in hooks if hook in self._versions]
            if versions:
                made["policies"] = sorted({str(digest) for digest, *_ in versions})
        return made


def _where(about: ToolCall | CodeCall) -> dict[str, object]:
    return {"run": about.run, "step": about.step, "agent": about.agent, "delegation": list(about.delegation)}


def _refused(decision: Decision, grants: Sequence[str]) -> dict[str, object]:
    made: dict[str, object] = {"reason": decision.reason, "code": decision.code}
    return made | {"refused_by": decision.rule} if decision.rule in grants else made


def _made_of(aftermath: Aftermath, labels: frozenset[str]) -> dict[str, object]:
    made: dict[str, object] = {}
    if labels:
        made["labels"] = sorted(labels)
    if aftermath.replaced_by:
        made["replaced_by"] = list(aftermath.replaced_by)
    if aftermath.refused is not None:
        made |= {"withheld": aftermath.refused.reason, "code": aftermath.refused.code}
    if aftermath.stop is not None:
        made["stopped"] = aftermath.stop.reason
    return made


def _under(grants: Sequence[str]) -> dict[str, object]:
    return {"grants": list(grants)} if grants else {}


def _digest(value: object) -> str:
    try:
        return digest_value(value, limit_bytes=MAX_RESULT_BYTES)
    except TooLarge:
        return f"more than {MAX_RESULT_BYTES} bytes"
    except Exception:  # noqa: BLE001  a result that has no digest (too deep, a closed image) is recorded without one
        return ""

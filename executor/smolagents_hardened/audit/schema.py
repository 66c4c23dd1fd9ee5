"""The JSON schema of every record, as data: what a reader of a trail may rely on.

`docs/audit.schema.json` is made of it.
"""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}
_ANY: dict[str, Any] = {}
_HASH: dict[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}
_VERDICT: dict[str, Any] = {"enum": ["stop", "deny", "ask", "respond", "modify", "allow"]}
# A long or odd text is an object with `$type`; see audit/plain.py.
_PLAIN_TEXT: dict[str, Any] = {"anyOf": [_TEXT, {"type": "object", "required": ["$type"]}]}
_OBJECT: dict[str, Any] = {"type": "object"}
# One beyond 2**53, which JSON's readers do not agree on, is an object with `$type`.
_NUMBER: dict[str, Any] = {"anyOf": [{"type": "number"}, {"type": "object", "required": ["$type"]}]}
_DIGEST: dict[str, Any] = _TEXT  # a plain SHA-256, or a keyed one; see DIGESTS

# Of a question: who may answer, in what time, and what silence means.
_TERMS: dict[str, Any] = {"approvers": _TEXTS, "timeout_s": {"type": "number"}, "otherwise": _VERDICT}

_DECISION: dict[str, Any] = {
    "type": "object",
    "description": "What one hook said in one round; with `shadow` it did not count.",
    "required": ["hook", "round", "verdict"],
    "properties": {
        **{name: _PLAIN_TEXT for name in ("hook", "reason", "code", "prompt", "rule", "version")},
        "round": _WHOLE,
        "verdict": _VERDICT,
        "arguments": _ANY,
        "value": _ANY,
        "shadow": {"const": True},
        **_TERMS,
    },
    "additionalProperties": False,
}
_DECISIONS: dict[str, Any] = {"type": "array", "items": {"anyOf": [_DECISION, {"required": ["$type"]}]}}
_WHERE: dict[str, Any] = {"run": _TEXT, "step": _WHOLE, "agent": _TEXT, "delegation": _TEXTS}
_CALL: dict[str, Any] = {
    **_WHERE,
    "call": _TEXT,
    "tool": _TEXT,
    "arguments": _ANY,
    "requested": _ANY,
    "digest": _DIGEST,
    "labels": _TEXTS,
    "grants": _TEXTS,
    "decisions": _DECISIONS,
    "policies": _TEXTS,
}
_UNDER: dict[str, Any] = {"grants": _TEXTS}  # ids of the delegations, outermost first
_REFUSED: dict[str, Any] = {"reason": _PLAIN_TEXT, "code": _PLAIN_TEXT, "refused_by": _TEXT}  # the delegation that did

# kind -> (what it says, its fields, those of them that need not be there)
KINDS: dict[str, tuple[str, dict[str, Any], frozenset[str]]] = {
    "run": (
        "A governor begins its work.",
        {"run": _TEXT, "hooks": _TEXTS, "package": _TEXT, "python": _TEXT},
        frozenset(),
    ),
    "policy_load": (
        "A set of rules is in force from here on; `error`: a changed file is not, since it is not valid.",
        {
            **{name: _TEXT for name in ("run", "hook", "digest", "file_sha256", "default", "mode")},
            "error": _PLAIN_TEXT,
            "shadow": {"type": "boolean"},
            "rules": _WHOLE,
            "budgets": {"type": "array"},
        },
        frozenset({"file_sha256", "default", "mode", "rules", "budgets", "error"}),
    ),
    "delegation": (
        "What the agent was lent, the outermost grant first.",
        {"run": _TEXT, "grants": {"type": "array", "items": _OBJECT}},
        frozenset(),
    ),
    "task": (
        "The agent begins a run: the budgets of a run are there anew; what the run before has used.",
        {"run": _TEXT, "agent": _TEXT, "text": _PLAIN_TEXT, "used": {"type": "array", "items": _OBJECT}},
        frozenset({"used"}),
    ),
    "usage": (
        "The tokens that a model reports for one step of its agent (none: it reports nothing), and their cost.",
        {"run": _TEXT, "agent": _TEXT, **dict.fromkeys(("input_tokens", "output_tokens", "cost"), _NUMBER)},
        frozenset({"input_tokens", "output_tokens"}),
    ),
    "box_start": (
        "A box is up: the image by its content, every layer as it was read back, and what was asked to be weaker.",
        {
            **{name: _TEXT for name in ("run", "box", "image", "backend", "profile")},
            "enforcement": _OBJECT,
            "warnings": _TEXTS,
        },
        frozenset({"profile", "warnings"}),
    ),
    "input_changed": (
        "A file or folder for the box is another one than when it was last looked at; the box gets it as it is now.",
        {"run": _TEXT, "name": _PLAIN_TEXT},
        frozenset(),
    ),
    "file_out": (
        "The host has read a file out of a box; what it holds is a claim of the box like any other.",
        {"run": _TEXT, "step": _WHOLE, "name": _PLAIN_TEXT, "size_bytes": _WHOLE, "sha256": _HASH},
        frozenset(),
    ),
    "box_end": ("A box was ended by its owner.", {"run": _TEXT}, frozenset()),
    "box_died": ("A box ended by itself.", {"run": _TEXT, "step": _WHOLE, "reason": _PLAIN_TEXT}, frozenset({"step"})),
    "violation": (
        "A box broke the protocol and was ended.",
        {"run": _TEXT, "step": _WHOLE, "reason": _PLAIN_TEXT},
        frozenset({"step"}),
    ),
    "limit": (
        "A limit, or an interrupt, ended a step.",
        {"run": _TEXT, "step": _WHOLE, "limit": _TEXT, "reason": _PLAIN_TEXT, "state_lost": {"type": "boolean"}},
        frozenset(),
    ),
    "code": (
        "A snippet is about to run.",
        {**_WHERE, **_UNDER, "text": _PLAIN_TEXT, "digest": _DIGEST, "decisions": _DECISIONS, "policies": _TEXTS},
        frozenset({"grants", "policies"}),
    ),
    "code_refusal": (
        "A snippet is not run.",
        {
            **_WHERE,
            **_UNDER,
            "text": _PLAIN_TEXT,
            "digest": _DIGEST,
            "decisions": _DECISIONS,
            "policies": _TEXTS,
            **_REFUSED,
        },
        frozenset({"grants", "policies", "refused_by"}),
    ),
    "approval": (
        "A person's answer (or nobody's: `answered` is false) to one question about one call or snippet.",
        {
            **{name: _TEXT for name in ("run", "digest", "call", "tool", "ticket")},
            **{name: _PLAIN_TEXT for name in ("hook", "prompt", "reason", "code")},
            "verdict": _VERDICT,
            "answered": {"type": "boolean"},
            "by": _PLAIN_TEXT,
            "waited_us": _WHOLE,
            "arguments": _ANY,
            "text": _PLAIN_TEXT,
            **_UNDER,
            "edited": _ANY,
            "value": _ANY,
            **_TERMS,
        },
        frozenset({"call", "tool", "arguments", "text", "grants", "edited", "value", "approvers", "timeout_s", "by"}),
    ),
    "intent": (
        "A call is about to be made (`effect` allow), or answered without running the tool (respond).",
        {**_CALL, "effect": {"enum": ["allow", "respond"]}},
        frozenset({"requested", "labels", "grants", "policies"}),
    ),
    "refusal": (
        "A call is not made. Without `decisions` nobody was asked: there is no such tool, the arguments do not fit"
        " (they are as given, positionals under `*`), or the step had ended. `count`: so many more in this step.",
        {**_CALL, **_REFUSED, "count": _WHOLE},
        # A call of a tool that does not exist, or with arguments that do not fit, never became one.
        frozenset({"refused_by", "count", *_CALL} - {"run", "step", "agent", "tool"}),
    ),
    "outcome": (
        "What came of a call whose intent is on record; `shadow`: what hooks in shadow would have made of it, besides"
        " (labels, replaced_by, withheld, code, stopped).",
        {
            **{name: _TEXT for name in ("run", "call", "tool", "error_type")},
            "status": {"enum": ["ok", "error", "responded", "unknown", "stopped", "interrupted"]},
            "duration_us": _WHOLE,
            "result": _ANY,
            "result_digest": _DIGEST,
            "error": _PLAIN_TEXT,
            "labels": _TEXTS,
            "replaced_by": _TEXTS,
            **_UNDER,
            **{name: _PLAIN_TEXT for name in ("withheld", "code", "stopped")},
            "shadow": _OBJECT,
        },
        frozenset(
            {
                *("result", "result_digest", "error_type", "error", "labels", "replaced_by", "grants"),
                *("withheld", "code", "stopped", "shadow"),
            }
        ),
    ),
    "end": (
        "The work is over, perhaps for a while; what was used of the budgets.",
        {"run": _TEXT, "used": {"type": "array", "items": _OBJECT}},
        frozenset({"used"}),
    ),
    "recovered": ("A line that a crash had torn stood here.", {"torn": _OBJECT}, frozenset()),
    "rotated": ("The trail goes on in a new file after `previous`.", {"previous": _TEXT}, frozenset()),
    "signed": ("Nothing but a signature of all that stands before.", {}, frozenset()),
}  # fmt: skip

# The fields in which a record says something of its own: ids, digests, names, numbers. No user's pattern changes them,
# or nothing could be looked up or compared.
_OWN = (_TEXT, _TEXTS, _HASH, _WHOLE, _NUMBER)
OWN = frozenset(
    {
        *("used", "enforcement", "budgets"),
        *(name for _, fields, _ in KINDS.values() for name, what in fields.items() if what in _OWN),
    }
)


# What each digest is of. It is keyed where something of just that is hidden: what a record hides elsewhere does not
# count, so that one call's arguments have one digest in its approvals, its intent and its refusal.
DIGESTS = {"digest": frozenset({"arguments", "text"}), "result_digest": frozenset({"result"})}
_KEYED = "The digest in this record is an HMAC: what it is of is not shown whole. It fits other records of one process."


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of one line."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A record of the audit trail of smolagents-hardened",
        "description": "One line, in RFC 8785 form. `hash` is SHA-256 over the record without hash and sig; `prev` is"
        " the hash of the record before; `sig` is an Ed25519 signature (hex) of the hash.",
        "type": "object",
        "required": ["kind"],
        "oneOf": [_kind(kind, *parts) for kind, parts in sorted(KINDS.items())],
    }


def _kind(kind: str, says: str, fields: dict[str, Any], optional: frozenset[str]) -> dict[str, Any]:
    chain = {"kind": {"const": kind}, "seq": _WHOLE, "time": _TEXT, "prev": _HASH, "hash": _HASH}
    optional_everywhere = {
        "sig": {"type": "string", "pattern": "^[0-9a-f]{128}$"},
        "keyed": {"const": True, "description": _KEYED},
    }
    return {
        "description": says,
        "properties": {**chain, **optional_everywhere, **fields},
        "required": sorted([*chain, *(fields.keys() - optional)]),
        "additionalProperties": False,
    }  # fmt: skip

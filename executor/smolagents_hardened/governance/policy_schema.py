"""The JSON schema of a policy file, as data, for editors. `docs/policy.schema.json` is made of it.

`policy.py` and `rules.py` check more than a schema can say, with better messages; a test holds both to the same keys.
"""

from __future__ import annotations

from typing import Any

from smolagents_hardened.governance.budget import LIMITS
from smolagents_hardened.governance.cel import MAX_CHARS
from smolagents_hardened.governance.predicates import MAX_PATTERN_CHARS
from smolagents_hardened.governance.rules import EFFECTS, MAX_TIMEOUT_S, ON_TIMEOUT, ONLY_WITH

_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}
_AMOUNT: dict[str, Any] = {"type": "number", "minimum": 0}
_LENGTH: dict[str, Any] = {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63}
_PREDICATES: dict[str, Any] = {"$ref": "#/$defs/predicates"}
_ABSOLUTE: dict[str, Any] = {
    "type": "string",
    "pattern": r"^/(?!/)(?!(.*/)?\.\.(/|$))[^\u0000-\u001f\u007f]*$",
    "description": "An absolute path without `..`.",
}


# A host as `urls.py` has it, without lookbehind: an IPv6 or IPv4 address, or labels that are not all numbers.
_GROUP = r"(0|[1-9a-f][0-9a-f]{0,3})"
_GROUPS = rf"({_GROUP}(:{_GROUP})*)?"
_IPV6 = rf"({_GROUP}:){{7}}{_GROUP}|{_GROUPS}::{_GROUPS}"
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_NUMBER, _LABEL = r"(0x[0-9a-f]*|[0-9]+)", r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = rf"(?!{_NUMBER}(\.{_NUMBER})*$)(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*"
_HOST = rf"^(\*\.)?({_IPV6}|({_OCTET}\.){{3}}{_OCTET}|{_NAME})$"


def _names(pattern: str, description: str) -> dict[str, Any]:
    name = {"type": "string", "pattern": pattern}
    return {"anyOf": [name, {"type": "array", "items": name, "minItems": 1}], "description": description}


_INNER: dict[str, Any] = {
    "equals": {"description": "The same value of the same type at every depth (1 is not true, nor \"1\")."},
    "in": {"type": "array", "description": "One of these values."},
    "regex": {
        "type": "string",
        "maxLength": MAX_PATTERN_CHARS,
        "description": "The whole text matches this RE2 pattern; a dot is any character.",
    },
    "contains": {**_TEXT, "description": "This text occurs in it."},
    "min": {"type": "number"},
    "max": {"type": "number"},
    "min_length": _LENGTH,
    "max_length": _LENGTH,
    "below": {**_ABSOLUTE, "description": "An absolute path at or below this one, without `..`."},
    "url": {
        "type": "object",
        "description": "An absolute URL that no two readers take for different ones.",
        "properties": {
            "scheme": _names(r"^[a-z][a-z0-9+.-]*$", "In lower case."),
            "host": _names(_HOST, "In lower case, without port; `*.` is any below."),
            "port": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 65535}, "minItems": 1},
            "path_below": _ABSOLUTE,
        },
        "minProperties": 1,
        "additionalProperties": False,
    },
    "present": {"type": "boolean", "description": "The argument was given."},
    "not": {"$ref": "#/$defs/inner", "description": "The argument was given, and these do not all hold."},
}  # fmt: skip
PREDICATES: dict[str, Any] = {
    **_INNER,
    "known": {"type": "boolean", "description": "Its texts occur in the task or in a trusted result."},
}

RULE: dict[str, Any] = {
    "id": _TEXT,
    "tool": {**_TEXT, "description": "A name, or a glob with * ? [...]."},
    "agent": {**_TEXT, "description": "A name or a glob."},
    "delegation": {**_TEXT, "description": "A glob over the names of the agents, outermost first, joined by /."},
    "after": {**_TEXTS, "description": "Only once results with all these labels were seen."},
    "when": {"type": "object", "additionalProperties": _PREDICATES, "description": "argument -> predicates"},
    "cel": {
        **_TEXT,
        "maxLength": MAX_CHARS,
        "description": "CEL over tool, agent, delegation, labels, args.",
    },
    "effect": {"enum": list(EFFECTS)},
    "reason": {**_TEXT, "description": "What people and the model read."},
    "timeout_s": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": MAX_TIMEOUT_S},
    "on_timeout": {"enum": list(ON_TIMEOUT)},
    "approvers": _TEXTS,
    "value": {"description": "effect respond: what the code gets in the tool's place."},
    "set": {"type": "object", "minProperties": 1, "description": "effect modify: arguments to put in."},
}

BUDGET: dict[str, Any] = {
    "tool": _TEXT,
    "agent": _TEXT,
    "per": {"enum": ["run", "agent", "tool"]},
    "calls": _LENGTH,
    "every_s": {"type": "number", "exclusiveMinimum": 0},
    "wall_s": _AMOUNT,
    "cost": _AMOUNT,
    "tokens": {**_LENGTH, "description": "Of the agent's model, in and out, as it reports them."},
    "exhausted": {"enum": ["deny", "stop"]},
    "reason": _TEXT,
}


def _rule() -> dict[str, Any]:
    """Keys that go with one effect only, and those that an effect needs."""
    rules = [_if("effect", effect, {"required": [key]}) for key, effect in (("value", "respond"), ("set", "modify"))]
    for key, effect in ONLY_WITH.items():
        rules.append({"if": {"required": [key]}, "then": {"properties": {"effect": {"const": effect}}}})
    return {**_table(RULE, "tool", "effect"), "allOf": rules, "dependentRequired": {"on_timeout": ["timeout_s"]}}


def _budget() -> dict[str, Any]:
    """It limits something; a rate counts calls, and tokens are of no tool."""
    of_agents = {"properties": {"tool": {"const": "*"}, "per": {"enum": ["run", "agent"]}}}
    return {
        **_table(BUDGET),
        "anyOf": [{"required": [name]} for name in LIMITS],
        "dependentRequired": {"every_s": ["calls"]},
        "if": {"required": ["tokens"]},
        "then": of_agents,
    }


def _if(key: str, value: str, then: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {key: {"const": value}}, "required": [key]}, "then": then}


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a policy."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A policy of smolagents-hardened (TOML, YAML or JSON)",
        **_table(
            {
                "default": {"enum": ["allow", "deny"]},
                "mode": {"enum": ["enforce", "shadow"]},
                "tools": {"type": "array", "items": {**_TEXT, "pattern": r"^[^*?\[]+$"}},
                "rule": {"type": "array", "items": _rule()},
                "label": {
                    "type": "array",
                    "items": _table({"tool": _TEXT, "add": {**_TEXTS, "minItems": 1}}, "tool", "add"),
                },
                "budget": {"type": "array", "items": _budget()},
                "prices": {
                    "type": "object",
                    "propertyNames": {"pattern": "^(?!model:)|^model:(input|output)$"},
                    "additionalProperties": _AMOUNT,
                },
            },
            "default",
        ),
        "$defs": {
            "predicates": {**_table(PREDICATES), "minProperties": 1},
            "inner": {**_table(_INNER), "minProperties": 1},
        },
    }


def _table(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": list(required)} if required else made

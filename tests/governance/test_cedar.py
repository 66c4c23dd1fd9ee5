"""Policies in Cedar: permit, forbid, and above all what happens where Cedar itself would pass over a policy."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path, PurePosixPath

import pytest
from tests.governance.governed import bench, tool_call

from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.cli import main
from smolagents_hardened.config import Options, from_options
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.cedar import CedarPolicy
from smolagents_hardened.governance.reload import PolicyFile
from smolagents_hardened.governance.served import Refused, Value

POLICY = """// who may do what
@id("reads")
@reason("reading is fine")
permit(principal, action == Action::"call", resource == Tool::"read") when { context.arguments.path like "/data/*" };

@id("secrets")
@reason("secrets stay here")
forbid(principal, action, resource) when { context.labels.contains("secret") };

permit(principal in Agent::"boss", action, resource) when { [Tool::"mail", Tool::"pay"].contains(resource) };
@id("limit") forbid(principal, action, resource == Tool::"pay") when { context.arguments.amount > 100 };
"""
READ = tool_call("read", path="/data/x")


def said(policy: str, call: object) -> tuple[str, str, str]:
    """Verdict, code and rule of a policy on one call."""
    decision = CedarPolicy(policy, "p.cedar").before_tool_call(call)  # type: ignore[arg-type]
    return decision.verdict.value, decision.code, decision.rule


def test_permit_and_forbid() -> None:
    """What is permitted runs, what nothing permits does not, and forbid wins; the record names the policy."""
    assert said(POLICY, READ) == ("allow", "", "reads (policy 1)")
    assert said(POLICY, tool_call("read", path="/etc/x")) == ("deny", "denied_by_default", "default")
    assert said(POLICY, replace(READ, labels=frozenset({"secret"}))) == ("deny", "denied", "secrets (policy 2)")
    assert said("", READ) == ("deny", "denied_by_default", "default")


def test_reasons_are_the_annotations() -> None:
    """The model reads @reason; without one the policy is named."""
    policy = CedarPolicy(POLICY, "/etc/secret/p.cedar")
    assert policy.before_tool_call(READ).reason == "reading is fine"
    assert policy.before_tool_call(replace(READ, labels=frozenset({"secret"}))).reason == "secrets stay here"
    pay = replace(tool_call("pay", amount=101), agent="boss", delegation=("boss",))
    assert policy.before_tool_call(pay).reason == "limit (policy 4) of policy:p.cedar forbids this call"


def test_a_managed_agent_is_below_its_managers() -> None:
    """`principal in Agent::"boss"` holds for the boss and for whoever works for it, at any depth."""
    for chain, expected in ((("boss",), "allow"), (("boss", "x", "worker"), "allow"), (("worker",), "deny")):
        call = replace(tool_call("mail"), agent=chain[-1], delegation=chain)
        assert said(POLICY, call)[0] == expected
    again = replace(tool_call("mail"), agent="boss", delegation=("boss", "x", "boss"))
    assert said(POLICY, again)[0] == "allow"


@pytest.mark.parametrize(
    "amount", ["100", 1e3, None, 2**63, [5], {"__extn": {"fn": "decimal", "arg": "1.0"}}, "\ud800"]
)
def test_a_forbid_that_cannot_be_evaluated_is_no_permit(amount: object) -> None:
    """Cedar passes over the policy whose comparison fails, and would permit the call: here it is denied."""
    call = replace(tool_call("pay", amount=amount), agent="boss", delegation=("boss",))
    assert said(POLICY, call)[:2] == ("deny", "policy_error")
    assert said(POLICY, replace(tool_call("pay", amount=100), agent="boss", delegation=("boss",)))[0] == "allow"
    assert said(POLICY, replace(tool_call("pay"), agent="boss", delegation=("boss",)))[:2] == ("deny", "policy_error")


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        ("x", 'context.arguments.v == "x"'),
        (True, "context.arguments.v == true"),
        (-5, "context.arguments.v == -5"),
        (["a", "b", "a"], 'context.arguments.v == ["b", "a"]'),
        ((1, 2), "context.arguments.v.containsAll([2, 1])"),
        ({"a": {"b": 1}}, "context.arguments.v.a.b == 1"),
        (PurePosixPath("/a"), 'context.arguments.v == "/a"'),
        (1.5, 'context.arguments.v["$type"] == "float" && context.arguments.v.text == "1.5"'),
        (None, 'context.arguments.v["$type"] == "NoneType"'),
        (2**70, 'context.arguments.v["$type"] == "int"'),
        (1 << 60_000, 'context.arguments.v["$type"] == "int"'),
        (b"x", 'context.arguments.v["$type"] == "bytes"'),
        (date(2020, 1, 1), 'context.arguments.v["$type"] == "datetime.date"'),
        ({"$type": "float", "text": "1.5"}, 'context.arguments.v == {"$type": "dict"}'),
        ({"__entity": {"type": "Agent", "id": "boss"}}, 'context.arguments.v == {"$type": "dict"}'),
        ({1: 2}, 'context.arguments.v == {"$type": "dict"}'),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_values_as_cedar_has_them(value: object, condition: str) -> None:
    """Plain data crosses as it is; what Cedar lacks is a record with the type's name, which no argument can forge."""
    policy = f"permit(principal, action, resource) when {{ {condition} }};"
    assert said(policy, tool_call("t", v=value))[0] == "allow"
    assert said(policy, tool_call("t", v="other"))[0] == "deny"


def test_what_is_known_can_be_asked() -> None:
    """The names of the arguments that occur in the task or in a trusted result."""
    policy = 'permit(principal, action, resource) when { context.known.contains("to") };'
    call = tool_call("mail", to="a@b.org", text="hello")
    assert said(policy, replace(call, is_known=lambda value: value == "a@b.org"))[0] == "allow"
    assert said(policy, replace(call, is_known=lambda value: value == "hello"))[0] == "deny"


def test_final_answer_needs_no_permit_unless_named() -> None:
    """As in every policy: an agent may answer, unless a policy says the tool's name."""
    answer = tool_call("final_answer", answer=1)
    assert said(POLICY, answer)[0] == "allow"
    assert said(POLICY, replace(answer, labels=frozenset({"secret"})))[0] == "deny"
    named = 'permit(principal, action, resource == Tool::"final_answer") when { context.labels.isEmpty() };'
    assert said(named, answer)[0] == "allow"
    assert said(named, replace(answer, labels=frozenset({"x"})))[1] == "denied_by_default"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("permit(principal, action, resource);\n\nforbid(principal,,);", r"p\.cedar, line 3: unexpected token"),
        ("\npermit(principal, action, resource", "line 2: unexpected end"),
        ("permit(principal, action, resource) when { foo(1) };", "line 1: `foo` is not a valid function"),
        ("permit(principal == ?principal, action, resource);", "line 1: a template permits nothing"),
        (f"permit(principal, action, resource) when {{ {'(' * 40}true{')' * 40} }};", "brackets 32 deep"),
        (f"permit(principal, action, resource) when {{ {'true && ' * 2000}true }};", "8000 characters"),
        ('@id("; // \\"") permit(principal, action, resource);\n// ;\npermit();', "line 3"),
        ("forbid(;\nforbid(;\n", r"line 1.*and 1 more"),
        ("permit(principal, action, resource);\n// note\rforbid(principal, action, resource);", "line 2: a carriage"),
        ("permit(principal, action, resource);\n// \ud800", "line 2: '.ud800' is no character"),
        (f"permit(principal, action, resource) when {{ {'true || ' * 600}true }};", "line 1: operators are nested"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_line(text: str, message: str) -> None:
    """Errors, templates, and what is too large to be read by people."""
    with pytest.raises(ConfigError, match=message):
        CedarPolicy(text, "p.cedar")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_nothing_behind_a_comment_goes_unbounded(end: str) -> None:
    """Whatever ends a line, no policy gets to the library that is too deep for it: it would take the process down."""
    deep = "permit(principal, action, resource);\n// note{}forbid(principal, action, resource) when {{ {} }};"
    code = "import sys; from smolagents_hardened.governance.cedar import problems_of as p; print(p(sys.argv[1], 'p'))"
    for brackets, is_refused in ((2, end == "\r"), (3000, True)):
        text = deep.format(end, "(" * brackets + "true" + ")" * brackets)
        done = subprocess.run(
            [sys.executable, "-c", code, text], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout != "[]\n") == (0, is_refused), done.stderr


def test_a_cedar_file_is_governance(tmp_path: Path) -> None:
    """By its name alone; each record holds the version; a change is in force at the next call, a broken one is not."""
    path = tmp_path / "policy.cedar"
    path.write_text('permit(principal, action, resource == Tool::"weather");')
    charter = from_options([], Options(governance=str(path))).charter
    assert isinstance(charter.hooks[0], PolicyFile)
    with bench(*charter.hooks) as it:
        assert isinstance(it.serve(), Value)
        path.write_text("forbid(principal, action, resource);")
        assert isinstance(it.serve(), Refused)
        path.write_text("forbid(principal, action, resource")
        assert isinstance(it.serve(), Refused)
        records = list(it.trail.records())
    loads = [record for record in records if record["kind"] == "policy_load"]
    assert ["error" in load for load in loads] == [False, False, True]
    versions = [record["decisions"][0]["version"] for record in records if record["kind"] in ("intent", "refusal")]  # type: ignore[index]
    assert versions == [loads[0]["digest"], loads[1]["digest"], loads[1]["digest"]]


def test_the_commands_know_cedar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """check names every problem with its line; test and replay judge with it."""
    good, bad, cases, trail = (tmp_path / name for name in ("p.cedar", "bad.cedar", "c.json", "t"))
    good.write_text(POLICY)
    bad.write_text("permit();\nforbid(principal, action, resource);\npermit();")
    assert (main(["policy", "check", str(good)]), main(["policy", "check", str(bad)])) == (0, 1)
    out = capsys.readouterr().out
    assert "ok: 4 rules, 0 budgets, default deny, mode enforce" in out
    assert all(f"bad.cedar, line {line}:" in out for line in (1, 3))
    made = [
        {"tool": "read", "arguments": {"path": "/data/x"}, "expect": "allow", "rule": "reads"},
        {"tool": "read", "arguments": {"path": "/data/x"}, "labels": ["secret"], "expect": "deny", "rule": "secrets"},
    ]
    cases.write_text(json.dumps({"case": made}))
    assert main(["policy", "test", str(good), str(cases)]) == 0
    assert "2 of 2 cases" in capsys.readouterr().out
    with Trail(trail) as kept, bench(trail=kept) as it:
        it.governor.serve(READ, dict, it.tool)
        it.governor.serve(tool_call("read", path="/etc/passwd"), dict, it.tool)
    assert main(["policy", "replay", str(good), str(trail)]) == 1
    assert "1 same, 1 different" in capsys.readouterr().out

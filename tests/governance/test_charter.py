"""What a user can set, as plain data, and that every record which comes of it fits the published schema."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor

from smolagents_hardened import Decision, RunStopped, ToolCall
from smolagents_hardened.audit.schema import schema
from smolagents_hardened.audit.sign import Signer, Verifier
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.config import Options, from_options
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import CodeCall

POLICY = """
default = "allow"
[[rule]]
tool = "act"
effect = "ask"
timeout_s = 5
when.what.equals = "ask"
[[rule]]
tool = "act"
effect = "stop"
reason = "enough"
when.what.equals = "stop"
[[label]]
tool = "act"
add = ["untrusted"]
[[budget]]
tool = "act"
calls = 4
[prices]
act = 0.5
"""

SUNK: list[Mapping[str, object]] = []


def sink(record: Mapping[str, object], _line: bytes) -> None:
    """Remembers."""
    SUNK.append(record)


def test_everything_can_be_json(tmp_path: Path) -> None:
    """Each option of governance and audit survives a round through JSON."""
    Signer.generate(tmp_path / "key")
    (tmp_path / "p.toml").write_text(POLICY)
    options = {
        "governance": [str(tmp_path / "p.toml"), "tests.governance.test_charter:allow"],
        "audit": str(tmp_path / "t"),
        "audit_options": {
            "fsync": "intents",
            "sign_key": str(tmp_path / "key"),
            "sign_every": 8,
            "redact": {"names": ["x"]},
            "sinks": ["tests.governance.test_charter:sink"],
        },
        "approver": "tests.governance.test_charter:yes",
        "hook_timeout_s": 2,
        "delegation": {"scope": ["act", "final_answer"], "expires": "2100-01-01T00:00:00Z"},
        "budgets": [{"calls": 9}],
        "prices": {"act": 2},
        "shadow": False,
    }
    charter = from_options([], Options(**json.loads(json.dumps(options)))).charter
    assert charter.authority.grant is not None
    governor = charter.open("run")
    assert [record["kind"] for record in SUNK] == [record["kind"] for record in governor.trail.records()]
    assert [budget.calls for grant in governor.grant.lineage for budget in grant.meter.budgets] == [9, 4]
    governor.close()
    governor.trail.close()
    assert charter.authority.prices == {"act": 2}
    assert charter.keeping.signer is not None


def allow(call: ToolCall) -> Decision:
    """A hook to import."""
    return Decision.allow()


def yes(request: object) -> bool:
    """An approver to import."""
    return True


@pytest.mark.parametrize(
    "options",
    [
        {"approver": "tty"},
        {"approver": 3},
        {"hook_timeout_s": 0},
        {"hook_timeout_s": True},
        {"budgets": "10"},
        {"budgets": [{"cals": 1}]},
        {"prices": {"act": -1}},
        {"prices": [1]},
        {"delegation": {"scope": "act"}},
        {"audit_options": {"fsnyc": "always"}},
        {"audit_options": {"fsync": "maybe"}},
        {"audit_options": {"sign_every": 5}},
        {"audit_options": {"sign_key": "/nonexistent"}},
        {"audit_options": {"redact": {"patterns": ["("]}}},
        {"audit_options": {"fsync": "always"}},
        {"audit_options": {"rotate_bytes": 5000}},
        {"audit_options": {"sinks": ["tests.governance.test_charter:nosuch"]}},
    ],
)
def test_what_is_not_understood_is_refused(options: dict[str, object]) -> None:
    """A wrong option is a ConfigError before anything is started."""
    with pytest.raises(ConfigError):
        from_options([], Options(**options))  # type: ignore[arg-type]


def test_a_shadow_policys_budgets_bind_nobody(tmp_path: Path) -> None:
    """In shadow neither rules nor budgets count."""
    (tmp_path / "p.toml").write_text('mode = "shadow"\n' + POLICY)
    for mode, is_shadow, expected in (("shadow", False, 0), ("enforce", True, 0), ("enforce", False, 1)):
        (tmp_path / "p.toml").write_text(f'mode = "{mode}"\n' + POLICY)
        governor = from_options([], Options(governance=str(tmp_path / "p.toml"), shadow=is_shadow)).charter.open("run")
        assert (0 if governor.grant is None else 1) == expected
        governor.close()


class Reader:
    """Refuses one snippet, and breaks on one result."""

    def before_tool_call(self, call: ToolCall) -> Decision:
        return Decision.allow()

    def before_code(self, code: CodeCall) -> Decision:
        return Decision.deny("no rm") if "rm" in code.code else Decision.allow()

    def after_tool_call(self, call: ToolCall, outcome: object) -> None:
        if call.arguments.get("what") == "withhold":
            raise ValueError


def test_every_record_fits_the_schema(make_executor: MakeExecutor, tmp_path: Path) -> None:
    """A session that meets every fate writes records that fit, a chain that verifies and is signed to its end."""
    (tmp_path / "p.toml").write_text(POLICY)
    signer, path = Signer.generate(tmp_path / "key"), tmp_path / "t"
    executor = make_executor(
        governance=[str(tmp_path / "p.toml"), Reader()],
        approver=lambda request: True,
        audit=str(path),
        audit_options={"sign_key": str(tmp_path / "key"), "sign_every": 5},
        delegation={"scope": ["act", "fail"]},
        timeout_seconds=3,
    )

    def fail() -> None:
        raise OSError("broken")

    executor.send_tools({"act": lambda what: {"did": what}, "fail": fail, "other": fail})
    codes = [
        "act('x')",
        "act('ask')",
        "rm = 1",
        "fail()",
        "other()",
        "act(1, 2)",
        "act('withhold')",
        "while True: pass",
    ]
    with pytest.raises(RunStopped, match="enough"):
        executor("act('stop')")
    for code in (*codes, "act('password')", "act('over the budget')", "import os; os._exit(3)"):
        with contextlib.suppress(InterpreterError):
            executor(code)
    assert not executor.state["_print_outputs"]
    executor.close()
    found = [json.loads(line) for line in path.read_text().splitlines()]
    validator = jsonschema.Draft202012Validator(schema())
    for record in found:
        problems = [error.message for error in validator.iter_errors(record)]
        assert problems == [], (record, problems)
    kinds = {record["kind"] for record in found}
    expected = "run delegation policy_load code code_refusal box_start box_end approval intent outcome refusal limit box_died end"
    assert kinds >= set(expected.split()) - {"box_end"}
    report = verify(path, key=Verifier.from_pem(signer.public_pem()))
    assert (report.ok, report.signed, report.unknown_outcomes) == (True, report.count, ())

"""Policies beyond names and values: YAML, labels, reload, shadow; what a file may not do to us."""

from __future__ import annotations

import json
import os
import time
from decimal import Decimal
from pathlib import Path
from time import process_time

import pytest
from tests.governance.governed import bench, tool_call

from smolagents_hardened.cli import main
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance import policy_file
from smolagents_hardened.governance.cel import Expression
from smolagents_hardened.governance.hooks import Decision, shadow
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.reload import PolicyFile
from smolagents_hardened.governance.served import Refused, Value


def test_respond_and_modify_are_effects() -> None:
    """A rule can answer in a tool's place, or put arguments in."""
    rules = [
        {"tool": "time", "effect": "respond", "value": "noon"},
        {"tool": "weather", "effect": "modify", "set": {"city": "Rome"}},
    ]
    with bench(Policy.from_mapping({"default": "deny", "rule": rules})) as it:
        assert it.serve(tool_call("time")) == Value("noon")
        assert it.serve() == Value({"ran": {"city": "Rome"}})


def test_what_a_rule_answers_is_its_own() -> None:
    """What a caller does to the value of a rule does not change the next answer."""
    rules = [{"tool": "time", "effect": "respond", "value": ["noon"]}]
    with bench(Policy.from_mapping({"default": "deny", "rule": rules})) as it:
        first = it.serve(tool_call("time"))
        assert isinstance(first, Value)
        first.value.append("changed")  # type: ignore[attr-defined]
        assert it.serve(tool_call("time")) == Value(["noon"])


def test_a_tool_that_the_policy_does_not_know_is_denied() -> None:
    """With `tools`, any other name is denied whatever the default and whatever glob allows it."""
    policy = Policy.from_mapping({"default": "allow", "tools": ["a"], "rule": [{"tool": "*", "effect": "allow"}]})
    said = [policy.before_tool_call(tool_call(name)) for name in ("a", "b", "final_answer")]
    assert [(one.verdict.value, one.code) for one in said] == [("allow", ""), ("deny", "unknown_tool"), ("allow", "")]


@pytest.mark.parametrize(
    "rules", [[("allow", "write")], [("deny", "write"), ("allow", "*")], [("ask", "write")], [("stop", "read")]]
)
def test_no_rule_opens_a_tool_that_is_none_of_tools(rules: list[tuple[str, str]]) -> None:
    """`tools` binds: whatever a rule says of another tool, by its name or a glob, a call of it is denied."""
    made = [{"effect": effect, "tool": tool, "when": {"x": {"equals": 1}}} for effect, tool in rules]
    policy = Policy.from_mapping({"default": "allow", "tools": ["read"], "rule": made})
    for x in (1, 2):
        assert policy.before_tool_call(tool_call("write", x=x)).verdict == "deny"
    assert policy.before_tool_call(tool_call("read", x=2)).verdict == "allow"


@pytest.mark.parametrize("effect", ["ask", "stop", "allow"])
def test_final_answer_is_never_foreign(effect: str) -> None:
    """A glob reaches final_answer with `tools` as it does without."""
    rules = [{"tool": "*", "effect": effect}]
    for top in ({}, {"tools": ["read"]}):
        policy = Policy.from_mapping({"default": "deny", "rule": rules, **top})
        assert policy.before_tool_call(tool_call("final_answer")).verdict == effect


def test_rules_match_on_the_delegation() -> None:
    """A rule for agents below the boss says nothing about the boss."""
    policy = Policy.from_mapping(
        {"default": "allow", "rule": [{"tool": "*", "effect": "deny", "delegation": "boss/*"}]}
    )
    call = tool_call()
    from dataclasses import replace

    assert policy.before_tool_call(replace(call, delegation=("boss",))).verdict == "allow"
    assert policy.before_tool_call(replace(call, delegation=("boss", "worker"))).verdict == "deny"


def test_the_record_names_rule_and_version() -> None:
    """Each opinion of a policy says which rule spoke and which version of the rules it stands in."""
    policy = Policy.from_mapping({"default": "deny", "rule": [{"tool": "weather", "effect": "allow", "id": "w"}]})
    with bench(policy) as it:
        it.serve()
        load, intent = list(it.trail.records())[:2]
    said = intent["decisions"][0]  # type: ignore[index]
    assert (load["kind"], load["digest"]) == ("policy_load", policy.digest)
    assert (said["rule"], said["version"]) == ("w (rule 1)", policy.digest)


def test_a_shadow_policy_decides_nothing_and_records_everything() -> None:
    """In shadow a denial, even a stop or a failure, is on record and the call runs."""
    policy = Policy.from_mapping({"default": "deny", "mode": "shadow"})
    hooks = [policy, shadow(lambda call: Decision.stop("x")), shadow(lambda call: 1 / 0), shadow(lambda call: None)]
    with bench(*hooks) as it:
        assert isinstance(it.serve(), Value)
        intent = next(r for r in it.trail.records() if r["kind"] == "intent")
        told = [(one["verdict"], one["shadow"]) for one in intent["decisions"]]  # type: ignore[attr-defined]
        assert told == [("deny", True), ("stop", True), ("deny", True), ("deny", True)]


def test_a_changed_file_is_in_force_at_the_next_call(tmp_path: Path) -> None:
    """The file is read again when it changes; a broken or missing one changes nothing, and is on record."""
    path = tmp_path / "p.toml"
    path.write_text('default = "allow"\n')
    with bench(PolicyFile(path)) as it:
        assert isinstance(it.serve(), Value)
        path.write_text('default = "deny"\n')
        assert isinstance(it.serve(), Refused)
        path.write_text("default = ?")
        assert isinstance(it.serve(), Refused)
        path.unlink()
        assert isinstance(it.serve(), Refused)
        path.write_text('default = "allow"\n# again\n')
        assert isinstance(it.serve(), Value)
        loads = [r for r in it.trail.records() if r["kind"] == "policy_load"]
    assert ["error" in load for load in loads] == [False, False, True, True, False]
    assert len({load["digest"] for load in loads}) == 2


@pytest.mark.parametrize("is_old", [True, False])
def test_a_change_that_keeps_time_and_size_is_seen(
    tmp_path: Path, is_old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file rewritten in place with its times and size kept, or within one tick of its clock, is in force at once."""
    path = tmp_path / "p.toml"
    path.write_text('default = "allow"')
    if is_old:
        monkeypatch.setattr(time, "time_ns", lambda: path.stat().st_ctime_ns + 10**10)
    before = path.stat()
    with bench(PolicyFile(path)) as it:
        assert isinstance(it.serve(), Value)
        path.write_text('default = "deny" ')
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        if not is_old:  # as if the clock of the file system stood still
            monkeypatch.setattr(os, "stat", lambda *_: before)
        assert isinstance(it.serve(), Refused)


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its last change is long ago, a call costs one look at the file's facts."""
    path = tmp_path / "p.toml"
    path.write_text('default = "allow"')
    monkeypatch.setattr(time, "time_ns", lambda: path.stat().st_ctime_ns + 10**10)
    with bench(PolicyFile(path)) as it:
        monkeypatch.setattr(policy_file, "read_text", None)
        assert isinstance(it.serve(), Value)


@pytest.mark.parametrize(
    ("failing", "error", "cause"),
    [
        ("read_text", ConfigError("cannot be read"), OSError(24, "Too many open files")),
        ("parse", OverflowError("too large"), None),
        ("parse", ConfigError("nested too deep"), RecursionError()),
    ],
)
def test_what_fails_for_a_moment_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: Exception, cause: Exception | None
) -> None:
    """A change that meets a passing failure, of whatever kind, is on record as such, and in force when it has passed."""
    path = tmp_path / "p.toml"
    path.write_text('default = "allow"\n')

    def fails(*_: object) -> None:
        raise error from cause

    with bench(PolicyFile(path)) as it:
        path.write_text('default = "deny"\n# stricter\n')
        with monkeypatch.context() as patch:
            patch.setattr(policy_file, failing, fails)
            assert isinstance(it.serve(), Value)
        assert isinstance(it.serve(), Refused)
        loads = [record for record in it.trail.records() if record["kind"] == "policy_load"]
    assert [str(error) in str(load.get("error")) for load in loads] == [False, True, False]


def test_a_text_that_is_no_policy_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the file is looked at: a large one takes seconds."""
    path = tmp_path / "p.toml"
    path.write_text('default = "allow"\n')
    with bench(PolicyFile(path)) as it:
        path.write_text("default = ?\n")
        it.serve()
        monkeypatch.setattr(policy_file, "parse", None)
        assert isinstance(it.serve(), Value)
        assert "error" in [record for record in it.trail.records() if record["kind"] == "policy_load"][-1]


def test_a_relative_path_is_that_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that changes the working directory puts no other directory's policy.toml in force."""
    for name, default in (("ours", "deny"), ("cloned", "allow")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.toml").write_text(f'default = "{default}"\n')
    monkeypatch.chdir(tmp_path / "ours")
    with bench(PolicyFile("policy.toml")) as it:
        monkeypatch.chdir(tmp_path / "cloned")
        assert isinstance(it.serve(), Refused)
        (tmp_path / "ours" / "policy.toml").write_text('default = "allow"\n')
        assert isinstance(it.serve(), Value)


# ---- YAML and other files -------------------------------------------------------------------------------------

YAML = """
default: deny
rule:
  - tool: weather
    effect: allow
    when:
      city: {regex: "P.*"}
  # a comment
  - tool: 'no'
    effect: ask
    timeout_s: 2.5
"""


def test_yaml_says_the_same_as_json(tmp_path: Path) -> None:
    """The same rules in YAML have the same digest, and each rule its line."""
    data = {
        "default": "deny",
        "rule": [
            {"tool": "weather", "effect": "allow", "when": {"city": {"regex": "P.*"}}},
            {"tool": "no", "effect": "ask", "timeout_s": 2.5},
        ],
    }
    (tmp_path / "p.yaml").write_text(YAML)
    (tmp_path / "p.json").write_text(json.dumps(data, indent=1))
    one, other = Policy.from_file(tmp_path / "p.yaml"), Policy.from_file(tmp_path / "p.json")
    assert one.digest == other.digest
    assert [rule.line for rule in one.contents.rules] == [4, 9]
    assert [rule.line for rule in other.contents.rules] == [4, 13]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD_FILES = {
    "bomb.yaml": (BOMB, "line 1: anchors and aliases"),
    "cycle.yaml": ("default: &a [*a]", "anchors and aliases"),
    "tag.yaml": ("default: !!python/object/apply:os.system [id]", "tags are not read"),
    "twice.yaml": ("default: deny\ndefault: allow", "line 2.*repeated"),
    "norway.yaml": ("default: deny\nrule:\n - {tool: no, effect: deny}", "line 3: readers disagree about 'no'"),
    "key.yaml": ("default: deny\n1: 2", "is no text"),
    "two.yaml": ("default: deny\n---\ndefault: allow", "second document"),
    "deep.yaml": ("default: " + "[" * 200 + "]" * 200, "nested deeper|not valid"),
    "big.yaml": ("default: deny\n" + "# x\n" * 80_000, "characters"),
    "big.toml": ("default = 'deny'\n" + "# x\n" * 300_000, "more than"),
    "deep.json": ("[" * 100_000, "not valid"),
    "nan.json": ('{"default": NaN}', "NaN"),
    "twice.json": ('{"default": "deny", "default": "allow"}', "repeated"),
    "latin.toml": (b"default = '\xff'", "cannot be read"),
    "price.toml": (f'default = "deny"\n[prices]\na = 1{"0" * 400}\n', "line 3: numbers are finite"),
    "calls.json": (f'{{"default": "deny", "budget": [{{"calls": 1{"0" * 400}}}]}}', "line 1: numbers are finite"),
    "value.json": (
        f'{{"default": "deny", "rule": [{{"tool": "a", "effect": "respond", "value": {"[" * 250 + "]" * 250}}}]}}',
        "nested deeper",
    ),
    "dotted.toml": (f'default = "deny"\nprices{".a" * 3000} = 1\n', "line 2: nested deeper"),
}


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("-1.5", -1.5), ("1e3", 1000.0), ("999999999999999999", 999999999999999999)]
)
def test_yaml_reads_plain_numbers(tmp_path: Path, text: str, value: float) -> None:
    """What every reader takes for a number is one, and names with digits in them are texts."""
    for plain, wanted in ((text, value), ("10.0.0.1", "10.0.0.1"), ("v1", "v1"), ("1st", "1st")):
        (tmp_path / "p.yaml").write_text(f"default: deny\nrule: [{{tool: t, effect: respond, value: {plain}}}]\n")
        assert Policy.from_file(tmp_path / "p.yaml").contents.rules[0].raw["value"] == wanted


@pytest.mark.parametrize(
    "text",
    ["12345678901234567890", "1_000", "1_0.5", "2001-12-14", "2001-12-14 10:00:00", "010", "0x1F", "1:30", "1e9999"],
)
def test_yaml_wants_quotes_where_readers_disagree(tmp_path: Path, text: str) -> None:
    """What looks like a number or a date and is not read as one is refused, never silently a text."""
    (tmp_path / "p.yaml").write_text(f"default: deny\nrule: [{{tool: t, effect: respond, value: {text}}}]\n")
    with pytest.raises(ConfigError, match=r"line 2: readers disagree.*quote it"):
        Policy.from_file(tmp_path / "p.yaml")
    (tmp_path / "p.yaml").write_text(f"default: deny\nrule: [{{tool: t, effect: respond, value: '{text}'}}]\n")
    assert Policy.from_file(tmp_path / "p.yaml").contents.rules[0].raw["value"] == text


@pytest.mark.parametrize("value", [10**400, float("nan"), float("inf"), [[]] * 1])
def test_data_is_bounded_like_a_file(value: object) -> None:
    """A policy made of plain data is held to the same numbers and depth."""
    for _ in range(40 if isinstance(value, list) else 0):
        value = [value]
    rule = {"tool": "t", "effect": "respond", "value": value}
    with pytest.raises(ConfigError, match=r"policy: (numbers|nested)"):
        Policy.from_mapping({"default": "deny", "rule": [rule]})


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_no_policy_are_refused_in_time(tmp_path: Path, name: str) -> None:
    """Bombs, cycles, tags, repeated keys, depth, size: an error that says what, within a moment."""
    text, message = BAD_FILES[name]
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.monotonic()
    with pytest.raises(ConfigError, match=message):
        Policy.from_file(tmp_path / name)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("expression", "allow"),
    [
        ("args.amount < 100 && tool == 'pay'", True),
        ("args.amount > 100", False),
        ("args.missing == 1", False),
        ("args.amount", False),
        ("'x' in labels", False),
        ("agent == 'main' && delegation[0] == 'main'", True),
    ],
)
def test_cel_says_what_predicates_cannot(expression: str, allow: bool) -> None:
    """An allow rule needs true: false, an error and any other value do not fit."""
    policy = Policy.from_mapping({"default": "deny", "rule": [{"tool": "*", "effect": "allow", "cel": expression}]})
    assert (policy.before_tool_call(tool_call("pay", amount=50)).verdict == "allow") is allow


@pytest.mark.parametrize("value", [{"rm -rf /"}, Decimal(1), b"rm", float("nan"), {1: 2}])
def test_cel_judges_no_stand_in(value: object) -> None:
    """A value that CEL has no value for is doubt, not the text of its type."""
    rule = {"tool": "*", "effect": "allow", "cel": "!(string(args.x).contains('rm')) || true"}
    policy = Policy.from_mapping({"default": "deny", "rule": [rule]})
    assert policy.before_tool_call(tool_call("t", x="ls")).verdict == "allow"
    assert policy.before_tool_call(tool_call("t", x=value)).verdict == "deny"


LOOPS = {
    "args.x.all(a, a >= 0)": True,
    "args.x.exists(a, a == 7) && args.x.all(b, b >= 0)": True,
    "args.x.all(a, a in args.x)": True,
    "size(args.x . filter ( a, a >= 0)) > 0": True,
    "size(args.x.map(a, args.x)) > 0": True,
    r"r'\\' != '' && args.x.map(a, args.x) != []": True,
    "'(' != ')' && args.x.map(a, '(' + ')') != []": True,
    "['.map(', '.map('] != [] // .map(.map(.map(": False,
}


@pytest.mark.parametrize("text", LOOPS)
def test_cel_does_not_go_through_all_that_a_box_can_send(text: str) -> None:
    """Loops, and those that copy above all, take minutes for what fits in one message: such a call cannot be told."""
    expression = Expression.compile(text, "here")
    assert expression.holds(tool_call("t", x=list(range(20)))) is True
    began = process_time()
    assert expression.holds(tool_call("t", x=list(range(2_000)))) is (None if LOOPS[text] else True)
    assert process_time() - began < 1


@pytest.mark.parametrize("text", ["args.x.all(a, args.x.exists(b, a == b))", "[1].map(a, " * 8 + "1" + ")" * 8])
def test_cel_with_a_loop_in_a_loop_is_refused(text: str) -> None:
    """Their times are multiplied, those of loops over what stands in the expression itself as well."""
    with pytest.raises(ConfigError, match=r"here: cel .* stands within another loop"):
        Expression.compile(text, "here")


def test_cel_that_cannot_tell_denies_in_a_deny_rule() -> None:
    """For a rule that restricts, an expression that fails counts as true; one that is no CEL is refused."""
    policy = Policy.from_mapping({"default": "allow", "rule": [{"tool": "*", "effect": "deny", "cel": "args.x > 1"}]})
    assert policy.before_tool_call(tool_call("pay")).verdict == "deny"
    with pytest.raises(ConfigError, match="cel"):
        Policy.from_mapping({"default": "deny", "rule": [{"tool": "*", "effect": "allow", "cel": "1 +"}]})


# ---- the command line -----------------------------------------------------------------------------------------


def test_check_finds_every_error_and_dead_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All errors with their lines at once; a rule that can never decide is a warning."""
    bad = tmp_path / "bad.toml"
    bad.write_text('default="deny"\n[[rule]]\ntool="a"\neffect="alow"\n[[rule]]\ntol="a"\n[[budget]]\ncals=1\n')
    assert main(["policy", "check", str(bad)]) == 1
    said = capsys.readouterr().out
    assert "line 2: rule 1" in said
    assert "line 5: rule 2" in said
    assert "line 7: budget 1: unknown key 'cals'" in said
    odd = tmp_path / "odd.toml"
    odd.write_text(
        'default="deny"\ntools=["read_a"]\n[[rule]]\ntool="read_*"\neffect="deny"\n[[rule]]\ntool="read_a"\neffect="allow"\n'
        '[[rule]]\ntool="write"\neffect="allow"\n'
    )
    assert main(["policy", "check", str(odd)]) == 0
    said = capsys.readouterr().out
    assert "line 6: rule 2 can never decide: rule 1" in said
    assert "line 9: rule 3 is about 'write', which is none of `tools`" in said

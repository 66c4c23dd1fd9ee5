"""Policies beyond names: URLs, paths, Unicode, YAML, labels, reload, shadow; what a file may not do to us."""

from __future__ import annotations

import json
import time
from pathlib import Path, PurePosixPath

import pytest
from tests.governance.governed import bench, tool_call

from smolagents_hardened.cli import main
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.hooks import Decision, shadow
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.reload import PolicyFile
from smolagents_hardened.governance.served import Refused, Value

GOOD_URL = {"url": {"scheme": ["https"], "host": ["api.good.org", "*.cdn.org"], "port": [443]}}


def fits(predicates: dict[str, object], value: object, effect: str = "allow") -> bool:
    """Whether a rule of this effect fits a call with this value."""
    rule = {"tool": "t", "effect": effect, "when": {"x": predicates}}
    policy = Policy.from_mapping({"default": "allow" if effect != "allow" else "deny", "rule": [rule]})
    return policy.before_tool_call(tool_call("t", x=value)).rule != "default"


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("https://api.good.org/x?y=1", True),
        ("HTTPS://API.GOOD.ORG:443/x", True),
        ("https://a.b.cdn.org/", True),
        ("https://cdn.org/", False),
        ("https://api.good.org.evil.org/", False),
        ("https://notapi.good.org/", False),
        ("http://api.good.org/", False),
        ("https://api.good.org:8443/", False),
        ("api.good.org", False),
        (3, False),
    ],
)
def test_urls_are_judged_by_their_parts(url: object, is_good: bool) -> None:
    """Scheme, host (exact, or below a domain) and port, by a real parser."""
    assert fits(GOOD_URL, url) is is_good


@pytest.mark.parametrize(
    "url",
    [
        "https://api.good.org\\@evil.org/",
        "https://api.good.org@evil.org/",
        "https://user:pw@api.good.org/",
        "https://api.good.org%2eevil.org/",
        "https://api.good.org\t.evil.org/",
        " https://api.good.org/",
        "https://api.good.org/ x",
        "https:///api.good.org/",
        "https://api.good.org:port/",
        "https://ａｐｉ.good.org/",
        "https://2130706433/",
        "https://127.1/",
        "https://0x7f.0.0.1/",
        "https://[::ffff:7f00:1%25eth0]/",
        "https://-api.good.org/",
        "https://a..good.org/",
        "//api.good.org/",
    ],
)
def test_a_doubtful_url_is_on_nobodys_side(url: str) -> None:
    """What readers disagree about is not allowed by an allow rule, and is caught by a deny rule for anything."""
    assert not fits({"url": {"host": ["api.good.org"]}}, url)
    assert fits({"url": {"host": ["unrelated.org"]}}, url, "deny")


@pytest.mark.parametrize(
    ("path", "allow", "deny"),
    [
        ("/data/x", True, True),
        ("/data", True, True),
        ("/data/./x//y", True, True),
        (PurePosixPath("/data/x"), True, True),
        ("/database", False, False),
        ("/etc/passwd", False, False),
        ("/data/../etc/passwd", False, True),
        ("data/x", False, True),
        ("//data/x", False, True),
        ("~/x", False, True),
        ("/data/\0x", False, True),
        ("/data/．．/x", False, True),
        (7, False, False),
    ],
)
def test_paths_below_a_root(path: object, allow: bool, deny: bool) -> None:
    """A path is below a root by its text; what cannot be told is allowed by no rule and denied by each."""
    assert (fits({"below": "/data"}, path), fits({"below": "/data"}, path, "deny")) == (allow, deny)


@pytest.mark.parametrize(
    ("text", "allow", "deny"), [("rm", True, True), ("ｒｍ", False, True), ("\ud800", False, True)]
)
def test_unicode_has_no_second_spelling(text: str, allow: bool, deny: bool) -> None:
    """Text fits an allow rule only in every form, any other rule in one; no Unicode at all is doubt."""
    assert (fits({"regex": "rm"}, text), fits({"regex": "rm"}, text, "deny")) == (allow, deny)


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)*$", r"(.*a){25}", r"([a-z]+)*\d"])
def test_no_pattern_is_catastrophic(pattern: str) -> None:
    """Patterns that make a backtracking engine run for ever take time in proportion to the text."""
    started = time.monotonic()
    fits({"regex": pattern}, "a" * 50_000 + "!")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(?=a)b", "a" * 3000, "((a{100}){100}){100}"])
def test_patterns_that_cannot_be_bounded_are_refused(pattern: str) -> None:
    """Back references, look-around, huge patterns: the file is no policy."""
    with pytest.raises(ConfigError, match="regex"):
        fits({"regex": pattern}, "a")


def test_respond_and_modify_are_effects() -> None:
    """A rule can answer in a tool's place, or put arguments in."""
    rules = [
        {"tool": "time", "effect": "respond", "value": "noon"},
        {"tool": "weather", "effect": "modify", "set": {"city": "Rome"}},
    ]
    with bench(Policy.from_mapping({"default": "deny", "rule": rules})) as it:
        assert it.serve(tool_call("time")) == Value("noon")
        assert it.serve() == Value({"ran": {"city": "Rome"}})


def test_a_tool_that_the_policy_does_not_know_is_denied() -> None:
    """With `tools`, any other name is denied whatever the default and whatever glob allows it."""
    policy = Policy.from_mapping({"default": "allow", "tools": ["a"], "rule": [{"tool": "*", "effect": "allow"}]})
    said = [policy.before_tool_call(tool_call(name)) for name in ("a", "b", "final_answer")]
    assert [(one.verdict.value, one.code) for one in said] == [("allow", ""), ("deny", "unknown_tool"), ("allow", "")]


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
}


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


def test_cases_and_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`test` compares cases with verdicts; `replay` tells which recorded calls would have ended otherwise."""
    from smolagents_hardened.audit.trail import Trail

    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text('default = "allow"\n')
    new.write_text('default = "deny"\n[[rule]]\ntool = "weather"\neffect = "allow"\nwhen.city.equals = "Paris"\n')
    cases = tmp_path / "cases.toml"
    cases.write_text(
        '[[case]]\ntool="weather"\nexpect="allow"\narguments={city="Paris"}\n[[case]]\ntool="x"\nexpect="allow"\n'
    )
    assert main(["policy", "test", str(new), str(cases)]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 cases as expected" in said
    assert "line 5: case 2" in said
    path = tmp_path / "trail"
    with Trail(path) as trail, bench(Policy.from_file(old), trail=trail) as it:
        it.serve()
        it.serve(tool_call(city="Rome"))
        it.serve(tool_call(city="x" * 100_000))
    assert main(["policy", "replay", str(new), str(path)]) == 1
    said = capsys.readouterr().out
    assert "1 same, 1 different, 1 unknown" in said
    assert main(["policy", "replay", str(old), str(path)]) == 0

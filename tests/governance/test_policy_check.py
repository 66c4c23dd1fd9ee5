"""`hardened policy check`: every error with its line, and what probably was not meant."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random

import pytest
from tests.governance.governed import bench, tool_call

from smolagents_hardened.cli import main
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance import policy
from smolagents_hardened.governance.check import check
from smolagents_hardened.governance.coverage import covered, impossible
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.reload import SUFFIXES, PolicyFile, load
from smolagents_hardened.governance.rules import EFFECTS

EXAMPLES = Path(__file__).parents[2] / "examples"
POLICIES = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".toml", ".yaml", ".json", ".cedar"))
TWO = """
default = "deny"
[[rule]]
tool = "pay"
effect = "{}"
when.amount = {{ min = 101 }}
[[rule]]
tool = "pay"
effect = "allow"
when.amount = {{ {} }}
"""


def said(tmp_path: Path, text: str, name: str = "p.toml") -> list[str]:
    """What check says of a file."""
    path = tmp_path / name
    path.write_text(text)
    return [finding.message.removeprefix(str(path)) for finding in check(path)]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_the_examples_policies_are_sound(path: Path) -> None:
    """Nothing is wrong or odd about the policies that people copy."""
    assert check(path) == []
    assert main(["policy", "check", str(path)]) == 0


def test_there_are_examples_to_check() -> None:
    """The test above has files to look at."""
    assert len(POLICIES) >= 2


def test_the_head_of_the_module_is_a_policy(tmp_path: Path) -> None:
    """What the docstring shows can be copied as it is."""
    text = (policy.__doc__ or "").split("::\n")[1].split("\nEvery rule that fits")[0]
    assert said(tmp_path, text) == []


def test_rules_about_one_tool_are_compared(tmp_path: Path) -> None:
    """Two rules with different predicates are fine; one with all predicates of a stricter one can never decide."""
    assert said(tmp_path, TWO.format("ask", "max = 100")) == []
    assert said(tmp_path, TWO.format("deny", "min = 101, max = 500")) == [
        ", line 7: rule 2 can never decide: rule 1 fits whenever it does"
    ]


@pytest.mark.parametrize("name", ["p.toml", "p.yaml", "p.json", "p.cedar"])
def test_check_tells_the_hash_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """An auditor's `sha256sum` agrees with what is printed; so does the trail. A byte order mark is read over."""
    texts = {"p.toml": 'default = "deny"', "p.yaml": "default: deny", "p.json": '{"default": "deny"}'}
    written = texts.get(name, "permit(principal, action, resource);").encode()
    for raw in (written, b"\xef\xbb\xbf" + written):
        (tmp_path / name).write_bytes(raw)
        assert main(["policy", "check", str(tmp_path / name)]) == 0
        said = capsys.readouterr().out
        assert f"file_sha256 {hashlib.sha256(raw).hexdigest()} of the file" in said
        assert f"digest {load(tmp_path / name).digest} of what it says" in said
    with bench(PolicyFile(tmp_path / name)) as it:
        (tmp_path / name).write_bytes(written + b"\n")
        it.serve()
        loads = [one for one in it.trail.records() if one["kind"] == "policy_load"]
    assert [one["file_sha256"] for one in loads] == [hashlib.sha256(one).hexdigest() for one in (raw, written + b"\n")]
    assert len({one["digest"] for one in loads}) == (1 if name in texts else 2)


@pytest.mark.parametrize(("mode", "told"), [("enforce", "mode enforce\n"), ("shadow", "mode shadow: nothing of it")])
def test_check_tells_what_is_in_force(tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str, told: str) -> None:
    """A policy that was left in shadow does not look like one that counts; neither does one without its budgets."""
    (tmp_path / "p.toml").write_text(f'default = "deny"\nmode = "{mode}"\n[[budget]]\ncalls = 3\n')
    assert main(["policy", "check", str(tmp_path / "p.toml")]) == 0
    assert f"ok: 0 rules, 1 budgets, default deny, {told}" in capsys.readouterr().out


def test_what_has_no_language_is_told_all_of_them(tmp_path: Path) -> None:
    """Cedar, too."""
    (found,) = said(tmp_path, "x", "p.txt")
    for suffix in SUFFIXES:
        assert suffix in found


def rules(*when: object, **more: object) -> list[dict[str, object]]:
    """Rules about one argument, one for each of these demands."""
    return [{"tool": "x", "effect": "deny", "when": {"a": one}, **more} for one in when]


def named(key: str, *names: str, effects: tuple[str, ...] = ("deny", "deny")) -> list[dict[str, object]]:
    """Rules that differ in one of their names, and in what they say."""
    pairs = zip(names, effects, strict=True)
    return [{"tool": "x", "effect": effect, key: name} for name, effect in pairs]


# Rules, and how the last of them is spoken of; "" where it can decide something.
NEVER: dict[str, tuple[list[dict[str, object]], str]] = {
    "an empty list": (rules({"in": []}), "nothing is in an empty list"),
    "a list": (rules({"in": ["a"]}), ""),
    "a value of what is not there": (rules({"present": False, "equals": "a"}), "present = false"),
    "what is not there": (rules({"present": False}), ""),
    "keys in another order": (
        rules({"url": {"host": "e.x", "scheme": "https"}}, {"url": {"scheme": "https", "host": "e.x"}}),
        "rule 2 can never decide: rule 1",
    ),
    "other values": (
        rules({"url": {"host": "e.x", "scheme": "https"}}, {"url": {"scheme": "http", "host": "e.x"}}),
        "",
    ),
    "a list of one host": (rules({"url": {"host": "e.x"}}, {"url": {"host": ["e.x"]}}), "rule 2 can never"),
    "the same number": (rules({"max": 1}, {"max": 1.0}), "rule 2 can never decide"),
    "one and true": (rules({"equals": 1}, {"equals": True}), ""),
    "a narrower glob": (named("tool", "read_*", "read_f*"), "rule 2 can never decide"),
    "a wider glob": (named("tool", "read_f*", "read_*"), ""),
    "a glob of one more sign": (named("tool", "r_*", "r?_*"), ""),
    "a name within a stricter glob": (named("tool", "r*", "rm", effects=("deny", "allow")), "rule 2 can never"),
    "a name within a laxer glob": (named("tool", "r*", "rm", effects=("allow", "deny")), ""),
    "an agent within a glob": (named("agent", "r*", "rob"), "rule 2 can never decide"),
    "an agent beside a glob": (named("agent", "r*", "bob"), ""),
    "a chain within a glob": (named("delegation", "boss/*", "boss/a*"), "rule 2 can never decide"),
    "the same id": ([*rules({"min": 1}, id="a"), *rules({"max": 1}, id="a")], "rule 2 has the id 'a' of rule 1"),
    "changed, so allowed": (
        [{"tool": "x", "effect": "modify", "set": {"b": 1}}, *rules({"equals": 1}, effect="allow")],
        "modify lets a call through as allow does: put the conditions of rule 2 into rule 1, or make their opposite a",
    ),
}


@pytest.mark.parametrize("name", NEVER)
def test_a_rule_that_can_never_decide_is_named(tmp_path: Path, name: str) -> None:
    """The clear ones; beside each stands one that can."""
    made, told = NEVER[name]
    found = said(tmp_path, json.dumps({"default": "deny", "rule": made}), "p.json")
    assert [told in one for one in found] == ([True] if told else [])


PREDICATES: tuple[dict[str, object], ...] = (
    *({"equals": "a"}, {"equals": 1}, {"equals": 1.0}, {"equals": True}, {"in": []}, {"in": ["a", 1]}, {"known": True}),
    *({"min": 1}, {"max": 1.0}, {"min": 2, "max": 1}, {"max_length": 1}, {"present": False}, {"present": True}),
    *({"present": False, "equals": "a"}, {"present": False, "known": False}, {"not": {"equals": "a"}}, {"below": "/a"}),
    *(
        {"present": True, "not": {"equals": "a"}},
        {"not": {"equals": "a"}, "in": ["b", None]},
        {"present": True, "max": 1},
    ),
    *({"url": {"host": "e.x"}}, {"url": {"host": ["e.x"]}}, {"regex": "a|b"}, {"contains": "a", "min_length": 1}),
)
VALUES = ((), "a", "b", 1, 2.5, True, None, [], ["a"], "/a/b", "/a/../b", "http://e.x/", "http://f.x", b"a", "\uff41")
MORE: dict[str, dict[str, object]] = {"respond": {"value": 1}, "modify": {"set": {"b": 1}}}


def random_rule(random: Random) -> dict[str, object]:
    """A rule of few words, so that many are alike."""
    effect = random.choice(EFFECTS)
    made: dict[str, object] = {"tool": random.choice(("*", "r*", "r_*", "r_?", "r_a", "[rs]_*")), "effect": effect}
    made |= MORE.get(effect, {})
    if random.random() < 0.3:
        made["agent"] = random.choice(("*", "w*", "w", "w*k", "boss"))
    if random.random() < 0.2:
        made["delegation"] = random.choice(("*", "boss/*", "boss/w*", "w"))
    if random.random() < 0.2:
        made["after"] = random.sample(("x", "y"), random.randint(1, 2))
    if random.random() < 0.6:
        made["when"] = {random.choice("pq"): random.choice(PREDICATES) for _ in range(random.randint(1, 2))}
    return made


def test_no_rule_is_said_to_be_idle_that_is_not() -> None:
    """250 policies, and every call of a grid: none is decided by a rule that can never decide. Many are found."""
    chains = (("boss",), ("boss", "w"), ("w",), ("boss", "wk"))
    grid = [
        replace(tool_call(tool, chain[-1], **given), delegation=chain, labels=frozenset(labels), is_known=bool)
        for tool, chain, labels in product(("r_a", "r_bc", "s_a", "q"), chains, ("", "x", "xy"))
        for given in ({} if value == () else {"p": value} for value in VALUES)
    ]
    random, found = Random(1), 0
    for _ in range(250):
        made = Policy.from_mapping({"default": "deny", "rule": [random_rule(random) for _ in range(6)]})
        idle = {f"rule {rule.number}" for rule, _ in covered(made.contents.rules)}
        idle |= {
            f"rule {rule.number}"
            for rule in made.contents.rules
            if any("cannot tell" not in why for why in impossible(rule))
        }
        decided = {made.before_tool_call(one).rule for one in grid}
        assert not idle & decided, [rule.raw for rule in made.contents.rules]
        found += len(idle)
    assert found > 250


LINES = [
    ("p.toml", '\n\ndefault = "maybe"\n', 3),
    ("p.yaml", "\n\ndefault: maybe\n", 3),
    ("p.json", '{\n\n"default": "maybe"}', 3),
    ("p.toml", 'default = "deny"\n\nmoed = "shadow"\n', 3),
    ("p.yaml", "default: deny\n\nmoed: shadow\n", 3),
    ("p.json", '{"default": "deny",\n\n"moed": "shadow"}', 3),
    ("p.toml", 'default = "deny"\n\nmode = "dry-run"\n', 3),
    ("p.toml", 'default = "deny"\ntools = "a"\n', 2),
    ("p.toml", 'default = "deny"\n\n[prices]\na = -1\n', 4),
    ("p.toml", 'default = "deny"\nprices = 3\n', 2),
    ("p.toml", 'default = "deny"\nprices.a = "x"\n', 2),
    ("p.yaml", "default: deny\nprices:\n a: 1\n b: x\n", 4),
    ("p.json", '{"default": "deny", "prices": {\n"a": 1,\n"b": "x"}}', 3),
    ("p.json", '{\n"default": "deny",\n"default": "allow"}', 3),
    ("p.json", '{"default": "deny", "rule": [{"tool": "a",\n"tool": "b"}]}', 2),
    ("p.json", '{"default": "deny",\n"prices":\n{"a": NaN}}', 3),
    ("p.json", '{"default": "deny",\n"prices": {"a": 1e999}}', 2),
    ("p.toml", 'default = "deny"\n[prices]\na = inf\n', 3),
    ("p.yaml", "default: deny\nprices: {a: 1e999}\n", 2),
    ("p.yaml", "default: deny\n\n\0\n", 3),
    ("p.toml", 'default = "deny"\n\n[rule]\ntool = "a"\neffect = "deny"\n', 3),
    ("p.toml", 'default = "deny"\nrule = [\n{tool = "a", effect = "deny"},\n{tool = "b", effect = "x"},\n]\n', 4),
    ("p.toml", 'default = "deny"\n[["rule"]]\ntool = "b"\neffect = "x"\n', 2),
    ("p.toml", 'default = "deny"\n[[ rule ]] # one\ntool = "b" # [[rule]]\neffect = "x"\n', 2),
    ("p.json", '{"default": "deny", "rule": [{"tool": "a", "effect": "deny"},\n{"tool": "a", "effect": "x"}]}', 2),
    ("p.toml", 'default = "deny"\nrule = [' + "[" * 40 + "]" * 40 + "]\n", 2),
    ("p.toml", 'default = "deny"\n[a' + ".a" * 40 + "]\n", 2),
    ("p.json", '{"default": "deny",\n"rule": ' + "[" * 40 + "]" * 40 + "}", 2),
    ("p.yaml", "default: deny\nrule: " + "[" * 40 + "]" * 40 + "\n", 2),
]


@pytest.mark.parametrize(("name", "text", "line"), LINES)
def test_an_error_has_its_line(tmp_path: Path, name: str, text: str, line: int) -> None:
    """In every language, also outside of rules, and each error once."""
    (found,) = said(tmp_path, text, name)
    assert re.search(rf"line {line}\b", found), found


@pytest.mark.parametrize("quotes", ['"""', "'''"])
def test_a_line_of_a_text_is_no_rule(tmp_path: Path, quotes: str) -> None:
    """A reason over several lines that shows how rules begin moves no line number behind it."""
    reason = f"reason={quotes}\n[[rule]]\n# say \\\\\n= [{{{quotes}\n"
    text = f'default="deny"\n[[rule]]\ntool="a"\neffect="deny"\n{reason}[[rule]]\ntool="b"\neffect="x"\n'
    (found,) = said(tmp_path, text)
    assert found.startswith(", line 9: rule 2")


def test_every_error_is_told(tmp_path: Path) -> None:
    """A wrong key at the top hides no error of a rule, nor one error of a rule the next."""
    text = 'default="deny"\nmoed=1\n[[rule]]\ntool="a"\neffect="x"\nreason=3\nwhen.x={foo=1,min="a"}\nid=""\n'
    found = said(tmp_path, text)
    for part in ("'moed'", "effect is one of", "reason must be", "id must be", "predicate 'foo'", "need a number"):
        assert sum(part in one for one in found) == 1, part
    assert len(found) == 6


@pytest.mark.parametrize("table", ["rule", "label", "budget"])
def test_a_key_of_the_top_below_a_table_is_explained(tmp_path: Path, table: str) -> None:
    """TOML takes what is written below a table's header for the table's own, and is told so."""
    rest = {"rule": 'tool="a"\neffect="deny"', "label": 'tool="a"\nadd=["x"]', "budget": "calls=1"}
    for key, value in (("default", '"deny"'), ("mode", '"shadow"'), ("tools", '["a"]')):
        head = "" if key == "default" else 'default="deny"\n'
        (found,) = said(tmp_path, f"{head}[[{table}]]\n{rest[table]}\n{key}={value}\n")
        assert f"{key} stands inside {table} 1: put it above the first [[{table}]]" in found


HEAD = 'default = "deny"\ntools = ["pay", "fetch"]\n[[rule]]\ntool = "pay"\neffect = "allow"\n'
ODD = {
    "dashes": (
        '[[budget]]\ntool = "pay-now"\ncalls = 3\n',
        "budget 1 is about 'pay-now', which no tool can be called: names are ASCII identifiers; an MCP server's 'pay-now'"
        " is served as 'pay_now'",
    ),
    "free": ("[[budget]]\ncost = 3\n", "budget 1 limits cost, and nothing has a price here"),
    "label": ('[[label]]\ntool = "fecth"\nadd = ["untrusted"]\n', "label 1 is about 'fecth', which is none of"),
    "budget": ('[[budget]]\ntool = "pya"\ncalls = 3\n', "budget 1 is about 'pya', which is none of"),
    "price": ("[prices]\npya = 3\n", "a price is about 'pya', which is none of"),
    "range": ("when.amount = { min = 100, max = 10 }\n", "rule 1 fits no amount: min is more than max"),
    "of a rule that doubt makes fit": (
        '[[rule]]\ntool = "pay"\neffect = "deny"\nwhen.amount = { min = 100, max = 10 }\n',
        "rule 2 fits no amount but one of which it cannot tell: min is more than max",
    ),
    "length": ("when.x = { min_length = 9, max_length = 1 }\n", "rule 1 fits no x: min_length is more than max_length"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path, name: str) -> None:
    """Labels, budgets and prices of tools that there are not, bounds that no value is within."""
    text, message = ODD[name]
    found = said(tmp_path, HEAD + text)
    assert [message in one for one in found if "pay-now" not in text or "none of `tools`" not in one] == [True]


@pytest.mark.parametrize(
    ("name", "served"),
    [
        *(("delete-file", "delete_file"), ("fs.delete", "fsdelete"), ("rm ", "rm"), ("rm\n", "rm"), ("2x", "_2x")),
        *(
            ("del", "del_"),
            ("fs-*", "fs_*"),
            ("r\u00e9", ""),
            ("__call__", ""),
            ("rm", None),
            ("r*", None),
            ("*-[ab]", None),
        ),
    ],
)
def test_a_name_that_no_tool_can_have_is_named(tmp_path: Path, name: str, served: str | None) -> None:
    """With what smolagents makes of it where it is an MCP server's. Globs and identifiers are fine."""
    found = said(tmp_path, json.dumps({"default": "allow", "rule": [{"tool": name, "effect": "deny"}]}), "p.json")
    assert [(f"is about {name!r}" in one, f"served as {served!r}" in one) for one in found] == (
        [] if served is None else [(True, bool(served))]
    )


def test_a_glob_among_the_tools_is_an_error(tmp_path: Path) -> None:
    """It would let nothing in: what is listed is compared as it is."""
    assert said(tmp_path, 'default = "deny"\ntools = ["read_a"]\n') == []
    (found,) = said(tmp_path, 'default = "deny"\n\ntools = ["a", "read_*"]\n')
    assert found == ", line 3: tools has names only, no globs such as 'read_*': write each name out"


def test_what_is_meant_is_no_warning(tmp_path: Path) -> None:
    """The control: names and globs that fit one of `tools`, final_answer, a model's tokens."""
    more = '[[label]]\ntool="f*"\nadd=["x"]\n[[budget]]\ntool="final_answer"\ncalls=3\n[[budget]]\ntokens=3\n'
    assert said(tmp_path, HEAD + more + '[prices]\npay=3\n"model:input"=1\n') == []


def test_what_is_said_fits_every_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters and lone surrogates of a file are shown, not obeyed, and break nothing."""
    path = tmp_path / "p.json"
    path.write_text('{"default": "deny", "\\ud800\\u001b[31m": 1, "rule": [{"tool": "a", "effect": "ask\\u001b"}]}')
    assert main(["policy", "check", str(path)]) == 1
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert len([line for line in told.splitlines() if line.startswith("error: ")]) == 2
    told.encode()


def test_a_key_of_many_parts_is_refused_in_time(tmp_path: Path) -> None:
    """The reader of TOML would take minutes for it."""
    for text in ("a" + ".a" * 20_000 + "=1\n", "x = {a" + ".a" * 20_000 + "=1}\n", "[a" + ".a" * 20_000 + "]\n"):
        started = time.monotonic()
        assert "nested deeper" in said(tmp_path, text)[0]
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("part", ['a\\"', '"""\n', "'''", '"a\n', "[", "=", "[[rule]]\n", '\\"""'])
def test_what_is_no_toml_is_refused_in_time(tmp_path: Path, part: str) -> None:
    """Whatever is begun and not ended, the time grows with the text, not with its square."""
    started = time.monotonic()
    assert said(tmp_path, 'x = """' + part * (200_000 // len(part)))
    assert said(tmp_path, part * (200_000 // len(part)))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("tool", ["t{}", "t"])
def test_a_large_file_is_checked_in_time(tmp_path: Path, tool: str) -> None:
    """4,000 rules, about as many tools or about one, take seconds."""
    rules = [f'[[rule]]\ntool="{tool.format(n)}"\neffect="allow"\nwhen.x.equals={n}\n' for n in range(4000)]
    started = time.monotonic()
    assert said(tmp_path, 'default="deny"\n' + "".join(rules)) == []
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("tool", ["t{}_*", "*_{}", "t*_{}", "t"])
def test_the_time_grows_with_the_rules(tmp_path: Path, tool: str) -> None:
    """12,000 globs take seconds, also where each must be held against each: then it is said that not all were."""
    rules = [f'[[rule]]\ntool="{tool.format(n)}"\neffect="allow"\nafter=["{n}"]\n' for n in range(12_000)]
    started = time.monotonic()
    found = said(tmp_path, 'default="deny"\n' + "".join(rules))
    assert time.monotonic() - started < 40
    assert ["too many rules" in one for one in found] == ([] if tool == "t{}_*" else [True])


def test_globs_are_compared_with_many_tools_in_time(tmp_path: Path) -> None:
    """Where each would be held against each of 20,000 names, it is said that not all were."""
    rules = "".join(f'[[rule]]\ntool="*_{n}"\neffect="allow"\n' for n in range(12_000))
    started = time.monotonic()
    found = said(tmp_path, f'default="deny"\ntools={json.dumps([f"a_{n}" for n in range(20_000)])}\n{rules}')
    assert time.monotonic() - started < 60
    assert sum("too many tools" in one for one in found) == 1


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """Nobody writes to a FIFO under a policy's name, and nobody waits for it; a link to a file is read."""
    os.mkfifo(tmp_path / "fifo.toml")
    with pytest.raises(ConfigError, match="not a regular file"):
        load(tmp_path / "fifo.toml")
    (tmp_path / "p.toml").write_text('default = "deny"\n')
    (tmp_path / "link.toml").symlink_to("p.toml")
    assert load(tmp_path / "link.toml")

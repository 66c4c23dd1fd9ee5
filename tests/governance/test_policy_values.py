"""What rules say about values: URLs, paths, numbers, Unicode; doubt is on nobody's side."""

from __future__ import annotations

import time
import unicodedata
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath

import numpy
import pytest
from tests.governance.governed import tool_call

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.policy import Policy

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
        "https://evil.org[::1]/",
        "https://[::1]evil.org/",
        "https://[::1]]/",
    ],
)
def test_a_doubtful_url_is_on_nobodys_side(url: str) -> None:
    """What readers disagree about is not allowed by an allow rule, and is caught by a deny rule for anything."""
    assert not fits({"url": {"host": ["api.good.org", "::1"]}}, url)
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
        (7, False, True),
        (None, False, False),
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


@pytest.mark.parametrize(
    ("predicates", "value"),
    [
        ({"below": "/etc"}, b"/etc/passwd"),
        ({"below": "/etc"}, ["/etc/passwd"]),
        ({"contains": "rm"}, b"rm -rf"),
        ({"equals": "rm"}, b"rm"),
        ({"equals": False}, 0),
        ({"in": ["rm", None]}, b"rm"),
        ({"min": 1000}, Decimal(5000)),
        ({"min": 1000}, Fraction(5000)),
        ({"min": 1000}, numpy.int64(5000)),
        ({"min": 1000}, numpy.float32(5000)),
        ({"min": 1000}, "5000"),
        ({"min": 1000}, True),
        ({"min": 1000}, float("nan")),
        ({"min": 1000}, Decimal("sNaN")),
        ({"max_length": 3}, 5),
        ({"url": {"host": "evil.org"}}, b"https://evil.org/"),
        ({"regex": ".*rm.*"}, {"rm"}),
    ],
)
def test_another_type_is_no_way_round_a_rule(predicates: dict[str, object], value: object) -> None:
    """A value of a type that cannot be told passes no "allow but not ..." and is caught by each "deny ..."."""
    assert not fits({"not": predicates}, value)
    assert fits(predicates, value, "deny")


@pytest.mark.parametrize(
    ("predicates", "value"),
    [
        ({"equals": "rm"}, "ls"),
        ({"equals": None}, "ls"),
        ({"in": ["rm", 1, None]}, 2),
        ({"in": []}, "ls"),
        ({"min": 1000}, Decimal("999.99")),
        ({"min": 1000}, numpy.int64(5)),
        ({"max": 0.1}, Decimal("0.11")),
        ({"max_length": 1}, [1, 2]),
    ],
)
def test_what_a_rule_is_not_about_it_lets_alone(predicates: dict[str, object], value: object) -> None:
    """The control: where it can be told, a deny rule that does not fit does not catch, nor one without its argument."""
    assert not fits(predicates, value, "deny")
    assert fits({"not": predicates}, value)
    rule = {"tool": "t", "effect": "deny", "when": {"x": predicates}}
    policy = Policy.from_mapping({"default": "allow", "rule": [rule]})
    assert policy.before_tool_call(tool_call("t", y=value)).verdict == "allow"


UNSURE: list[dict[str, object]] = [
    {"min": 1000}, {"contains": "rm"}, {"url": {"host": "evil.org"}}, {"min_length": 0}, {"below": "/tmp"},
]  # fmt: skip
SURE: list[dict[str, object]] = [{"equals": "rm"}, {"in": ["rm", "dd"]}, {"in": []}, {"equals": "rm", "below": "/"}]


@pytest.mark.parametrize("predicates", UNSURE + SURE)
def test_null_is_as_good_as_not_given(predicates: dict[str, object]) -> None:
    """Where no predicate says null, no allow rule fits it, at any depth; nor does any other that cannot tell of it."""
    for one in (predicates, {"not": predicates}, {"not": {"not": predicates}}):
        assert not fits(one, None, "allow")
        assert not fits(one, None, "deny") or predicates in SURE


@pytest.mark.parametrize("predicates", SURE)
def test_null_is_for_sure_none_of_these(predicates: dict[str, object]) -> None:
    """A rule that denies all but a list denies null: it is none of the list."""
    assert fits({"not": predicates}, None, "deny")
    assert not fits(predicates, None, "deny")


def test_null_is_no_way_round_a_rule_on_what_was_left_out() -> None:
    """A second rule with `present = false` is for null as well; where `present` is said, doubt about null counts."""
    assert fits({"present": False}, None, "deny")
    assert fits({"present": True, "not": {"below": "/tmp"}}, None, "deny")
    for predicates in ({"present": False}, {"present": True, "not": {"below": "/tmp"}}):
        assert not fits(predicates, None, "allow")
        assert not fits(predicates, "/tmp/x", "deny")


@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_a_rule_that_says_null_is_about_null(effect: str) -> None:
    """The positive control: `equals`, `in` and `present` can tell null from anything else."""
    for predicates in ({"equals": None}, {"in": ["rm", None]}, {"present": True}, {"not": {"not": {"equals": None}}}):
        assert fits(predicates, None, effect)
        assert not fits({"not": predicates}, None, effect)
    for predicates in ({"equals": None}, {"in": ["rm", None]}):
        assert fits({"not": predicates}, "ls", effect)
        assert not fits(predicates, "ls", effect)


@pytest.mark.parametrize("value", [Decimal("0.1"), 0.1, numpy.float64(0.1)])
def test_numbers_compare_whatever_their_type(value: object) -> None:
    """A decimal number is compared with what the file says, not with the binary form of it."""
    assert fits({"equals": 0.1, "min": 0.1, "max": 0.1}, value)


@pytest.mark.parametrize(
    ("wanted", "value"), [([1], [True]), ({"a": 1}, {"a": True}), ({"dry_run": True}, {"dry_run": 1}), ([1], (1,))]
)
def test_equality_minds_types_at_every_depth(wanted: object, value: object) -> None:
    """`1` is not true within a list or a table either, and whole numbers are fractions there, too."""
    assert not fits({"equals": wanted}, value)
    assert not fits({"in": [wanted]}, value)
    assert fits({"equals": [{"a": [1]}]}, [{"a": [1.0]}])
    assert not fits({"equals": [1, {"a": 1}]}, [1, {"a": 2}], "deny")


@pytest.mark.parametrize("name", ["equals", "contains", "regex", "in", "below"])
@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_the_rules_own_text_has_its_spellings(name: str, effect: str) -> None:
    """A rule whose text an editor has saved decomposed is about the composed spelling of the same text as well."""
    text = unicodedata.normalize("NFC", "/café")
    wanted = unicodedata.normalize("NFD", text)
    assert fits({name: [wanted] if name == "in" else wanted}, text, effect)
    assert not fits({name: [wanted] if name == "in" else wanted}, "/cafe", effect)


def test_a_pattern_is_not_made_another_by_its_spelling() -> None:
    """Wide brackets in a pattern are text, not syntax: no compatibility form of a pattern is tried."""
    assert not fits({"regex": "（.*）"}, "anything")
    assert fits({"regex": "a|b"}, "a")


@pytest.mark.parametrize(
    "host",
    [
        *("[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[2001::5601:5601]"),
        *("[::ffff:0:a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]", "[fe80::5efe:a9fe:a9fe]", "[::ffff:169.254.169.254]"),
    ],
)
def test_an_address_within_an_address_cannot_be_told(host: str) -> None:
    """IPv6 that stands for an IPv4 address reaches the same machine: a rule about that one fits."""
    assert fits({"url": {"host": "169.254.169.254"}}, f"http://{host}/latest", "deny")
    assert not fits({"url": {"host": "169.254.169.254"}}, "http://[2606:4700::1111]/", "deny")
    assert fits({"url": {"host": ["::1", "2606:4700::1111"]}}, "http://[::1]/")


@pytest.mark.parametrize(
    "host",
    [
        *("evil.org:8080", "evil.org.", "*.evil.org.", "0:0:0:0:0:0:0:1", "::ffff:1.2.3.4", "127.1", "evil..org"),
        *("-", "EVIL.org", "*", "", None, [], [None]),
    ],
)
def test_a_host_that_no_url_can_have_is_refused(host: object) -> None:
    """A dead or empty pattern is an error, not a rule that never fits, or fits any host."""
    with pytest.raises(ConfigError, match="host"):
        fits({"url": {"scheme": "https", "host": host}}, "https://evil.org/")
    assert fits(
        {"url": {"scheme": "https", "host": ["evil.org", "*.evil.org", "10.0.0.1", "::1"]}}, "https://evil.org/"
    )


@pytest.mark.parametrize("url", ["ssh://a.org/x", "redis://a.org/", "postgres://a.org/db"])
def test_a_port_that_is_left_out_is_known_of_some_schemes_only(url: str) -> None:
    """Every client of ssh:// goes to port 22; which one another scheme has is not known here."""
    assert fits({"url": {"port": [22, 6379, 5432]}}, url, "deny")
    assert not fits({"not": {"url": {"port": [22, 6379, 5432]}}}, url)
    assert not fits({"url": {"port": [22]}}, url.replace("a.org", "a.org:23"), "deny")
    assert not fits({"url": {"port": [22], "host": "b.org"}}, url, "deny")
    assert not fits({"url": {"port": [22]}}, "https://a.org/", "deny")


@pytest.mark.parametrize("path", ["/pub/..;/admin", "/admin;x", "/;/admin", "/%61dmin"])
def test_a_path_that_servers_read_in_two_ways_cannot_be_told(path: str) -> None:
    """Some strip what stands behind a semicolon, and decode, before they look where a path leads."""
    assert fits({"url": {"path_below": "/admin"}}, "https://a.org" + path, "deny")
    assert not fits({"url": {"path_below": "/pub"}}, "https://a.org" + path)
    assert not fits({"url": {"path_below": "/admin"}}, "https://a.org/pub/x?a;b", "deny")
    assert fits({"url": {"path_below": "/pub"}}, "https://a.org/pub/x?a;b")


@pytest.mark.parametrize("part", [{"scheme": None}, {"scheme": "HTTPS"}, {"port": None}, {"port": []}, {"port": [-1]}])
def test_a_part_of_a_url_without_a_value_is_refused(part: dict[str, object]) -> None:
    """A key that is there says something."""
    with pytest.raises(ConfigError, match=next(iter(part))):
        fits({"url": {"host": "a.org", **part}}, "https://a.org/")


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

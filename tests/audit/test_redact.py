"""Secrets do not reach the file, and cannot be guessed from what does."""

from __future__ import annotations

import json
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from smolagents_hardened.audit.plain import Snippet
from smolagents_hardened.audit.record import digest, digest_value
from smolagents_hardened.audit.redact import Curtain, Redactor, is_secret_name
from smolagents_hardened.audit.schema import DIGESTS, KINDS
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import ConfigError


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "DB_PASSWORD",
        "apiKey",
        "api_key",
        "API-KEY",
        "x-api-key",
        "accessToken",
        "Authorization",
        "APIKey",
        "client_secret",
        "private_key",
        "auth_token",
        "set-cookie",
        "dbpassword",
        "openai_apikey",
        "credentials",
        "passWord",
        "passPhrase",
        "api_keys",
        "access_tokens",
    ],
)
def test_names_that_say_secret(name: str) -> None:
    """The usual spellings of a secret's name are known."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["city", "max_tokens", "key", "keyboard", "author", "secretary", "monkey_api", ""])
def test_names_that_do_not_say_secret(name: str) -> None:
    """Ordinary names, some of them close, are shown."""
    assert not is_secret_name(name)


def test_a_secret_does_not_reach_the_file(tmp_path: Path) -> None:
    """A value under a secret's name is not in the file at any depth; its neighbour is."""
    with Trail(tmp_path / "t") as trail:
        trail.append("x", arguments={"a": [{"api_key": "hunter2", "city": "Paris"}], "password": ("hunter2",)})
    text = (tmp_path / "t").read_text()
    assert "hunter2" not in text
    assert "Paris" in text


def test_the_digest_of_redacted_arguments_is_keyed() -> None:
    """With a secret inside, the digest that is written is not the one that anyone could compute from a guess."""
    arguments = {"password": "hunter2"}
    guessed = digest("login", arguments)
    record = Trail().append("x", arguments=arguments, digest=guessed, result=arguments, result_digest=guessed)
    assert guessed not in str(record)
    assert record["keyed"] is True


def test_a_digest_is_keyed_by_what_it_is_of() -> None:
    """A secret beside the arguments does not key their digest: it is the same in every record of one call."""
    open_to_all = {"city": "Paris"}
    record = Trail().append("x", arguments=open_to_all, digest="d", requested={"password": "hunter2"}, result="Paris")
    assert (record["digest"], "keyed" in record) == ("d", False)
    for name, of in (("digest", "arguments"), ("digest", "text"), ("result_digest", "result")):
        made = Trail().append("x", **{name: "d", of: {"password": "hunter2"}})
        assert (made[name] != "d", made["keyed"]) == (True, True)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"policy_load"}))
def test_what_a_digest_is_of_stands_in_the_same_record(kind: str) -> None:
    """The table names the field beside each digest; that of a policy is of a file of the host, and never keyed."""
    fields = KINDS[kind][1].keys()
    for name in fields & {"digest", "result_digest"}:
        assert DIGESTS[name] & fields
    assert not {name for name in fields if "digest" in name} - DIGESTS.keys()


def test_the_digest_of_open_arguments_is_plain() -> None:
    """Without a secret the digest is the one that anyone can compute again."""
    known = digest("weather", {"city": "Paris"})
    assert Trail().append("intent", arguments={"city": "Paris"}, digest=known)["digest"] == known


def test_equal_secrets_show_as_equal() -> None:
    """One trail masks the same secret alike and another secret differently; another trail's mask differs."""
    redactor = Redactor()
    assert redactor.mask("a") == redactor.mask("a") != redactor.mask("b")
    assert redactor.mask("a") != Redactor().mask("a")


def test_a_rule_of_the_user_hides() -> None:
    """A rule sees name and value and decides."""
    trail = Trail(redact=Redactor([lambda name, value: value == "4111"]))
    shown = str(trail.append("x", a={"number": "4111", "other": "4112"}))
    assert "4111" not in shown
    assert "4112" in shown


def test_a_rule_that_fails_hides() -> None:
    """Doubt about a secret hides it."""

    def broken(name: str, value: object) -> bool:
        raise RuntimeError

    assert Redactor([broken]).is_secret("city", "Paris")


def test_rules_by_name_can_be_switched_off() -> None:
    """Without name rules a password is shown: the positive control."""
    assert "hunter2" in str(Trail(redact=Redactor(by_name=False)).append("x", a={"password": "hunter2"}))


SECRET = "sk-abcdef1234567890"


@pytest.mark.parametrize(
    "value",
    [
        {SECRET: 1},
        {(SECRET,): 1},
        np.array([SECRET])[0],
        pd.DataFrame({SECRET: [1]}),
        b"key " + SECRET.encode(),
        Path(SECRET),
    ],
    ids=["key", "tuple key", "numpy text", "column", "bytes", "repr"],
)
def test_patterns_hide_wherever_a_text_stands(value: object) -> None:
    """Keys, columns, scalars, bytes and what an object says of itself go through the same exit as any text."""
    shown, hidden = Trail(), Trail(redact=Redactor(patterns=["sk-[a-z0-9]{16}"]))
    assert any(form in json.dumps(shown.append("x", result=value)) for form in (SECRET, SECRET.encode().hex()[:40]))
    record = json.dumps(hidden.append("x", result=value, result_digest=digest_value(value)))
    assert not any(form in record for form in (SECRET, SECRET.encode().hex()[:40], digest_value(value)))


def test_patterns_leave_the_records_own_names_alone() -> None:
    """A pattern for keys of 32 hex digits does not make a call's id unfindable; the same text of others is hidden."""
    trail = Trail(redact=Redactor(patterns=["[0-9a-f]{32}"]))
    call = "ab" * 16
    decisions = [{"hook": "p", "version": "cd" * 32, "reason": call}]
    record = trail.append("x", call=call, tool=call, decisions=decisions, reason=call)
    assert (record["call"], record["decisions"][0]["version"]) == (call, "cd" * 32)  # type: ignore[index]
    assert [record["decisions"][0]["reason"], record["reason"]] != [call, call]  # type: ignore[index]


def test_fields_of_a_named_tuple_have_names() -> None:
    """A secret's name counts there, too."""
    pair = namedtuple("pair", "user password")
    record = json.dumps(Trail().append("x", a=pair(user="bob", password="hunter2")))
    assert ("bob" in record, "hunter2" in record) == (True, False)


def test_a_secret_column_keys_the_digest_of_its_table() -> None:
    """A table of passwords cannot be guessed back from its digest; one without is as it was."""
    for column, is_shown in (("city", True), ("password", False)):
        table = pd.DataFrame({column: [1]})
        assert (digest_value(table) in json.dumps(Trail().append("x", a=table))) is is_shown


def test_what_is_left_out_keys_the_digest() -> None:
    """A secret may stand in what the record has no room for; a long text is digested openly anyway."""
    small, large = {"a": 1}, {f"k{number}": number for number in range(3_000)}
    for value, is_keyed in ((small, False), (large, True), ("x" * 100_000, False)):
        record = Trail().append("x", arguments=value, digest="d")
        assert ("keyed" in record, record["digest"] != "d") == (is_keyed, is_keyed)


def test_a_secret_is_hidden_in_the_whole_record() -> None:
    """What stands under a secret's name is not shown by the texts beside it, whatever their order."""
    arguments = {"note": "it is hunter2", "login": {"password": "hunter2", "said": ["hunter2!"]}}
    record = Trail().append("x", arguments=arguments, reason="wrong: hunter2", other="hunter3")
    assert "hunter2" not in json.dumps(record)
    assert record["other"] == "hunter3"


@pytest.mark.parametrize(
    "code",
    [
        "login('bob', password='hunter2')",
        "login('bob', password='hun' 'ter2', x=1)",
        "password: str = 'hunter2'",
        "user.password = b'hunter2'",
        "d['api_key'] = 'hunter2'",
        "d = {'api_key': f'hunter2{1}'}",
        "f(token := 'hunter2')",
        "if token := 'hunter2': pass",
        "f(lambda: (token := 'hunter2'))",
        "def f(a, *, password='hunter2'): pass",
        "x = f\"{login(password='hunter2')}\"",
        "login(password='hunter2'",
        'login(password=f"""hunter2""", (',
        'password: str = "hunter2" (',
        "user, password = 'bob', 'hunter2'",
        "os.environ['API_KEY'] = 'hunter2'",
        "headers = {'Authorization': 'Bearer ' + 'hunter2'}",
        "password = getenv('PW', 'hunter2')",
        "password = 'it\\'s hunter2'",
        "password += ('hunter2')",
        "password = x or ['hunter2']",
        "(user, password) = ('bob', 'hunter2')",
        "x = f\"don't {login(password='hunter2')}\"",
        "password: Literal['a'] = 'hunter2'",
    ],
)
@pytest.mark.parametrize("before", ["# Zürich", "# Zürich\nprint 'old'", "#" + "x" * 9_000], ids=["", "2", "long"])
def test_literals_with_a_secrets_name_are_not_in_the_code(code: str, before: str) -> None:
    """By keyword, key, assignment or default, also in code that does not parse."""
    record = Trail().append("code", text=Snippet(f"{before}\n{code}\nprint('rest')"), digest="d")
    assert "hunter2" not in json.dumps(record)
    shown = Curtain(Redactor()).code(f"{before}\n{code}\nprint('rest')")
    assert (shown.startswith(before), shown[-13:], "hunter2" in shown) == (True, "print('rest')", False)
    assert (record["keyed"], record["digest"] != "d") == (True, True)


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("token = login(url, timeout=100)", "timeout=100"),
        ("f(password='hunter2', city='Rome')", "city='Rome'"),
        ("{'token': 'hunter2', 'city': 'Rome'}", "'city': 'Rome'"),
        ("if token: city = 'Rome'", "city = 'Rome'"),
        ("f(lambda token: token + 'Rome')", "'Rome'"),
        ("api_key = os.environ['OPENAI_API_KEY'][100:]", "os.environ['OPENAI_API_KEY'][100:]"),
        ("print(f\"token: {getenv('Rome')}, {token:10}\")", "{getenv('Rome')}, {token:10}"),
        ("password = ''", "password = ''"),
        ("token = 0x" + "f" * 4_000 + "\nlook('Rome')", "look('Rome')"),
    ],
)
def test_the_rest_of_the_code_is_recorded(code: str, kept: str) -> None:
    """What is bound to another name, and what no reader of numbers takes, leaves the rest of a snippet readable."""
    assert kept in Curtain(Redactor()).code(code)


def test_words_are_hidden_where_there_are_no_variables() -> None:
    """In Python a word is a variable and shown; in another language, and in what an object says of itself, a value."""
    curtain = Curtain(Redactor())
    assert curtain.code("password = hunter2") == "password = hunter2"
    assert "hunter2" not in curtain.code("export PASSWORD=hunter2") + curtain.code("<X pwd=hunter2>", is_told=True)


LOGIN = {"login": ("user", "password", "note"), "look": ("city",)}


@pytest.mark.parametrize(
    "code",
    [
        "login('bob', 'hunter2')",
        "login('bob', 'hunter2', 'Rome')",
        "x = [login(name(1, 2), b'hunter2')]",
        "login('bob', x or f'{y}hunter2')",
        "login('bob', ('hunter2'), note='Rome')",
        "login(\n  'bob',\n  'hunter2'\n)",
        "login(*['Oslo', 'hunter2'])",
        "login(*bob, 'hunter2')",
        "login('bob', x := 'hunter2')",
        "f'{login(1, \\'hunter2\\')}'",
        "f\"{login('bob', 'hunter2')}\"",
        "login ('bob', 'hunter2'",
        "login(*bob, **{'x': 'hunter2'})",
        "login('bob', lambda: 'hunter2')",
        "login('bob', {'Oslo': 'hunter2'})",
    ],
)
def test_a_literal_in_a_secrets_place_is_not_in_the_code(code: str) -> None:
    """Where a tool is called by its name, what its inputs are called tells which position is a secret's."""
    text = f"look('Rome', 2)\n{code}\nlook('rest')"
    record = Trail().append("code", text=Snippet(text, LOGIN), digest="d")
    assert "hunter2" in Curtain(Redactor()).code(text)
    assert "hunter2" not in json.dumps(record)
    assert record["digest"] != "d"
    assert str(record["text"]).startswith("look('Rome', 2)\n")
    assert str(record["text"]).endswith("\nlook('rest')")


@pytest.mark.parametrize(
    "code",
    [
        "login('bob', password)",
        "login(user='bob', note='Rome')",
        "login('bob', vault(1), 'Rome')",
        "login(('bob', 'hunter2')[0])",
        "login",
        "mylogin('bob', 'hunter2')",
        "'login', ('bob', 'hunter2')",
        "login(user('bob', 'hunter2'), x)",
    ],
)
def test_what_stands_in_other_places_is_recorded(code: str) -> None:
    """Other positions, keywords and other functions are shown: the positive control."""
    record = Trail().append("code", text=Snippet(code, LOGIN), digest="d")
    assert (record["text"], record["digest"]) == (code, "d")


@pytest.mark.parametrize("code", ["login('bob', keyword='hunter2')", "passing = 1", "x = {'key': 'v'}", "login('x'"])
def test_other_code_is_recorded_as_it_is(code: str) -> None:
    """The positive control: names that only look alike change nothing."""
    record = Trail().append("code", text=Snippet(code), digest="d")
    assert (record["text"], record["digest"], "keyed" in record) == (code, "d", False)


@pytest.mark.parametrize(
    "code",
    [
        "password " * 50_000,
        "pass=" * 100_000,
        'token="""' * 50_000,
        "(" * 100_000 + "pass",
        "pwd=" * 20_000 + "[" + "1," * 80_000 + "]",
        "f(pwd=" * 20_000 + "1" + "," * 100_000,
        "pwd:" * 60_000,
        "f'pwd=" * 40_000,
        'f"""' + "{pwd={" * 20_000,
        'f"""{{' + "{}" * 60_000,
    ],
)
def test_hostile_code_does_not_cost_more_than_its_length(code: str) -> None:
    """What a model writes cannot make the record slow."""
    started = time.process_time()
    Curtain(Redactor()).code(code)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("value", ["true", "yes", 1, None])
def test_by_name_is_a_truth_value(value: object) -> None:
    """A typo does not switch the rules off."""
    with pytest.raises(ConfigError, match="by_name"):
        Redactor.from_mapping({"by_name": value})
    assert not Redactor.from_mapping({"by_name": False}).is_secret("password", "x")


@pytest.mark.parametrize(
    "arguments",
    [
        {f"password{number}": f"secret number {number}" for number in range(1_900)},
        {"password": "x" * 10**7, "note": "x" * 10**7},
        {"secrets": ["a" * k + "b" for k in range(3, 250)] + ["zzz"], "text": "a" * 300_000},
        {"password": ["red", "eda", "dac", "act", "cte", "ted", "[re", "ed "], "note": "red" * 20_000},
    ],
    ids=["many", "long", "alike", "in each other"],
)
def test_hostile_secrets_do_not_cost_more_than_their_length(arguments: dict[str, object]) -> None:
    """However many, long or alike the secrets of one call are, its record is made at once and stays small."""
    started = time.process_time()
    record = Trail().append("x", arguments=arguments)
    assert time.process_time() - started < 5
    assert len(json.dumps(record)) < 1_000_000


class Session:
    """Says too much of itself."""

    def __repr__(self) -> str:
        return "Session(user='bob', password='hunter2')"


@pytest.mark.parametrize("value", [SimpleNamespace(user="bob", password="hunter2"), Session()])
def test_what_an_object_says_of_itself_is_read_like_code(value: object) -> None:
    """A secret's name counts in the repr of a value that has no form of its own; the rest is shown."""
    record = json.dumps(Trail().append("outcome", result=value))
    assert ("bob" in record, "hunter2" in record) == (True, False)


def test_a_number_is_hidden_like_its_text() -> None:
    """A number that fits a pattern, or is a secret of the call, shows nowhere; the record's own numbers stay."""
    trail = Trail(redact=Redactor(patterns=[r"\b4\d{15}\b"]))
    record = trail.append("outcome", {"pwd": 483920}, result=[483920, 4111111111111111, 7], duration_us=483920)
    shown = json.dumps(record["result"])
    assert [number in shown for number in ("483920", "4111111111111111", "7")] == [False, False, True]
    assert record["duration_us"] == 483920


def test_bytes_are_read_as_utf_8() -> None:
    """A secret beyond ASCII is found in bytes, too; other bytes are shown."""
    for text, is_shown in (("pässword", False), ("pössword", True)):
        record = Trail().append("outcome", {"password": "pässword"}, result=text.encode())
        assert (text.encode().hex() in json.dumps(record)) is is_shown


@pytest.mark.parametrize("secret", ["the", "   "])
def test_a_short_secret_hides_whole_words_only(secret: str) -> None:
    """Parts of other words and indentation stay readable; the word itself is hidden."""
    record = Trail().append("intent", arguments={"token": secret, "text": "another    theatre"}, reason="is the:")
    assert record["arguments"]["text"] == "another    theatre"  # type: ignore[index]
    assert ("the" in str(record["reason"])) is (secret != "the")


def test_nothing_and_truth_values_are_no_secrets() -> None:
    """`use_token=True` and `token=None` show, and the digest stays plain; a rule of the user's own counts for them."""
    arguments = {"use_token": True, "token": None}
    record = Trail().append("intent", arguments=arguments, digest="d")
    assert (record["arguments"], record["digest"]) == (arguments, "d")
    ruled = Trail(redact=Redactor.from_mapping({"names": ["use_*"]})).append("intent", arguments=arguments)
    assert ruled["arguments"]["use_token"] is not True  # type: ignore[index]


@pytest.mark.parametrize("where", ["hiding", "record"])
def test_a_secret_that_is_left_out_is_hidden_elsewhere(where: str) -> None:
    """A secret behind an argument that is too long to be shown is known all the same."""
    arguments = {"rows": list(range(3_000)), "auth": [{"password": "hunter2"}]}
    hiding, fields = (arguments, {}) if where == "hiding" else (None, {"arguments": arguments})
    record = Trail().append("x", hiding, error="no access with hunter2", **fields)
    assert ("hunter2" in json.dumps(record), "no access" in json.dumps(record)) == (False, True)


def test_a_lone_surrogate_takes_no_code_out_of_the_record() -> None:
    """The snippet is searched for secrets, and shown, with what is no Unicode written out."""
    record = Trail(redact=Redactor(patterns=["sk-[0-9]+"])).append("code", text=Snippet("'\ud800 sk-12'; look(1)"))
    assert str(record["text"]).startswith("'\\ud800 [redacted ")
    assert str(record["text"]).endswith("look(1)")
    for secret in ("hunt\ud800er2", "\ud800" * 300):
        shown = json.dumps(Trail().append("x", arguments={"password": secret}, error=f"no: {secret}"))
        assert ("no: [redacted" in shown, "ud800" in shown) == (True, False)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_text_that_goes_on_in_the_next_line_is_hidden_whole(end: str) -> None:
    """However its lines end, as Python reads it."""
    record = json.dumps(Trail().append("code", text=Snippet(f"password = 'hunter\\{end}two'; x = 'seen'")))
    assert ("hunter" in record, "two" in record, "seen" in record) == (False, False, True)

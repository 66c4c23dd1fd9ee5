"""Secrets do not reach the file, and cannot be guessed from what does."""

from __future__ import annotations

from pathlib import Path

import pytest

from smolagents_hardened.audit.record import digest
from smolagents_hardened.audit.redact import Redactor, is_secret_name
from smolagents_hardened.audit.trail import Trail


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
    record = Trail().append("intent", arguments=arguments, digest=guessed, result_digest=guessed)
    assert guessed not in str(record)
    assert record["keyed"] is True


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

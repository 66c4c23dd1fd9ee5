"""Host text on its way into the box."""

from __future__ import annotations

import pytest

from smolagents_hardened.host_text import neutral, presentable, without_host_paths


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("No such file: '/srv/secret/data.db'", "No such file: '<host path>'"),
        ("at /home/x/.ssh/id_rsa: denied", "at <host path> denied"),
        ("<Lock object at 0x7f00aa>", "<Lock object>"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("either/or, 1/2, a / b, n/a", "either/or, 1/2, a / b, n/a"),
        ("operands of /: 'int', <b>x</b>, */*, (a)/(b), '/'", "operands of /: 'int', <b>x</b>, */*, (a)/(b), '/'"),
        ("kept: /tmp/mine.txt", "kept: /tmp/mine.txt"),
        ("kept: '/tmp/mine.txt'", "kept: '/tmp/mine.txt'"),
        ("open file:///srv/secret/a.db, now", "open file:<host path>, now"),
        ("open sqlite:////srv/secret/a.db", "open sqlite:<host path>"),
        ("cannot open:/srv/secret/a.db", "cannot open:<host path>"),
        ("cannot open //srv/secret/a.db", "cannot open <host path>"),
        ("no file '/srv/My Customers/x', \"/it's/mine x\"", "no file '<host path>', \"<host path>\""),
        ("no file 'file:///srv/My Customers/x'", "no file '<host path>'"),
        ("see 'https://example.org/a b' and ssh://host/a", "see 'https://example.org/a b' and ssh://host/a"),
    ],
)
def test_paths_and_addresses_are_replaced(text: str, told: str) -> None:
    """Absolute paths go, but those that the box itself has named; words, URLs and fractions stay."""
    assert without_host_paths(text, known="{'path': '/tmp/mine.txt'}") == told


@pytest.mark.parametrize("text", ["a" * 300, "\N{SNOWMAN}" * 100, "\ud800" * 50])
def test_presentable_is_bounded_and_encodable(text: str) -> None:
    """The result fits and is UTF-8, whatever goes in."""
    assert len(presentable(text, 100).encode()) <= 100


def test_neutral_shows_controls() -> None:
    """Escapes are shown; newline and tab stay."""
    assert neutral("a\x1b[31m\r\n\tb\x9b") == "a\\x1b[31m\\x0d\n\tb\\x9b"

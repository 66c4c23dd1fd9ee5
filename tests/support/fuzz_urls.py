"""The target on URLs: what is read is read as others do."""

from __future__ import annotations

import re

import httpx
import urllib3
from tests.support.fuzz_choices import Choices

from smolagents_hardened.governance.urls import is_host, read_url

_URL_PIECES = (
    "example.com", "127.0.0.1", "0x7f.1", "[::1]", "[::ffff:1.2.3.4]", "[", "]", ".", "..", "-", "xn--", "localhost",
    "EVIL", "@", ":", ":80", ":080", ":0", ":65536", ":443", "/", "//", "\\", "?", "#", "%2e", "%00", "é", "\t", "\n",
    " ", "_", ";", "&", "a", "1", "2130706433", "0", "08", "0x", "fe80::1%25eth0", "::", ",", "+", "。", "①", "ß",
    "\xad", "'", '"', "*",
)  # fmt: skip
_URL_SCHEMES = ("http", "https", "HTTP", "ws", "ftp", "file", "data", "javascript", "")
_URL_HOSTS = ("example.com", "127.0.0.1", "[::1]", "a", "")


def urls(data: bytes) -> None:
    """A URL is not read, or read as three other readers do who take it at all: the same scheme and host; written anew from
    its parts it is read the same.
    """
    choices = Choices(data)
    text = choices.pick(_URL_SCHEMES) + (choices.pick((":", ":///", ":/", "")) if choices.chance(4) else "://")
    pieces = [choices.pick(_URL_PIECES) for _ in range(choices.below(6))]
    place = choices.below(len(pieces) + 1) if choices.below(2) else 0
    text += "".join((*pieces[:place], choices.pick(_URL_HOSTS), choices.pick(("", "/", ":8080/x")), *pieces[place:]))
    text += choices.raw(12).decode("utf-8", "replace") if choices.chance(4) else ""
    url = read_url(text)
    if url is None:
        return
    assert "\\" not in text
    assert "@" not in re.split("[/?#]", text)[2], "a user is no part of what is read"
    for reader in (_urllib3, _httpx, _browser):
        found = reader(text)
        assert found is None or found == (url.scheme, url.host), (text, reader, found, url)
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = "" if url.port is None else f":{url.port}"
    assert read_url(f"{url.scheme}://{host}{port}{url.path}") == url
    assert is_host(url.host, url.host)
    assert not is_host(url.host, f"*.{url.host}")


def _urllib3(text: str) -> tuple[str, str] | None:
    try:
        found = urllib3.util.parse_url(text)
    except urllib3.exceptions.LocationParseError:
        return None
    return (found.scheme or "").lower(), (found.host or "").lower().strip("[]").removesuffix(".")


def _httpx(text: str) -> tuple[str, str] | None:
    try:
        found = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError):
        return None
    return found.scheme, found.raw_host.decode().lower().strip("[]").removesuffix(".")


def _browser(text: str) -> tuple[str, str] | None:
    """As the URL standard takes the usual schemes apart: any number of slashes of both kinds, tabs and line ends left
    out, all up to the last @ for a user; numbers for hosts are not looked at.
    """
    scheme, _, rest = re.sub(r"[\t\r\n]", "", text.strip("".join(map(chr, range(33))))).partition(":")
    if scheme.lower() not in ("http", "https", "ws", "wss", "ftp"):
        return None
    authority = re.split(r"[/\\?#]", rest.lstrip("/\\"), maxsplit=1)[0].rpartition("@")[2]
    host = authority.partition("]")[0].lstrip("[") if authority.startswith("[") else authority.partition(":")[0]
    return scheme.lower(), host.lower().removesuffix(".")

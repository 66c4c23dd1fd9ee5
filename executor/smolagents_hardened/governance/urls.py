"""A URL as a rule may judge it: read strictly, or not at all.

Readers of URLs disagree about odd ones (backslashes, control characters, user info, a percent sign in the host, numbers
for addresses), and every disagreement is a way round a rule. So whatever two readers could take for two hosts is not
read here: the answer is then "cannot tell", which an allow rule takes for no and every other rule for yes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

_PLAIN = re.compile(r"[a-z][a-z0-9+.-]*://[!-~]+", re.IGNORECASE)  # printable ASCII, no space
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_NUMBERS = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*")  # what some resolvers take for an address
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}


@dataclass(frozen=True, slots=True)
class Url:
    """The parts that rules look at: lower case, the host without a trailing dot, the port always there if known."""

    scheme: str
    host: str
    port: int | None
    path: str


def read_url(text: str) -> Url | None:
    """Take an absolute URL apart; None for one that readers could disagree about."""
    if not _PLAIN.fullmatch(text) or "\\" in text:
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if "@" in parts.netloc or "%" in parts.netloc:
        return None
    host = _host(parts.hostname or "", is_bracketed="[" in parts.netloc)
    if host is None:
        return None
    scheme = parts.scheme.lower()
    return Url(scheme, host, port if port is not None else _PORTS.get(scheme), parts.path)


def _host(raw: str, *, is_bracketed: bool) -> str | None:
    host = raw.lower().removesuffix(".")
    if is_bracketed or _NUMBERS.fullmatch(host):
        # Only the one usual spelling of an address: 127.1, 0x7f.1 and 2130706433 are loopback to some readers.
        address = _address(host)
        return str(address) if address is not None and str(address) == host else None
    return host if len(host) <= 253 and _HOST.fullmatch(host) else None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_host(host: str, pattern: str) -> bool:
    """Whether a host is the pattern, or below it where it starts with `*.` (which is not the domain itself)."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern.removesuffix(".").lower()

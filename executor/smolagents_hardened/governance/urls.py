"""A URL as a rule may judge it: read strictly, or not at all.

Readers of URLs disagree about odd ones (backslashes, control characters, user info, a percent sign in the host, numbers
for addresses, IPv4 addresses within IPv6 ones), and every disagreement is a way round a rule. So whatever two readers
could take for two hosts is not read here: the answer is then "cannot tell", which an allow rule takes for no and every
other rule for yes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

_PLAIN = re.compile(r"[a-z][a-z0-9+.-]*://[!-~]+", re.IGNORECASE)  # printable ASCII, no space
# urlsplit passes over what stands beside brackets: `a.com[::1]` is ::1 to it.
_BRACKETS = re.compile(r"[^\[\]]*|\[[^\[\]]*\](:[0-9]*)?")
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_NUMBERS = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*")  # what some resolvers take for an address
# IPv6 that stands for some IPv4 address, to the kernel, a translator or a tunnel: compatible, mapped, translated
# (RFC 2765), NAT64 (RFC 6052, 8215), Teredo, 6to4.
_OTHERS = ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
_EMBEDDING = tuple(map(IPv6Network, _OTHERS))
_OWN = (IPv6Address("::"), IPv6Address("::1"))  # within ::/96, and themselves all the same
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
    if "@" in parts.netloc or "%" in parts.netloc or not _BRACKETS.fullmatch(parts.netloc):
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
        is_told = address is not None and str(address) == host and not _is_another(address)
        return host if is_told else None
    return host if len(host) <= 253 and _HOST.fullmatch(host) else None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_another(address: IPv4Address | IPv6Address) -> bool:
    if address.version == 4 or address in _OWN:
        return False
    is_isatap = int(address) >> 32 & 0xFDFF_FFFF == 0x5EFE  # RFC 5214, below any prefix
    return is_isatap or any(address in network for network in _EMBEDDING)


def is_readable_host(name: str) -> bool:
    """Whether a URL can have this host, in this spelling."""
    return "%" not in name and _host(name, is_bracketed=":" in name) == name


def is_host(host: str, pattern: str) -> bool:
    """Whether a host is the pattern, or below it where it starts with `*.` (which is not the domain itself)."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern

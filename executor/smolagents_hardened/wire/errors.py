"""The one error of the wire: the guest shares this room, so the package's own error tree stays out."""

from __future__ import annotations


class WireError(Exception):
    """The other side sent what the protocol does not allow, or this side tried to.

    `code` is short and machine-readable (PROTOCOL.md lists all); `detail` is for a person and holds nothing
    of the refused content but bounded excerpts. After one of these the session is over: the wire is never
    resynchronised.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

"""Why a reply was left out."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from tegu.core.errors import FederationError

__all__ = ["Code", "Refusal", "RefusedReplyError"]

Code: TypeAlias = Literal[
    "failed", "unreadable", "layout", "not-finite", "users", "too-long", "inconsistent", "duplicate", "not-asked"
]
"""- failed: the participant says that it could not answer
- unreadable: no reply of a Tegu client
- layout: other names, shapes or dtypes than the parameters
- not-finite: a NaN or an infinity
- users: fewer than 1, or more than were asked
- too-long: a norm that no clipped updates have
- inconsistent: figures that exclude each other
- duplicate: a second reply of the node
- not-asked: the node is not in the round, or its reply is of another round
"""


class Refusal(NamedTuple):
    """A reply that was left out.

    Attributes:
        node: id of the node.
        code: kind of fault.
        reason: in words, with the values found.
    """

    node: int
    code: Code
    reason: str

    def __str__(self) -> str:
        return f"node {self.node}: {self.reason} ({self.code})"

    def as_json(self) -> dict[str, str]:
        """For `rounds.json`. The id is text: it has 64 bits, and many readers of JSON keep 53."""
        return {"node": str(self.node), "code": self.code, "reason": self.reason}


class RefusedReplyError(FederationError):
    """A reply that cannot count. `code` is the kind of fault."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code: Code = code

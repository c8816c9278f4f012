"""Which bundle a round is for, as a Flower record `version` beside the request's own records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tegu.core.errors import FederationError
from tegu.wire.records import FLOWER

if TYPE_CHECKING:
    from flwr.app import RecordDict

__all__ = ["Version", "add_version", "read_version"]

_RECORD = "version"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Version(NamedTuple):
    """The bundle of a round.

    Attributes:
        digest: `tegu.core.bundle.version.version_of` the bundle.
        file: sha256 of a `.tegu` file that has it, in hexadecimal.
    """

    digest: str
    file: str


def add_version(content: RecordDict, version: Version) -> None:
    """Add the version to the content of a request. Adding it again changes nothing."""
    if _RECORD not in content:
        content[_RECORD] = FLOWER.ConfigRecord({"digest": version.digest, "file": version.file})


def read_version(content: RecordDict) -> Version | None:
    """The version in the content of a request; None where the server sends none.

    Raises:
        FederationError: it is not one.
    """
    record = content.config_records.get(_RECORD)
    if record is None:
        return None
    version = Version(str(record.get("digest")), str(record.get("file")))
    if not all(_SHA256.fullmatch(each) for each in version):
        raise FederationError(f"the version of the round is {version}: is the server a Tegu server?")
    return version

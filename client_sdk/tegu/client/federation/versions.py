"""Devices of different ages: what a device does whose bundle is not the round's.

It fetches the right one from a place that its own settings name, a folder or an HTTPS address with files
`<sha256>.tegu`, or sits out. The server says which file; where from, and who must have signed it, the device decides.
A file counts only if its sha256, its signature and its version are right. It is kept in a folder of the device.
"""

from __future__ import annotations

import hashlib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tegu.client.federation.http import Connection
from tegu.client.runtimes.limits.bundle_rules import check_bundle
from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.bundle.version import version_of
from tegu.core.errors import FederationError, FileError, TeguError
from tegu.core.files import atomic_write, make_folder
from tegu.wire import Version

__all__ = ["BundlePlace", "OtherVersionError", "check_version", "fetch_bundle"]

MOST_BYTES = 1 << 28
_KEPT = 2  # files in the device's folder: the one in use, and the one before
_TIMEOUT_SECONDS = 30.0


class OtherVersionError(FederationError):
    """The device's graphs are not those of the round. `wanted` says which ones are."""

    code = "other-version"

    def __init__(self, wanted: Version, why: str) -> None:
        super().__init__(
            f"the round is for graphs of the version {wanted.digest[:12]}, in the file {wanted.file}.tegu, and {why}"
        )
        self.wanted = wanted


@dataclass(frozen=True)
class BundlePlace:
    """Where a device finds newer bundles.

    Attributes:
        source: a folder, or an address that begins with https://; files in it are called `<sha256>.tegu`.
        kept: folder of the device in which fetched files stay; None for none.
        public_key: Ed25519 key that must have signed them; None for no check.
        ca: certificate of an authority, besides the system's, that an address may show; None for none.
        most: bytes that a file may have.
    """

    source: str
    kept: Path | None = None
    public_key: bytes | None = None
    ca: Path | None = None
    most: int = MOST_BYTES


def check_version(own: str, wanted: Version | None) -> None:
    """Check that a device's version is the round's.

    Args:
        own: `version_of` the device's bundle.
        wanted: of the round; None where the server does not say it, as servers before this one.

    Raises:
        OtherVersionError: it is another one.
    """
    if wanted is not None and wanted.digest != own:
        raise OtherVersionError(wanted, f"this device has {own[:12]}")


def fetch_bundle(wanted: Version, place: BundlePlace | None) -> Bundle:
    """The bundle of a round, from the device's folder or else from the place where newer ones are.

    Raises:
        OtherVersionError: there is no such place, or no right file there; the message says why.
    """
    if place is None:
        raise OtherVersionError(wanted, "this device has no place to fetch it from: set bundle-source")
    kept = None if place.kept is None else place.kept / f"{wanted.file}.tegu"
    data = _read_kept(kept, wanted)
    fetched = data is None
    try:
        data = _from_source(place, f"{wanted.file}.tegu") if data is None else data
        right = hashlib.sha256(data).hexdigest() == wanted.file
        bundle = read_bundle(data, place.public_key, place.most) if right else None
        if bundle is not None:
            check_bundle(bundle)
    except (OSError, TeguError) as error:
        raise OtherVersionError(wanted, f"it cannot be fetched ({error})") from error
    if bundle is None:
        raise OtherVersionError(wanted, "what was fetched has another sha256: publish the file again")
    if version_of(bundle) != wanted.digest:
        raise OtherVersionError(wanted, "the file has another version: is the server right?")
    if kept is not None and fetched:
        with suppress(FileError, OSError):  # without the folder, the file is fetched again the next time
            _keep(kept, data)
    return bundle


def _read_kept(kept: Path | None, wanted: Version) -> bytes | None:
    try:
        data = None if kept is None else kept.read_bytes()
    except OSError:
        return None
    return data if data is not None and hashlib.sha256(data).hexdigest() == wanted.file else None


def _keep(kept: Path, data: bytes) -> None:
    make_folder(kept.parent)
    atomic_write(kept, data, 0o600)
    files = sorted(kept.parent.glob("*.tegu"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in files[_KEPT:]:
        old.unlink(missing_ok=True)


def _from_source(place: BundlePlace, name: str) -> bytes:
    address = urlsplit(place.source)
    if address.scheme == "https" and address.hostname:
        context = ssl.create_default_context()
        if place.ca is not None:
            context.load_verify_locations(place.ca)
        connection = Connection(address.hostname, address.port or 443, context, _TIMEOUT_SECONDS)
        try:
            return connection.ask(f"{address.path.rstrip('/')}/{name}", None, {}, place.most)
        finally:
            connection.close()
    if "://" in place.source:
        raise FederationError(f"bundle-source is {place.source}: expected a folder, or an address with https://")
    with (Path(place.source) / name).open("rb") as opened:
        data = opened.read(place.most + 1)
    if len(data) > place.most:
        raise FederationError(f"{name} has more than {place.most} bytes: publish a smaller bundle")
    return data

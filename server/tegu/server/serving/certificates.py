"""A certificate authority, the server's certificate, and the nodes' keys, in the forms that Flower wants.

The server's certificate (X.509, RFC 5280) is for TLS. A node proves who it is with an ECDSA key on the curve P-384 in
OpenSSH's format. Existing files are kept: making more keys never changes a federation that runs.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tegu.core.errors import FederationError
from tegu.core.files import atomic_write, make_folder

__all__ = [
    "ALWAYS_NAMED",
    "SERVER_DAYS",
    "Made",
    "make_node_key",
    "make_server_certificate",
    "names_of",
    "read_certificate",
]

ALWAYS_NAMED = ("localhost", "127.0.0.1", "::1")  # the server's own processes reach it there
SERVER_DAYS = 397
_CA_DAYS = 3650
_CLOCK_SKEW = datetime.timedelta(hours=1)
_PRIVATE, _PUBLIC = 0o600, 0o644
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Made(NamedTuple):
    """A file and what became of it.

    Attributes:
        path: the file.
        what: "made", "replaced" or "kept".
        until: when a certificate ends; None for a key.
    """

    path: Path
    what: str
    until: datetime.datetime | None = None

    def __str__(self) -> str:
        dates = f", valid until {self.until:%Y-%m-%d}" if self.until else ""
        return f"{self.what} {self.path}{dates}"


def make_server_certificate(
    folder: Path, hosts: Sequence[str] = (), *, days: int = SERVER_DAYS, renew: bool = False
) -> list[Made]:
    """Make `ca.crt`, `ca.key`, `server.crt` and `server.key`; what exists is kept.

    Args:
        folder: created if absent.
        hosts: names and addresses under which nodes reach the server, besides `ALWAYS_NAMED`.
        days: how long the server's certificate is valid.
        renew: replace `server.crt` and `server.key` by new ones of the same authority. Nodes need nothing new.

    Raises:
        FederationError: a half of a pair is missing, a file cannot be read, or the kept certificate lacks a host.
        FileError: a file cannot be written.
    """
    make_folder(folder)
    authority, authority_key, made = _authority(folder)
    path, key_path = folder / "server.crt", folder / "server.key"
    names = list(dict.fromkeys((*ALWAYS_NAMED, *hosts)))
    if _pair_exists(path, key_path) and not renew:
        kept = read_certificate(path)
        if missing := sorted(set(names) - set(names_of(kept))):
            raise FederationError(f"{path} does not name {', '.join(missing)}: make another one with --renew")
        return [*made, Made(path, "kept", kept.not_valid_after_utc), Made(key_path, "kept")]
    what = "replaced" if path.exists() else "made"
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _server_certificate(key.public_key(), names, days, authority, authority_key)
    atomic_write(key_path, _pem(key), _PRIVATE)
    atomic_write(path, certificate.public_bytes(serialization.Encoding.PEM), _PUBLIC)
    return [*made, Made(path, what, certificate.not_valid_after_utc), Made(key_path, what)]


def make_node_key(folder: Path, name: str) -> list[Made]:
    """Make a node's private key `<name>` and its public key `<name>.pub`; what exists is kept.

    Raises:
        FederationError: the name is no file name, or a half of the pair is missing.
        FileError: a file cannot be written.
    """
    if not _NODE_NAME.fullmatch(name):
        raise FederationError(f"a node cannot be called {name!r}: use letters, digits, points, hyphens and underscores")
    make_folder(folder)
    path, public = folder / name, folder / f"{name}.pub"
    if _pair_exists(path, public):
        return [Made(path, "kept"), Made(public, "kept")]
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    atomic_write(path, private, _PRIVATE)
    atomic_write(public, line + f" {name}\n".encode(), _PUBLIC)
    return [Made(path, "made"), Made(public, "made")]


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate in PEM.

    Raises:
        FederationError: the file cannot be read or is no certificate.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FederationError(
            f"{path} is not a readable certificate ({error}): make one with tegu certificates"
        ) from error


def names_of(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses for which a certificate is valid."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey, list[Made]]:
    path, key_path = folder / "ca.crt", folder / "ca.key"
    if _pair_exists(path, key_path):
        certificate, key = read_certificate(path), _read_key(key_path)
        return certificate, key, [Made(path, "kept", certificate.not_valid_after_utc), Made(key_path, "kept")]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tegu federation")])
    certificate = (
        _builder(name, name, key.public_key(), _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    atomic_write(key_path, _pem(key), _PRIVATE)
    atomic_write(path, certificate.public_bytes(serialization.Encoding.PEM), _PUBLIC)
    return certificate, key, [Made(path, "made", certificate.not_valid_after_utc), Made(key_path, "made")]


def _server_certificate(
    key: ec.EllipticCurvePublicKey,
    names: Sequence[str],
    days: int,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tegu server")])
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(subject, authority.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise FederationError(f"{name!r} is neither a host name nor an address ({error})") from error


def _pair_exists(first: Path, second: Path) -> bool:
    there = [path for path in (first, second) if path.exists()]
    if len(there) == 1:
        absent = second if there[0] == first else first
        raise FederationError(f"{there[0]} is there and {absent.name} is not: bring it back, or remove the other too")
    return bool(there)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise FederationError(
            f"{path} is not a readable private key ({error}): bring back the one of ca.crt"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise FederationError(f"{path} is a {type(key).__name__}: expected the key that tegu certificates has made")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

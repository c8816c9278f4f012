"""Ed25519 signatures (RFC 8032) of a manifest, which contains the sha256 of every other member of the bundle.

Keys are raw bytes: 32 private, 32 public. Needs the `signing` extra.
"""

from __future__ import annotations

from tegu.core.errors import SignatureError, require

__all__ = ["new_key_pair", "sign", "verify"]

_ED25519 = "cryptography.hazmat.primitives.asymmetric.ed25519"


def new_key_pair() -> tuple[bytes, bytes]:
    """A new `(private, public)` key pair from the operating system's random source."""
    key = require(_ED25519, "signing").Ed25519PrivateKey.generate()
    return key.private_bytes_raw(), key.public_key().public_bytes_raw()


def sign(private_key: bytes, message: bytes) -> bytes:
    """The 64-byte signature of `message`.

    Raises:
        SignatureError: the key is not 32 bytes.
    """
    _check_length(private_key, "private")
    signature: bytes = require(_ED25519, "signing").Ed25519PrivateKey.from_private_bytes(private_key).sign(message)
    return signature


def verify(public_key: bytes, message: bytes, signature: bytes | None) -> None:
    """Check a signature.

    Raises:
        SignatureError: the signature is absent or does not match, or the key is not 32 bytes.
    """
    _check_length(public_key, "public")
    if signature is None:
        raise SignatureError(
            f"the bundle is not signed, but the public key {public_key.hex()} was given: "
            "sign it when writing it, or read it without a key"
        )
    module = require(_ED25519, "signing")
    invalid = require("cryptography.exceptions", "signing").InvalidSignature
    try:
        module.Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except invalid as error:
        raise SignatureError(
            f"the signature does not match the public key {public_key.hex()}: the bundle was altered, or signed with "
            "another key; fetch it again, or ask its publisher for the key"
        ) from error


def _check_length(key: object, which: str) -> None:
    if not isinstance(key, bytes):
        raise SignatureError(
            f"the {which} key is a {type(key).__name__}: expected 32 raw bytes; bytes.fromhex reads hexadecimal text"
        )
    if len(key) != 32:
        raise SignatureError(
            f"the {which} key has {len(key)} bytes: expected an Ed25519 key of 32 raw bytes; make one with new_key_pair"
        )

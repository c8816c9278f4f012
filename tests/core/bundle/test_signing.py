from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import refused

from tegu.core.bundle import signing
from tegu.core.errors import MissingExtraError, SignatureError

PRIVATE, PUBLIC = signing.new_key_pair()

# RFC 8032, section 7.1, test 1: an empty message.
RFC_PRIVATE = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
RFC_SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2465"
    "5141438e7a100b"
)


def test_the_published_vector() -> None:
    assert signing.sign(RFC_PRIVATE, b"") == RFC_SIGNATURE
    signing.verify(RFC_PUBLIC, b"", RFC_SIGNATURE)


def test_every_key_pair_is_new() -> None:
    other = signing.new_key_pair()
    assert len(PRIVATE) == len(PUBLIC) == 32
    assert other[0] != PRIVATE
    assert other[1] != PUBLIC


@given(st.binary(max_size=60), st.data())
@settings(deadline=None)
def test_any_flipped_bit_breaks_the_signature(message: bytes, data: st.DataObject) -> None:
    signature = signing.sign(PRIVATE, message)
    signing.verify(PUBLIC, message, signature)
    both = bytearray(signature + message)
    both[data.draw(st.integers(0, len(both) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with refused(SignatureError, PUBLIC.hex(), "fetch it again"):
        signing.verify(PUBLIC, bytes(both[64:]), bytes(both[:64]))


@pytest.mark.parametrize("signature", [b"", b"short", bytes(64), bytes(65)])
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    with refused(SignatureError, PUBLIC.hex(), "does not match"):
        signing.verify(PUBLIC, b"message", signature)


def test_another_key_is_refused() -> None:
    other = signing.new_key_pair()[1]
    with refused(SignatureError, other.hex(), "another key"):
        signing.verify(other, b"message", signing.sign(PRIVATE, b"message"))


def test_no_signature_is_refused() -> None:
    with refused(SignatureError, PUBLIC.hex(), "not signed", "sign it when writing it"):
        signing.verify(PUBLIC, b"message", None)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    with refused(SignatureError, f"private key has {size} bytes", "32", "new_key_pair"):
        signing.sign(bytes(size), b"message")
    with refused(SignatureError, f"public key has {size} bytes", "32", "new_key_pair"):
        signing.verify(bytes(size), b"message", RFC_SIGNATURE)


def test_without_cryptography_the_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    for call in (
        signing.new_key_pair,
        lambda: signing.sign(PRIVATE, b""),
        lambda: signing.verify(PUBLIC, b"", RFC_SIGNATURE),
    ):
        with refused(MissingExtraError, "cryptography", "pip install 'tegu[signing]'"):
            call()

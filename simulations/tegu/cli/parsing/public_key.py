"""Public keys in hexadecimal, as on the command line."""

from __future__ import annotations

from tegu.core.errors import SignatureError

__all__ = ["parse_public_key"]


def parse_public_key(text: str | None) -> bytes | None:
    """The bytes of a key in hexadecimal; None for None.

    Raises:
        SignatureError: the text is not hexadecimal.
    """
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise SignatureError(f"the public key {text!r} is not hexadecimal: expected 64 hexadecimal digits") from error

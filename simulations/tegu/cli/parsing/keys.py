"""Public keys as the command line takes them."""

from __future__ import annotations

from tegu.core.errors import SignatureError

__all__ = ["parse_public_key"]


def parse_public_key(text: str | None) -> bytes | None:
    """A key from its hexadecimal form.

    Raises:
        SignatureError: it is not hexadecimal.
    """
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise SignatureError(f"the public key {text!r} is not hexadecimal: expected 64 digits") from error

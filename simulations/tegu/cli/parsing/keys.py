"""Public keys as the command line takes them."""

from __future__ import annotations

from tegu.core.errors import SignatureError

__all__ = ["public_key_from"]


def public_key_from(text: str | None) -> bytes | None:
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

"""A publisher's private key in a file, as hexadecimal text that its owner alone may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tegu.core.bundle.signing import new_key_pair
from tegu.core.errors import FileError, SignatureError

__all__ = ["make_key_file", "read_key_file"]

_DIGITS = 64
_MOST = 1024  # bytes read; a key has 64 digits and a line break


def make_key_file(path: Path) -> str:
    """Write a new private key to a file that does not exist, and return its public key in hexadecimal.

    Raises:
        FileError: the file exists or cannot be written.
        MissingExtraError: cryptography is not installed.
    """
    private, public = new_key_pair()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise FileError(f"{path} exists: a key is never replaced, so choose another file") from error
    except (OSError, ValueError) as error:
        raise FileError(f"cannot write {path} ({error}): choose a writable folder that exists") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{private.hex()}\n")
        file.flush()
        os.fsync(file.fileno())
    return public.hex()


def read_key_file(path: Path) -> bytes:
    """The private key in a file of `make_key_file`.

    Raises:
        SignatureError: the file cannot be read, others may read it, or it holds no key. The message never quotes it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(_MOST).decode("ascii").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SignatureError(f"cannot read the key {path} ({why}): make one with tegu keygen") from error
    if mode & 0o077 and os.name == "posix":
        raise SignatureError(f"others may read the key {path} (its mode is {mode:o}): chmod 600 it, or make a new one")
    try:
        key = bytes.fromhex(text) if len(text) == _DIGITS else b""
    except ValueError:
        key = b""
    if not key:
        raise SignatureError(f"{path} holds no private key: expected {_DIGITS} hexadecimal digits, as of tegu keygen")
    return key

"""Memory sizes with a unit, as on the command line."""

from __future__ import annotations

import re

from tegu.core.errors import DataError

__all__ = ["parse_memory_size"]

_UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_memory_size(text: str) -> int:
    """The number of bytes in a size such as "2GiB" or "1.5 GB".

    Raises:
        DataError: the text is not a size, or the size is 0.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    size = int(float(match[1]) * _UNITS.get(match[2].upper(), 0)) if match else 0
    if not size:
        raise DataError(f"{text!r} is not a memory size: expected a number and a unit, such as 500MiB or 2GiB")
    return size

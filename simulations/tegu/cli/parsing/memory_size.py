"""Amounts of memory as the command line takes them."""

from __future__ import annotations

import re

from tegu.core.errors import DataError

__all__ = ["parse_memory_size"]

_UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_memory_size(text: str) -> int:
    """Bytes from a number and a unit, such as "2GiB" or "1.5 GB".

    Raises:
        DataError: not an amount above 0.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    amount = int(float(found[1]) * _UNITS.get(found[2].upper(), 0)) if found else 0
    if not amount:
        raise DataError(f"{text!r} is no amount of memory: expected a number and a unit, such as 500MiB or 2GiB")
    return amount

"""Memory sizes on the command line."""

from __future__ import annotations

import pytest
from tests.core.samples import refused

from tegu.cli.parsing.memory_size import parse_memory_size
from tegu.core.errors import DataError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2GiB", 2**31), ("1.5 gb", 1_500_000_000), ("512MiB", 2**29), (" 7kb ", 7000), ("4096", 4096), ("1KiB", 1024)],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_memory_size(text) == expected


@pytest.mark.parametrize("text", ["", "GiB", "2 GiB or so", "0", "-1GB", "2TiB", "1e9"])
def test_text_that_is_no_size_is_refused(text: str) -> None:
    with refused(DataError, repr(text), "2GiB"):
        parse_memory_size(text)

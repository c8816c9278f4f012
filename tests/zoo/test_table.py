"""The page of models in the documentation is the zoo's."""

from __future__ import annotations

import os

from tests.zoo.catalogue import GROUPS, ZOO
from tests.zoo.table import PAGE, page

LEAST_MODELS, LEAST_SHARE = 150, 0.95


def test_the_page_shows_the_zoo() -> None:
    if os.environ.get("WRITE_PAGE"):
        PAGE.write_text(page(), "utf-8")
    assert PAGE.read_text("utf-8") == page(), "write the page with WRITE_PAGE=1"


def test_names_are_unique() -> None:
    assert sum(map(len, GROUPS.values())) == len(ZOO)


def test_the_zoo_is_large_and_nearly_all_of_it_works() -> None:
    assert len(ZOO) >= LEAST_MODELS
    assert sum(entry.refused is None for entry in ZOO.values()) >= LEAST_SHARE * len(ZOO)

"""The page of models in the documentation is the zoo's."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from tests.zoo.catalogue import GROUPS, ZOO
from tests.zoo.selection import LIKE, SUITE
from tests.zoo.table import PAGE, page

LEAST_MODELS, LEAST_SHARE = 150, 0.95  # of the suite's models and of all
LEAST_SHARE_OF_GROUP = 0.35


def test_the_page_shows_the_zoo() -> None:
    if os.environ.get("WRITE_PAGE"):
        PAGE.write_text(page(), "utf-8")
    assert PAGE.read_text("utf-8") == page(), "write the page with WRITE_PAGE=1"


def test_names_are_unique() -> None:
    assert sum(map(len, GROUPS.values())) == len(ZOO)


@pytest.mark.parametrize("names", [SUITE, tuple(ZOO)], ids=["suite", "all"])
def test_the_zoo_is_large_and_nearly_all_of_it_works(names: Sequence[str]) -> None:
    assert len(names) >= LEAST_MODELS
    assert sum(ZOO[name].refused is None for name in names) >= LEAST_SHARE * len(names)


def test_the_suite_has_models_of_every_group() -> None:
    for title, group in GROUPS.items():
        assert len(set(SUITE) & {entry.name for entry in group}) >= LEAST_SHARE_OF_GROUP * len(group), title


def test_each_model_left_out_of_the_suite_is_like_one_of_it() -> None:
    assert set(LIKE) == set(ZOO) - set(SUITE)
    assert set(LIKE.values()) <= set(SUITE)

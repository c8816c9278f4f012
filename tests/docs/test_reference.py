"""The reference shows every public name."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs" / "reference").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_that_are_also_modules_are_listed(page: Path) -> None:
    """A page shows what its package exports. A function that shares its module's name needs an entry of its own."""
    text = page.read_text("utf-8")
    package = importlib.import_module(f"tegu.{page.stem}")
    assert f"::: tegu.{page.stem}\n" in text
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    for name in modules & set(package.__all__):
        assert f"::: tegu.{page.stem}.{name}.{name}\n" in text

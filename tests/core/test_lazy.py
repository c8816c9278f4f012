"""Lazy exports of a package, tried on packages made for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

INIT = """
from tegu.core.lazy import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__, {"answer": "deep.numbers"})
__all__ = ["answer"]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "lazy_package"
    (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / name / "__init__.py").write_text(INIT)
    (tmp_path / name / "deep" / "__init__.py").touch()
    (tmp_path / name / "deep" / "numbers.py").write_text("answer = [42]\nother = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[module]


def test_a_name_is_imported_when_it_is_first_used(package: str) -> None:
    module = __import__(package)
    assert f"{package}.deep.numbers" not in sys.modules
    assert module.answer == [42]
    assert f"{package}.deep.numbers" in sys.modules


def test_a_name_is_looked_up_once(package: str) -> None:
    module = __import__(package)
    assert module.answer is module.answer
    assert "answer" in vars(module)


def test_names_are_listed_before_they_are_used(package: str) -> None:
    assert "answer" in dir(__import__(package))
    assert f"{package}.deep.numbers" not in sys.modules


@pytest.mark.parametrize("name", ["other", "unknown"])
def test_a_name_that_is_not_exported_is_refused(package: str, name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'lazy_package' has no attribute '{name}'"):
        getattr(__import__(package), name)

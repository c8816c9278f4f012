from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import pytest
from tests.core.samples import refused

from tegu.core import errors
from tegu.core.errors import MissingExtraError, TeguError, UnknownNameError, require

CLASSES: dict[str, type[Any]] = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and value.__module__ == errors.__name__
}
MADE: dict[str, TeguError] = {
    "UnknownNameError": UnknownNameError("learner", "reptil", ["reptile"]),
    "MissingExtraError": MissingExtraError("torch", "torch"),
}


def drawn_parents(docstring: str) -> dict[str, str | None]:
    """Each class in the tree of a docstring, and the class it hangs from."""
    found: dict[str, str | None] = {}
    branch: list[str] = []
    for line in docstring.splitlines():
        match = re.match(r"^((?:│   |    )*(?:├── |└── )?)([A-Z]\w+)  +\S", line)
        if match:
            depth = len(match[1]) // 4
            branch = [*branch[:depth], match[2]]
            found[match[2]] = branch[-2] if depth else None
    return found


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    real = {
        name: next((base.__name__ for base in value.__bases__ if issubclass(base, TeguError)), None)
        for name, value in CLASSES.items()
    }
    assert drawn_parents(errors.__doc__ or "") == real


def test_the_tree_is_read_with_its_parents() -> None:
    tree = "Words first.\n\nRoot     a\n├── Left     b\n│   └── Leaf     c\n└── Right     d\n"
    assert drawn_parents(tree) == {"Root": None, "Left": "Root", "Leaf": "Left", "Right": "Root"}


def test_every_error_is_exported() -> None:
    assert {name for name in errors.__all__ if name not in ("require", "missing_extra")} == set(CLASSES)


def test_one_except_clause_catches_everything() -> None:
    assert all(issubclass(value, TeguError) for value in CLASSES.values())


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("reptil", "reptile"),
        ("Reptile", "reptile"),
        ("FEDAVG", "FedAvg"),
        ("foamol", "fomaml"),
        ("reptile ", "reptile"),
    ],
)
def test_an_unknown_name_names_the_nearest(name: str, nearest: str) -> None:
    with refused(
        UnknownNameError, f"no learner is called {name!r}", f"Did you mean {nearest!r}?", "Known: FedAvg, fomaml"
    ):
        raise UnknownNameError("learner", name, ["reptile", "fomaml", "FedAvg"])


@pytest.mark.parametrize("known", [["reptile", "fomaml"], []])
def test_an_unknown_name_unlike_any_other_names_none(known: list[str]) -> None:
    error = UnknownNameError("learner", "zzz", known)
    assert "Did you mean" not in str(error)
    assert ", ".join(sorted(known)) in str(error)


def test_an_unknown_name_is_a_lookup_error() -> None:
    assert isinstance(MADE["UnknownNameError"], LookupError)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_errors_cross_processes(name: str) -> None:
    error = MADE.get(name) or CLASSES[name]("found 3, expected 4")
    error.__dict__["user"] = 7
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == {"user": 7}


def test_require_returns_the_module() -> None:
    assert require("json.decoder", "any").__name__ == "json.decoder"


def test_require_names_the_install() -> None:
    with refused(MissingExtraError, "no_such_module", "pip install 'tegu[federated]'"):
        require("no_such_module", "federated")
    assert issubclass(MissingExtraError, ImportError)

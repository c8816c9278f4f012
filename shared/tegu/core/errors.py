"""Everything Tegu raises.

TeguError                  the value found, what was expected, and the fix
├── DataError              rows that do not fit: shape, dtype, NaN, an id out of range, an empty support
│   └── PopulationError    too few users, or a user with too few rows
├── BundleError            a `.tegu` file that is truncated, altered, oversized or of another version
│   └── SignatureError     a missing or wrong signature where a public key was given
├── FileError              a file or folder that cannot be written: a checkpoint, a report, a plot
├── StoreError             an interaction store that cannot be used
│   └── OtherModelError    a store made for another model
├── CompileError           a learner that cannot become an ONNX graph, or whose graph disagrees with torch
├── RuntimeFailure         a runtime that cannot run the bundle
├── FederationError        a round, a checkpoint or a reply that cannot be used
├── PlatformError          a function of the operating system is absent here
├── UnknownNameError       no learner, experiment or optimiser of that name (the nearest one is named)
└── MissingExtraError      an optional dependency is absent (the `pip install` that mends it is named)
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

__all__ = [
    "BundleError",
    "CompileError",
    "DataError",
    "FederationError",
    "FileError",
    "MissingExtraError",
    "OtherModelError",
    "PlatformError",
    "PopulationError",
    "RuntimeFailure",
    "SignatureError",
    "StoreError",
    "TeguError",
    "UnknownNameError",
    "require",
]


class TeguError(Exception):
    """Root of everything Tegu raises on purpose. Pickles as its class and message, to cross processes (Ray)."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), str(self)), self.__dict__


def _restore(kind: type[TeguError], message: str) -> TeguError:
    error = kind.__new__(kind)
    error.args = (message,)
    return error


class DataError(TeguError, ValueError):
    """Rows that do not fit the model's `Spec`."""


class PopulationError(DataError):
    """Too few users, or a user with too few rows."""


class BundleError(TeguError):
    """A `.tegu` file that cannot be trusted or read."""


class SignatureError(BundleError):
    """A signature that is missing or does not match the public key given."""


class FileError(TeguError):
    """A file or folder that cannot be written; the message has its path and the reason."""


class StoreError(TeguError):
    """An interaction store that cannot be opened, read or written."""


class OtherModelError(StoreError):
    """A store whose interactions belong to another model."""


class CompileError(TeguError):
    """A learner that cannot be compiled, or whose graph disagrees with torch."""


class RuntimeFailure(TeguError):
    """A runtime that cannot load or run the graphs."""


class FederationError(TeguError):
    """A round, a checkpoint or a reply that cannot be used."""


class PlatformError(TeguError):
    """Something that this operating system cannot do."""


class UnknownNameError(TeguError, LookupError):
    """A name that is not in a table of names."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        import difflib  # noqa: PLC0415 # slow to import, and mostly of no use

        names = sorted(known)
        lowered = {known_name.lower(): known_name for known_name in names}
        near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.4)
        hint = f" Did you mean {lowered[near[0]]!r}?" if near else ""
        super().__init__(f"no {kind} is called {name!r}.{hint} Known: {', '.join(names)}")


class MissingExtraError(TeguError, ImportError):
    """An optional dependency that is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed: pip install 'tegu[{extra}]'")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Raises:
        MissingExtraError: it is absent; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(module, extra) from error

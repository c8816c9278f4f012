"""Everything that Tegu raises. A message states the value found, what was expected, and the fix.

TeguError                  any of the errors below
├── DataError              rows do not fit the spec: shape, dtype, NaN, an id out of range, an empty support
│   └── PopulationError    too few users, or a user with too few rows
├── BundleError            a `.tegu` file is truncated, altered, oversized or of another version
│   └── SignatureError     a signature is absent or wrong although a public key was given
├── FileError              a file or folder cannot be written: a checkpoint, a report, a plot
├── StoreError             an interaction store cannot be used
│   └── OtherModelError    the store belongs to another model
├── CompileError           a learner cannot be compiled to ONNX, or its graph disagrees with torch
├── RuntimeFailure         a runtime cannot run the bundle
├── FederationError        a round, a checkpoint or a reply cannot be used
├── PlatformError          the operating system lacks a required function
├── UnknownNameError       no learner, experiment or optimiser has that name (the message suggests the nearest)
└── MissingExtraError      an optional dependency is not installed (the message names the `pip install`)
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from tegu.core.notes import visible

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
    "missing_extra",
    "require",
]


class TeguError(Exception):
    """Base class of all errors that Tegu raises. Pickles as its class and message, so that it can cross processes."""

    def __str__(self) -> str:
        """The message. It may quote names from a file of others, so what is not printable is escaped."""
        return visible(super().__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), str(self)), self.__dict__


def _restore(kind: type[TeguError], message: str) -> TeguError:
    error = kind.__new__(kind)
    error.args = (message,)
    return error


class DataError(TeguError, ValueError):
    """Rows do not fit the model's `Spec`."""


class PopulationError(DataError):
    """Too few users, or a user with too few rows."""


class BundleError(TeguError):
    """A `.tegu` file cannot be read or is damaged."""


class SignatureError(BundleError):
    """A signature is absent or does not match the given public key."""


class FileError(TeguError):
    """A file or folder cannot be written. The message states its path and the reason."""


class StoreError(TeguError):
    """An interaction store cannot be opened, read or written."""


class OtherModelError(StoreError):
    """The store belongs to another model."""


class CompileError(TeguError):
    """A learner cannot be compiled, or its graph disagrees with torch."""


class RuntimeFailure(TeguError):
    """A runtime cannot load or run the graphs."""


class FederationError(TeguError):
    """A round, a checkpoint or a reply cannot be used."""


class PlatformError(TeguError):
    """The operating system lacks a required function."""


class UnknownNameError(TeguError, LookupError):
    """No object of the requested kind has this name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        import difflib  # noqa: PLC0415 # slow to import, and rarely needed

        names = sorted(known)
        lowered = {known_name.lower(): known_name for known_name in names}
        near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.4)
        hint = f" Did you mean {lowered[near[0]]!r}?" if near else ""
        super().__init__(f"no {kind} is called {name!r}.{hint} Known: {', '.join(names)}")


class MissingExtraError(TeguError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed: pip install 'tegu[{extra}]'")
        self.name = module


def missing_extra(error: ImportError, extra: str) -> ImportError:
    """What to raise where an import failed: an error that names the extra if a package of others is not installed.

    Otherwise `error` itself: a module of Tegu is absent, or a package is installed and broken.
    """
    module = (error.name or "").partition(".")[0]
    absent = isinstance(error, ModuleNotFoundError | MissingExtraError) and module not in ("", "tegu")
    return MissingExtraError(module, extra) if absent else error


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Raises:
        MissingExtraError: the module is not installed; the message names the extra that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(module, extra) from error

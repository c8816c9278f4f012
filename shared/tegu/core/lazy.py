"""Exported names of a package that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping

from tegu.core.errors import missing_extra

__all__ = ["lazy_exports"]


def lazy_exports(
    package: str, modules: Mapping[str, str], extra: str | None = None
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The package's `__getattr__` and `__dir__`.

    A type checker does not see these names: import them under `TYPE_CHECKING` beside the call. No exported name may
    be that of one of the package's own modules, for Python would give the module once it is imported.

    Args:
        package: its `__name__`.
        modules: for every exported name the module that defines it, relative to the package.
        extra: installs what these modules import; None if they say so themselves.
    """

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value: object = getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        except ImportError as error:
            raise (error if extra is None else missing_extra(error, extra)) from None
        setattr(sys.modules[package], name, value)  # found at once the next time
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *modules})

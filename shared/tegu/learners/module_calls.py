"""Which module of a model runs: the calls of its modules, recorded while the model is observed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import nn

__all__ = ["ModuleCall", "ModuleCalls", "described", "observe_modules", "observed", "watched"]


class ModuleCall(NamedTuple):
    """A call of a module that returned.

    Attributes:
        module: the module, with the parameters that it was built with.
        name: its path in the model; "" is the model itself.
        parameters: the parameters that it was called with, by name.
        inputs: its positional arguments.
        options: its other arguments.
        output: what it returned.
    """

    module: nn.Module
    name: str
    parameters: Mapping[str, Any]
    inputs: tuple[Any, ...]
    options: Mapping[str, Any]
    output: Any


@dataclass
class ModuleCalls:
    """What happened while a model was observed.

    Attributes:
        finished: calls in the order in which they returned, so that a module comes after its parts.
        running: the modules that run now, the innermost last, in words.
        failed: the innermost module that raised an exception, in words. None means that none did.
        dropouts: modules that called a function of dropout that was not switched off, in words.
    """

    finished: list[ModuleCall] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    failed: str | None = None
    dropouts: list[str] = field(default_factory=list)


_OBSERVER: ContextVar[ModuleCalls | None] = ContextVar("observer", default=None)


@contextlib.contextmanager
def observe_modules() -> Iterator[ModuleCalls]:
    """Record the calls of modules inside the block, of those that `substituted` copies there."""
    calls = ModuleCalls()
    token = _OBSERVER.set(calls)
    try:
        yield calls
    finally:
        _OBSERVER.reset(token)


def observed() -> ModuleCalls | None:
    """The record of the block that runs; None outside of `observe_modules`."""
    return _OBSERVER.get()


def described(name: str, module: nn.Module) -> str:
    """A module in words, as `layers.2 (MyAttention)`."""
    return f"{name or 'the model'} ({type(module).__name__})"


def watched(name: str, module: nn.Module, copied: nn.Module) -> Callable[..., Any] | None:
    """The `forward` of `copied`, a copy of `module`, that records its calls; None if nothing is observed."""
    calls = _OBSERVER.get()
    if calls is None:
        return None
    forward, words = copied.forward, described(name, module)

    def recorded(*args: Any, **options: Any) -> Any:
        calls.running.append(words)
        try:
            output = forward(*args, **options)
        except Exception:  # whatever the module raises
            calls.failed = calls.failed or words
            raise
        finally:
            calls.running.pop()
        calls.finished.append(ModuleCall(module, name, dict(copied.named_parameters()), args, options, output))
        return output

    return recorded

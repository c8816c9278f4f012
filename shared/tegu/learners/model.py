"""A `torch.nn.Module` as a pure function of its parameters, and the checks that it can be one."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from tegu.core.errors import CompileError, DataError
from tegu.core.tree import Tree
from tegu.learners.learner import TorchTree

__all__ = ["Applied", "call", "check_model", "fast_names", "initial_parameters"]


class _IndexedEmbedding(TorchFunctionMode):
    """Embedding look-ups as plain indexing.

    The gradient of `F.embedding` batched over users by `vmap` fixes the number of users when it is exported; that of
    indexing does not. Where the ids are `catalogue`, every row in order, the table itself is the answer.
    """

    def __init__(self, catalogue: Tensor | None = None) -> None:
        super().__init__()
        self._catalogue = catalogue

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.embedding:
            ids, weight = args[:2]
            if self._catalogue is not None and ids is self._catalogue and len(ids) == len(weight):
                return weight
            return _look_up(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _look_up(ids: Tensor, weight: Tensor, padding_idx: int | None = None, *others: Any, **options: Any) -> Tensor:
    if any(option not in (None, False, 2.0) for option in (*others, *options.values())):
        raise CompileError(
            "an embedding with max_norm, scale_grad_by_freq or sparse has no compiled form: leave them out"
        )
    rows = weight[ids]
    if padding_idx is None:
        return rows
    return torch.where((ids == padding_idx % weight.shape[0]).unsqueeze(-1), rows.detach(), rows)


def call(model: nn.Module, parameters: TorchTree, x: Tensor) -> Tensor:
    """The model's output for `x` with these parameters."""
    with _IndexedEmbedding():
        output: Tensor = functional_call(model, parameters, (x,))
    return output


@dataclass(frozen=True)
class Applied:
    """A model with its parameters, as a function of its input."""

    model: nn.Module
    parameters: TorchTree

    def __call__(self, x: Tensor) -> Tensor:
        """The model's output for `x`."""
        return call(self.model, self.parameters, x)

    def catalogue(self, items: int) -> Tensor:
        """Scores `[items]` of all items, without looking up tables row by row."""
        ids = torch.arange(items, device=next(iter(self.parameters.values())).device)
        with _IndexedEmbedding(ids):
            scores: Tensor = functional_call(self.model, self.parameters, (ids,))
        return scores


def check_model(model: nn.Module) -> None:
    """Refuse a module that is not a function of its parameters and its input.

    Raises:
        CompileError: it keeps running statistics, has no parameters, or parameters that are not float32.
    """
    for name, module in model.named_modules():
        if getattr(module, "running_mean", None) is not None:
            raise CompileError(
                f"{name or 'the model'} is a {type(module).__name__} with running statistics, which would mix users: "
                "use GroupNorm or LayerNorm, or track_running_stats=False"
            )
    parameters = dict(model.named_parameters())
    if not parameters:
        raise CompileError(f"{type(model).__name__} has no parameters: there is nothing to learn")
    for name, parameter in parameters.items():
        if parameter.dtype != torch.float32:
            raise CompileError(f"parameter {name!r} is {parameter.dtype}: expected float32; call model.float()")


def fast_names(model: nn.Module, fast: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the parameters that adapt: all by default, or those that match one of the patterns in `fast`.

    Args:
        model: the module.
        fast: names or shell patterns (`"head.*"`); a module's name stands for all its parameters.

    Raises:
        DataError: a pattern that matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    if fast is None:
        return tuple(names)
    chosen: set[str] = set()
    for pattern in fast:
        matched = {n for n in names if fnmatch.fnmatchcase(n, pattern) or n.startswith(f"{pattern}.")}
        if not matched:
            raise DataError(f"fast={pattern!r} matches no parameter: expected one of {', '.join(names)}")
        chosen |= matched
    return tuple(name for name in names if name in chosen)


def _reset(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()


def initial_parameters(model: nn.Module, seed: int) -> Tree:
    """Parameters drawn anew from `seed` by each module's own `reset_parameters`; those without one are kept.

    Children come before their parents, so that a module can overrule what its parts do by themselves.

    The global random state is left as it was.
    """
    fresh = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh.apply(_reset)
    return {name: parameter.detach().numpy().copy() for name, parameter in fresh.named_parameters()}

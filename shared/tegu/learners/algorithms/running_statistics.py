"""Running statistics of BatchNorm, estimated again by a federation: each user sends means, and the server averages.

Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", 2016, arXiv:1603.04779, replace the
statistics of a pretrained network by those of the data that it meets. Here nobody sees the data of several users. The
statistics are the trained part of a learner, so that they take the path of any update, with its clip, checks and noise.

    update   the present statistics, minus those of the user's rows
    outer    SGD with step size 1: the new statistics are the mean over the round's users, each with the same weight

A variance is taken around the present mean, and what a layer is given depends on the statistics of the layers before
it. One round gives the first layer's mean, the next its variance, and so on: two rounds for each layer give exactly the
statistics of all layers, if the same users answer all rounds.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.learners.inner_loop.gradient_steps import concatenate
from tegu.learners.learner import Execution, Learner, RecommendedTraining, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.module_calls import observe_modules
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.functional import call
from tegu.learners.modules.initial_values import initial_parameters, trained_parameter_names
from tegu.learners.modules.named_output import OutputName
from tegu.learners.modules.plain_module import plain_module
from tegu.learners.operators.normalisation import batch_norm

__all__ = ["PAPER", "running_statistics", "with_running_statistics"]

PAPER = "Li et al. 2016, Revisiting Batch Normalization For Practical Domain Adaptation, arXiv:1603.04779"

_STATE = "unused"


class _Norm(nn.Module):
    """A BatchNorm whose statistics are its trained parameters."""

    def __init__(self, norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.running_mean, self.running_var = nn.Parameter(mean.clone()), nn.Parameter(variance.clone())

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def running_statistics(model: nn.Module, spec: Spec, *, output: OutputName | None = None) -> Learner:
    """The learner whose training estimates the running statistics of the module's BatchNorm layers (Li et al. 2016).

    Its trained parameters are `<layer>.running_mean` and `<layer>.running_var`, `[channels]`. All others are fixed, and
    a device adapts nothing. `with_running_statistics` writes the result into the module. Variances are those of the
    users' rows around the present mean, without correction for their number.

    Args:
        model: a module with BatchNorm layers that have running statistics. It is not changed.
        spec: its inputs and outputs.
        output: as in `reptile`.

    Raises:
        CompileError: as `reptile`.
        DataError: as `reptile`, or the module has no such layer.
    """
    network = _with_trained_statistics(checked_module(model, spec, output))
    trained = trained_parameter_names(network)
    fixed = tuple(name for name, _ in network.named_parameters() if name not in trained)

    def adapt(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del meta, knobs, noise
        return {_STATE: 0 * support.mask.sum()}  # a graph has an output at least

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        del state
        return call(network, meta, x)

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        del noise
        found = _statistics(network, meta, concatenate(support, query))
        return {name: meta[name] - found.get(name, meta[name]) for name in trained}  # 0 for a layer that is not called

    return Learner(
        "running_statistics",
        PAPER,
        spec,
        (),
        {},
        {},
        lambda seed: initial_parameters(network, seed, "module"),
        adapt,
        predict,
        update,
        execution=Execution(order_invariant=True, merges_query=True),
        fixed_parameters=fixed,
        recommended=RecommendedTraining(rounds=len(trained)),
    )


def with_running_statistics(model: nn.Module, statistics: Tree) -> nn.Module:
    """A copy of `model`, in evaluation mode and float32, with the running statistics of `statistics`, a trained `meta`.

    Raises:
        CompileError: as `reptile`.
        DataError: `statistics` does not hold those of a layer.
    """
    copied = plain_module(model)
    for name, norm in _norms(copied):
        for own in ("running_mean", "running_var"):
            key = f"{name}.{own}".removeprefix(".")
            if key not in statistics:
                raise DataError(
                    f"the statistics have no {key!r}: expected those of every BatchNorm layer of the module; train "
                    "running_statistics of this module"
                )
            getattr(norm, own).copy_(torch.from_numpy(statistics[key]))
    return copied


def _norms(model: nn.Module) -> list[tuple[str, _BatchNorm]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]


def _with_trained_statistics(model: nn.Module) -> nn.Module:
    """The model, whose own parameters are fixed and whose BatchNorm layers have trained statistics."""
    model.requires_grad_(False)
    norms = _norms(model)
    if not norms:
        raise DataError(
            f"{type(model).__name__} has no BatchNorm layer with running statistics: expected at least one; train the "
            "module as it is"
        )
    if norms[0][0] == "":
        raise DataError("the model is a BatchNorm layer alone: expected a network around it")
    for name, norm in norms:
        parent, _, own = name.rpartition(".")
        if norm.running_mean is not None and norm.running_var is not None:
            setattr(model.get_submodule(parent), own, _Norm(norm, norm.running_mean, norm.running_var))
    return model


def _statistics(network: nn.Module, meta: TorchTree, rows: TorchBatch) -> TorchTree:
    """Mean and variance over rows and positions of what each BatchNorm layer is given, by parameter name."""
    with observe_modules() as calls:
        call(network, meta, rows.x)
    found: defaultdict[str, list[Tensor]] = defaultdict(list)
    for each in calls.finished:
        if isinstance(each.module, _Norm):
            mean, variance = _moments(each.inputs[0], each.parameters["running_mean"], rows.mask)
            found[f"{each.name}.running_mean"].append(mean)
            found[f"{each.name}.running_var"].append(variance)
    return {name: torch.stack(each).mean(0) for name, each in found.items()}


def _moments(x: Tensor, mean: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The mean `[channels]` of `x` `[rows, channels, ...]` over unmasked rows, and its variance around `mean`."""
    positions = list(range(2, x.dim()))
    centred = x - mean.reshape(-1, *(1 for _ in positions))
    first, second = (each.mean(positions) if positions else each for each in (centred, centred.square()))
    weights = (mask / mask.sum().clamp(min=1)).unsqueeze(-1)
    return mean + (first * weights).sum(0), (second * weights).sum(0)

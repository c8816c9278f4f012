"""The learner of a module that `simulate` is given, and the scale of what the module sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn

from tegu.core.data.batch import Array
from tegu.core.data.scaling import Scaling
from tegu.core.notes import note
from tegu.learners.algorithms.correction_candidates import FEW_CLASSES
from tegu.learners.algorithms.metric.prototypical_networks import prototypical_networks
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.learners.learner import Learner
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.functional import call
from tegu.learners.modules.initial_values import Init, check_init, fixed_parameter_names
from tegu.learners.modules.named_output import OutputName
from tegu.learners.modules.signs_of_training import sign_of_training
from tegu.learners.modules.standardised import Standardised, squared_error_in
from tegu.sim.data.population import Population
from tegu.sim.data.scaling import scaling_of_users
from tegu.sim.defaults.own_labels import labels_are_own

__all__ = ["learner_for_module"]

_ROWS = 1000  # training rows on which the module as given is compared with a constant
_BETTER = 0.9  # of the constant's loss: a new network does not reach it, but for rare luck
_MIN_LOSS = 1e-12

_Scales: TypeAlias = tuple[Scaling | None, Scaling | None]  # of inputs and of targets


def learner_for_module(
    model: nn.Module,
    population: Population,
    seed: int,
    init: Init = "module",
    standardise: bool | None = None,
    output: OutputName | None = None,
) -> Learner:
    """Residual correction of `model`; Reptile for a ranking, and prototypical networks for labels of a user's own.

    Where labels seem to mean something else to every user (`labels_are_own`), an initialisation can know nothing, and
    training it makes the network memorise users. Prototypical networks train the module's features alone.

    With given values, a module's function before training is to be exactly the given one. Standardised inputs are
    another function. On the other hand, a module that was just constructed has no function worth keeping, and trains
    badly on raw units. Therefore None standardises unless the values mean something: see `_meaning`.

    Args:
        model: the module.
        population: all users.
        seed: of the split, whose training users are read.
        init: where training starts; see `reptile`.
        standardise: True to standardise real inputs and targets with the training users' means and deviations, False
            to pass them as they are, None to decide by the module.
        output: as in `reptile`.

    Raises:
        CompileError: as `reptile`.
        DataError: as `reptile`.
        UnknownNameError: no such `init`.
    """
    init, spec = check_init(init), population.spec
    model = checked_module(model, spec, output)
    if spec.kind == "ranking":
        return reptile(model, spec, init=init)
    train = population.split(seed).train
    x, y = scales = scaling_of_users(train, seed)
    if own := labels_are_own(train, seed):
        note(
            "a label seems to mean something else to every user (users' nearest rows tell it, and others' do not): the "
            "module's features are trained to tell a user's examples apart (prototypical_networks); pass a learner for "
            "another method"
        )
    options: dict[str, Any] = {"init": init} if own else {"init": init, "through": True, **_own_habits(population)}
    build: Callable[..., Learner] = prototypical_networks if own else residual_correction
    if x is None and y is None:
        return build(model, spec, **options)
    what = " and ".join(name for name, scale in (("inputs", x), ("targets", y)) if scale)
    kept = _meaning(model, train, init) if standardise is None else None
    if kept or standardise is False:
        note(
            f"the module's {what} are passed as they are"
            + (f", since {kept}; standardise=True would scale them" if kept else "")
        )
        return _in_units(build(model, spec, **options), scales)
    note(f"{what} are standardised to mean 0 and deviation 1 for the module; standardise=False would not scale them")
    if y:
        options["loss"] = squared_error_in(y)
    return _in_units(build(Standardised(model, x, y), spec, **options), scales)


def _own_habits(population: Population) -> dict[str, bool]:
    """What residual correction may use: own frequencies or an own level, and the last rows if there is an order."""
    spec = population.spec
    few = spec.kind == "classification" and spec.outputs <= FEW_CLASSES
    return {"level": few or spec.kind == "regression", "ordered": population.order is not None}


def _meaning(model: nn.Module, train: Population, init: Init) -> str | None:
    """Why the module's own function is worth keeping, as a clause; None if it is that of a new module.

    It is if it shows signs of training, or if it predicts training users' rows better than any constant would.
    """
    if init == "fresh":
        fixed = fixed_parameter_names(model)
        return f"{fixed[0]} is fixed" if fixed else None
    if sign := sign_of_training(model):
        return sign
    better = _loss_over_constant(model, train) < _BETTER
    return "it predicts training users' rows better than a constant" if better else None


def _loss_over_constant(model: nn.Module, train: Population) -> float:
    """The module's loss on training users' rows, divided by that of the best constant prediction."""
    x, y = (torch.from_numpy(np.asarray(values[:_ROWS])) for values in train.subset(_first_users(train)).all_rows())
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    with torch.no_grad():
        output = call(model, parameters, x)
    if train.spec.kind == "classification":
        return _ratio(F.cross_entropy(output, y), F.cross_entropy(_log_shares(y, output), y))
    if train.spec.kind == "multilabel":
        constant = torch.logit(y.mean(0).clamp(1e-6, 1 - 1e-6)).expand_as(output)
        return _ratio(*(F.binary_cross_entropy_with_logits(each, y) for each in (output, constant)))
    return _ratio((output - y).square().mean(), (y - y.mean(0)).square().mean())


def _first_users(train: Population) -> Array:
    """Indices of as many users as hold `_ROWS` rows, and of one at least."""
    return np.arange(1 + int(np.searchsorted(np.cumsum(train.counts), _ROWS)))[: len(train)]


def _log_shares(labels: Tensor, output: Tensor) -> Tensor:
    shares = torch.bincount(labels, minlength=output.shape[-1]) / len(labels)
    return shares.clamp(min=_MIN_LOSS).log().expand_as(output)


def _ratio(own: Tensor, constant: Tensor) -> float:
    found = float(own) / max(float(constant), _MIN_LOSS)
    return found if math.isfinite(found) else math.inf


def _in_units(learner: Learner, scales: _Scales) -> Learner:
    """The learner, whose graphs are checked on rows of this scale."""
    execution = replace(learner.execution, example_scaling=scales)
    inner = learner.gradient_learner
    return replace(learner, execution=execution, gradient_learner=inner and _in_units(inner, scales))

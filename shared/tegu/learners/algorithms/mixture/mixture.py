"""Several initialisations of one learner in one bundle, for populations with several kinds of users.

A user's rows determine the responsibility of each initialisation for that user:

    update   of each initialisation: the learner's update, weighted by its responsibility;
             of its mixing weight: prior mixing weight - responsibility
    adapt    each initialisation adapts as the learner does; responsibilities are computed from the support
    predict  the outputs, mixed by responsibility

Soft assignment is the expectation step of a mixture over users (Marfoq et al. 2021, FedEM). As in IFCA (Ghosh et al.
2020, arXiv:2006.04088), it uses the losses before adaptation, because after adaptation any initialisation fits its
support. All initialisations start close to one origin (Yao et al. 2019, hierarchically structured meta-learning,
arXiv:1905.05301), so they learn nearly the same until their losses differ. Each initialisation learns a little from
every user. An initialisation that is responsible for no user therefore follows the population, and remains available
when it becomes the closest to some users.

With 0 steps nothing is known about the user, and the population's mixing weights combine the unadapted
initialisations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tegu.core.calibration.guard import LOO_IMPROVEMENT, SHRINKAGE
from tegu.core.data.tree import Tree, trained_part
from tegu.core.errors import DataError
from tegu.learners.algorithms.mixed_outputs import mixed_outputs
from tegu.learners.algorithms.mixture.guarded_correction import MixingWeights, fully_corrected_knobs, guarded_correction
from tegu.learners.algorithms.mixture.responsibility import log_likelihoods, loo_log_likelihoods, softmax_scalars
from tegu.learners.inner_loop.gradient_steps import concatenate
from tegu.learners.learner import Iterated, Learner, RowLosses, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.parameters.copies import copy_of, merge_copies, perturbed_copies
from tegu.learners.parameters.table_rows import fixed_entries

__all__ = ["PAPER", "count_initialisations", "mixture"]

PAPER = "Marfoq et al. 2021, Federated multi-task learning under a mixture of distributions, arXiv:2108.10252"
_TEMPERATURES = (4.0, 1.0)  # the more cautious first; training uses it
_SMOOTHING = 0.02  # share of responsibility that training distributes evenly
_SELECTION_ONLY = {"lr": 0.0, "ridge": 1e4}  # knobs with which users choose an initialisation and do not adapt it
_DIAGNOSTICS = (SHRINKAGE, LOO_IMPROVEMENT)


class _Base(NamedTuple):
    """The learner that is mixed, and the numbers of its copies."""

    learner: Learner
    adapt: Iterated
    row_losses: RowLosses
    numbers: range

    def meta(self, meta: TorchTree, number: int) -> TorchTree:
        """The learner's own `meta` of a copy. Fixed parameters are stored once for all copies."""
        return {**copy_of(meta, number), **{name: meta[name] for name in self.learner.fixed_parameters}}

    @property
    def guarded(self) -> bool:
        """Whether the learner is a correction. Then one guard covers the mixture and the corrections."""
        return self.learner.calibration.guarded


def mixture(learner: Learner, initialisations: int) -> Learner:
    """`learner` with several initialisations; the learner itself if `initialisations` is 1.

    `meta` holds the learner's entries once per initialisation, as `0/<name>`, `1/<name>`, and fixed parameters once, as
    `<name>`. Copy 0 starts where the learner starts; the others start from it with noise drawn from the seed. The
    entries `share/0`, `share/1` of `meta` are the logarithms of the population's mixing weights, up to a constant. The
    state holds the learner's state per initialisation, and the user's mixing weights in `share/0`, `share/1`. Numbers
    are averaged by these weights, classes by their probabilities. Rankings average scores, so that their softmax is a
    geometric mean, and corrections of labels average logits for the same effect.

    Knobs: the learner's knobs and `temperature`, the number of a user's rows that count as one for responsibilities.
    A user's rows resemble each other, so an initialisation has similar errors on all of them.

    Args:
        learner: an iterated learner with row losses.
        initialisations: number of initialisations, at least 1.

    Raises:
        DataError: `initialisations` is below 1, or the learner is not iterated or has no row losses.
    """
    if initialisations < 1:
        raise DataError(f"initialisations is {initialisations}: expected at least 1; use 1 for no mixture")
    if initialisations == 1:
        return learner
    row_losses = learner.calibration.row_losses
    if not isinstance(learner.adapt, Iterated) or row_losses is None:
        raise DataError(
            f"{learner.name} is not iterated or has no row losses: expected both for several initialisations; "
            "use a learner such as reptile, or initialisations=1"
        )
    base = _Base(learner, learner.adapt, row_losses, range(initialisations))
    knobs = {**learner.knobs, "temperature": _TEMPERATURES[0]}
    return replace(
        learner,
        paper=f"{learner.paper}; {PAPER}",
        adapted_parameters=tuple(f"{n}/{name}" for n in base.numbers for name in learner.adapted_parameters),
        knobs=knobs,
        unadapted={**learner.unadapted, "temperature": _TEMPERATURES[0]},
        init=partial(_init, base),
        adapt=Iterated(partial(_begin, base), partial(_step, base), partial(_finish, base)),
        predict=partial(_predict, base),
        update=partial(_update, base),
        calibration=replace(learner.calibration, candidates=_candidates(learner), row_losses=None),
        execution=replace(learner.execution, summed_update=None),
        untrained_parameters=tuple(f"{n}/{name}" for n in base.numbers for name in learner.untrained_parameters),
        gradient_learner=learner.gradient_learner and mixture(learner.gradient_learner, initialisations),
    )


def count_initialisations(meta: Tree) -> int:
    """The number of initialisations in trained parameters; 1 if they are not those of a mixture."""
    return max(1, sum(name.startswith("share/") for name in meta))


def _candidates(learner: Learner) -> list[Mapping[str, float]]:
    """Candidates that only choose an initialisation, then candidates that also adapt it."""
    selection = {name: value for name, value in _SELECTION_ONLY.items() if name in learner.knobs}
    candidates = [*([{**learner.knobs, **selection}] if selection else []), *learner.calibration.candidates]
    return [{**knobs, "temperature": temperature} for knobs in candidates for temperature in _TEMPERATURES]


def _init(base: _Base, seed: int) -> Tree:
    even = {f"share/{number}": np.zeros((), np.float32) for number in base.numbers}
    origin = base.learner.init(seed)
    fixed = {name: origin[name] for name in base.learner.fixed_parameters}
    return {**perturbed_copies(trained_part(origin, fixed), len(base.numbers), seed), **fixed, **even}


def _begin(base: _Base, meta: TorchTree, support: TorchBatch) -> TorchTree:
    copies = [base.adapt.begin(base.meta(meta, number), support) for number in base.numbers]
    diagnostics = {name: support.mask.new_zeros(()) for name in _DIAGNOSTICS if base.guarded}
    by_number = {
        **_by_number("loss", _losses(base, meta, support)),
        **_by_number("share", softmax_scalars(_logits(base, meta))),
    }
    return {**merge_copies(copies), **by_number, **diagnostics}


def _step(
    base: _Base, meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor
) -> TorchTree:
    own = fully_corrected_knobs(knobs) if base.guarded else knobs
    copies = [
        base.adapt.step(base.meta(meta, number), copy_of(carry, number), support, own, noise) for number in base.numbers
    ]
    mixing = _mixing_weights(base, meta, [carry[f"loss/{n}"] for n in base.numbers], support.mask, knobs)
    if not base.guarded:
        return {**carry, **merge_copies(copies), **_by_number("share", mixing.posterior)}
    corrected = guarded_correction(copies, mixing, support.mask, knobs)
    return {
        **carry,
        **merge_copies(corrected.copies),
        **_by_number("share", corrected.weights),
        **corrected.diagnostics,
    }


def _finish(base: _Base, carry: TorchTree) -> TorchTree:
    own = [*(f"share/{number}" for number in base.numbers), *(_DIAGNOSTICS if base.guarded else ())]
    states = [base.adapt.finish(copy_of(carry, number)) for number in base.numbers]
    return {**merge_copies(states), **{name: carry[name] for name in own}}


def _predict(base: _Base, meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
    weights = [state[f"share/{number}"] for number in base.numbers]
    outputs = [base.learner.predict(base.meta(meta, n), copy_of(state, n), x) for n in base.numbers]
    kind = base.learner.spec.kind
    if not base.guarded:
        return mixed_outputs(kind, weights, outputs)
    mean = _sum([weight * output for weight, output in zip(weights, outputs, strict=True)])
    return torch.log_softmax(mean, -1) if kind == "classification" else mean


def _update(base: _Base, meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
    rows = concatenate(support, query) if base.learner.execution.merges_query else support
    knobs = {"temperature": _TEMPERATURES[0]}
    prior, posterior, _ = _mixing_weights(base, meta, _losses(base, meta, rows), rows.mask, knobs)
    updates = [
        _scaled(
            _update_weight(p, r, len(base.numbers)), base.learner.update(base.meta(meta, number), support, query, noise)
        )
        for number, p, r in zip(base.numbers, prior, posterior, strict=True)
    ]
    return {
        **merge_copies(updates),
        **_by_number("share", [p - r for p, r in zip(prior, posterior, strict=True)]),
    }


def _update_weight(prior: Tensor, posterior: Tensor, copies: int) -> Tensor:
    """The weight of a user's update for an initialisation: its responsibility over its prior mixing weight.

    The mean of this weight over users is 1, so that each initialisation learns as fast as it would alone. The prior is
    taken to be at least half of an even one. No user therefore moves an initialisation by more than `2 * copies`
    updates.
    """
    own, population = ((1 - _SMOOTHING) * each + _SMOOTHING / copies for each in (posterior, prior))
    return own / population.clamp(min=0.5 / copies)


def _scaled(factor: Tensor, update: TorchTree) -> TorchTree:
    fixed = fixed_entries(update)
    return {name: value if name in fixed else factor * value for name, value in update.items()}


def _losses(base: _Base, meta: TorchTree, batch: TorchBatch) -> list[Tensor]:
    return [base.row_losses(base.meta(meta, number), batch) * batch.mask for number in base.numbers]


def _logits(base: _Base, meta: TorchTree) -> list[Tensor]:
    return [meta[f"share/{number}"] for number in base.numbers]


def _mixing_weights(
    base: _Base, meta: TorchTree, losses: Sequence[Tensor], mask: Tensor, knobs: TorchKnobs
) -> MixingWeights:
    kind, prior, temperature = base.learner.spec.kind, _logits(base, meta), knobs["temperature"]
    posterior, leave_one_out = (
        softmax_scalars([p + fit / temperature for p, fit in zip(prior, each, strict=True)])
        for each in (log_likelihoods(kind, losses, mask), loo_log_likelihoods(kind, losses, mask))
    )
    return MixingWeights(softmax_scalars(prior), posterior, leave_one_out)


def _by_number(name: str, values: Sequence[Tensor]) -> TorchTree:
    return {f"{name}/{number}": value for number, value in enumerate(values)}


def _sum(values: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, values)

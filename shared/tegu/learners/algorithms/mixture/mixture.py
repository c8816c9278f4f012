"""Several initialisations of one learner, for people of several kinds, in one bundle.

Each user's rows say how far each initialisation is responsible for that user:

    update   of each initialisation: the learner's own, by its responsibility; of its share: share - responsibility
    adapt    each adapts as the learner does; responsibilities from the support
    predict  answers mixed by responsibility

Soft assignment is the expectation step of a mixture over users (Marfoq et al. 2021, FedEM), by losses before adapting
as in Ghosh et al. 2020 (IFCA, arXiv:2006.04088): afterwards any initialisation fits its support. All have one origin
(Yao et al. 2019, hierarchically structured meta-learning, arXiv:1905.05301): they begin close together and learn alike
until losses tell them apart. Each learns a little from everybody, so that one nobody chooses follows them all, and is
there when it is nearer to somebody.

Without a step nothing is known of the user, and the population's shares mix the initialisations as they are.
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
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.learners.algorithms.mixture.guarded_correction import Assigned, fully_corrected_knobs, guarded_correction
from tegu.learners.algorithms.mixture.responsibility import fits, left_out, shares
from tegu.learners.inner_loop.gradient_steps import concatenate
from tegu.learners.learner import Iterated, Learner, RowLosses, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.parameters.copies import copy_of, merged, start
from tegu.learners.parameters.table_rows import fixed_entries

__all__ = ["PAPER", "count_initialisations", "mixture"]

PAPER = "Marfoq et al. 2021, Federated multi-task learning under a mixture of distributions, arXiv:2108.10252"
_TEMPERATURES = (4.0, 1.0)  # the gentler first, which training has
_LEAK = 0.02  # of all responsibility is shared out evenly in training
_CHOICE_ALONE = {"lr": 0.0, "ridge": 1e4}  # knobs of learners by which nothing is left of adapting but the choice
_NOTES = (SHRINKAGE, LOO_IMPROVEMENT)


class _Several(NamedTuple):
    """A learner that can be had several times."""

    learner: Learner
    base: Iterated
    losses: RowLosses
    numbers: range

    @property
    def corrects(self) -> bool:
        """Whether it is a correction, which is guarded as a whole."""
        return self.learner.calibration.guarded


def mixture(learner: Learner, initialisations: int) -> Learner:
    """`learner` with so many initialisations; the learner itself where it is one.

    `meta` has the learner's entries once for each, as `0/<name>`, `1/<name>`, and in `share/0`, `share/1` the logarithm
    of each one's share of the population, up to a constant. The state has the learner's state for each likewise, and in
    `share/0`, `share/1` what answers are mixed by: numbers as they are, classes by their probabilities, rankings by
    scores, the softmax of which is then a geometric mean.

    Knobs: the learner's, and `temperature`: so many of a user's rows count as one for responsibilities, since a user's
    rows are alike and each initialisation is wrong for all of them in the same way.

    Args:
        learner: iterated, with row losses.
        initialisations: how many.

    Raises:
        DataError: fewer than one, or a learner that is not iterated or tells no row losses.
    """
    if initialisations < 1:
        raise DataError(f"initialisations is {initialisations}: expected at least 1")
    if initialisations == 1:
        return learner
    losses = learner.calibration.row_losses
    if not isinstance(learner.adapt, Iterated) or losses is None:
        raise DataError(
            f"{learner.name} is not iterated or tells no row losses: "
            "several initialisations need both, as reptile has them"
        )
    several = _Several(learner, learner.adapt, losses, range(initialisations))
    knobs = {**learner.knobs, "temperature": _TEMPERATURES[0]}
    return replace(
        learner,
        paper=f"{learner.paper}; {PAPER}",
        adapted_parameters=tuple(f"{n}/{name}" for n in several.numbers for name in learner.adapted_parameters),
        knobs=knobs,
        unadapted={**learner.unadapted, "temperature": _TEMPERATURES[0]},
        init=partial(_init, several),
        adapt=Iterated(partial(_begin, several), partial(_step, several), partial(_finish, several)),
        predict=partial(_predict, several),
        update=partial(_update, several),
        calibration=replace(learner.calibration, candidates=_candidates(learner), row_losses=None),
        execution=replace(learner.execution, summed_update=None),
        gradient_learner=learner.gradient_learner and mixture(learner.gradient_learner, initialisations),
    )


def count_initialisations(meta: Tree) -> int:
    """How many initialisations there are in what was trained."""
    return max(1, sum(name.startswith("share/") for name in meta))


def _candidates(learner: Learner) -> list[Mapping[str, float]]:
    """Choosing alone, then choosing and adapting."""
    alone = {name: value for name, value in _CHOICE_ALONE.items() if name in learner.knobs}
    ways = [*([{**learner.knobs, **alone}] if alone else []), *learner.calibration.candidates]
    return [{**way, "temperature": temperature} for way in ways for temperature in _TEMPERATURES]


def _init(several: _Several, seed: int) -> Tree:
    even = {f"share/{number}": np.zeros((), np.float32) for number in several.numbers}
    return {**start(several.learner.init, len(several.numbers), seed), **even}


def _begin(several: _Several, meta: TorchTree, support: TorchBatch) -> TorchTree:
    copies = [several.base.begin(copy_of(meta, number), support) for number in several.numbers]
    notes = {name: support.mask.new_zeros(()) for name in _NOTES if several.corrects}
    told = {
        **_by_number("loss", _losses(several, meta, support)),
        **_by_number("share", shares(_logits(several, meta))),
    }
    return {**merged(copies), **told, **notes}


def _step(
    several: _Several, meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor
) -> TorchTree:
    own = fully_corrected_knobs(knobs) if several.corrects else knobs
    copies = [
        several.base.step(copy_of(meta, number), copy_of(carry, number), support, own, noise)
        for number in several.numbers
    ]
    assigned = _assigned(several, meta, [carry[f"loss/{n}"] for n in several.numbers], support.mask, knobs)
    if not several.corrects:
        return {**carry, **merged(copies), **_by_number("share", assigned.found)}
    whole = guarded_correction(copies, assigned, support.mask, knobs)
    return {**carry, **merged(whole.copies), **_by_number("share", whole.shares), **whole.notes}


def _finish(several: _Several, carry: TorchTree) -> TorchTree:
    told = [*(f"share/{number}" for number in several.numbers), *(_NOTES if several.corrects else ())]
    states = [several.base.finish(copy_of(carry, number)) for number in several.numbers]
    return {**merged(states), **{name: carry[name] for name in told}}


def _predict(several: _Several, meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
    mixed = [state[f"share/{number}"] for number in several.numbers]
    answers = [several.learner.predict(copy_of(meta, n), copy_of(state, n), x) for n in several.numbers]
    if several.learner.spec.kind != "classification":
        return _total([share * answer for share, answer in zip(mixed, answers, strict=True)])
    chances = zip(mixed, (torch.log_softmax(answer, -1) for answer in answers), strict=True)
    logs = [share.clamp(min=1e-12).log() + chance for share, chance in chances]
    top = reduce(torch.maximum, logs)
    return top + _total([torch.exp(log - top) for log in logs]).log()


def _update(several: _Several, meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
    rows = concatenate(support, query) if several.learner.execution.merges_query else support
    knobs = {"temperature": _TEMPERATURES[0]}
    prior, found, _ = _assigned(several, meta, _losses(several, meta, rows), rows.mask, knobs)
    updates = [
        _times(_pull(p, r, len(several.numbers)), several.learner.update(copy_of(meta, number), support, query, noise))
        for number, p, r in zip(several.numbers, prior, found, strict=True)
    ]
    return {**merged(updates), **_by_number("share", [p - r for p, r in zip(prior, found, strict=True)])}


def _pull(prior: Tensor, found: Tensor, copies: int) -> Tensor:
    """How much of a user's update an initialisation takes: its responsibility over its share of the population.

    The mean of that over users is 1, so that each learns as fast as it would alone. A share that is small is taken for
    half an even one at least, so that nobody moves an initialisation by more than `2 * copies` updates.
    """
    own, share = ((1 - _LEAK) * each + _LEAK / copies for each in (found, prior))
    return own / share.clamp(min=0.5 / copies)


def _times(factor: Tensor, update: TorchTree) -> TorchTree:
    fixed = fixed_entries(update)
    return {name: value if name in fixed else factor * value for name, value in update.items()}


def _losses(several: _Several, meta: TorchTree, batch: TorchBatch) -> list[Tensor]:
    return [several.losses(copy_of(meta, number), batch) * batch.mask for number in several.numbers]


def _logits(several: _Several, meta: TorchTree) -> list[Tensor]:
    return [meta[f"share/{number}"] for number in several.numbers]


def _assigned(
    several: _Several, meta: TorchTree, losses: Sequence[Tensor], mask: Tensor, knobs: TorchKnobs
) -> Assigned:
    kind, prior, temperature = several.learner.spec.kind, _logits(several, meta), knobs["temperature"]
    own, others = (
        shares([p + fit / temperature for p, fit in zip(prior, each, strict=True)])
        for each in (fits(kind, losses, mask), left_out(kind, losses, mask))
    )
    return Assigned(shares(prior), own, others)


def _by_number(name: str, values: Sequence[Tensor]) -> TorchTree:
    return {f"{name}/{number}": value for number, value in enumerate(values)}


def _total(values: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, values)

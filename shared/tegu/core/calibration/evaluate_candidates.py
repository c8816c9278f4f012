"""The device's half of calibration: evaluates candidate knobs on its own users and sums the results.

Candidates that differ only in weight and guard share one adaptation. Their outputs lie between those of the
initialisation and the corrected ones, and most metrics score them without writing them down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

import numpy as np

from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.calibration.evaluation_request import CandidateSet, MetricSums, no_users
from tegu.core.calibration.guard import (
    LOO_IMPROVEMENT,
    Guard,
    fully_corrected_knobs,
    gain_model_sums,
    shrinkage,
)
from tegu.core.calibration.query_noise import Gains, gains_along, gains_over
from tegu.core.calibration.selection.figures import figure_sums
from tegu.core.calibration.selection.strict import gain_sums
from tegu.core.data.batch import Array
from tegu.core.metrics import Metric
from tegu.core.sampling.trials import Trials, tolerance, trial_scores, user_scores

__all__ = ["AdaptAndPredict", "TrialOutputs", "evaluate_candidates"]


class TrialOutputs(NamedTuple):
    """Outputs of adapted models.

    Attributes:
        outputs: `[trials]` of outputs for the rows of `stacked_inputs`; padded rows may be absent.
        notes: the scalars of the adapted states by name, `[trials]` each.
    """

    outputs: Sequence[Array]
    notes: dict[str, Array]


AdaptAndPredict: TypeAlias = Callable[[Trials, Knobs], TrialOutputs]


def evaluate_candidates(
    question: CandidateSet, manifest: Manifest, trials: Trials, metric: Metric, attempt: AdaptAndPredict
) -> MetricSums:
    """Sums over these users of the requested measure.

    Args:
        question: candidates and measure.
        manifest: of the learner.
        trials: of all users in the requested group with enough rows, `question.draws` per user.
        metric: to compute.
        attempt: adapts and predicts.
    """
    if not trials.trials:
        return no_users(question)
    if question.measure == "scores":
        sums = [_scores(trials, metric, attempt(trials, knobs)) for knobs in question.options]
    elif question.measure == "lines":
        before = attempt(trials, manifest.unadapted).outputs
        sums = [_line(trials, before, attempt(trials, fully_corrected_knobs(knobs))) for knobs in question.options]
    else:
        before = attempt(trials, manifest.unadapted).outputs
        sums = list(_gains(question, trials, before, metric, manifest.guarded, attempt))
    return MetricSums(trials.users, np.stack(sums))


def _scores(trials: Trials, metric: Metric, found: TrialOutputs) -> Array:
    figures = user_scores(trials, found.outputs, metric)
    return np.asarray([figures.sum(), np.square(figures).sum()])


def _line(trials: Trials, before: Sequence[Array], found: TrialOutputs) -> Array:
    return gain_model_sums(trials, before, found.outputs, found.notes[LOO_IMPROVEMENT])


def _gains(
    question: CandidateSet,
    trials: Trials,
    before: Sequence[Array],
    metric: Metric,
    guarded: bool,
    attempt: AdaptAndPredict,
) -> Iterator[Array]:
    """The sums of each candidate."""
    scores, within = trial_scores(trials, before, metric), tolerance(trials, before, metric)
    own = scores.reshape(-1, question.draws).mean(1)
    given = (trials, before, scores, metric)
    for flat, squares in (_guarded if guarded else _plain)(question.options, given, attempt):
        gain = flat.reshape(-1, question.draws)
        if question.measure == "strict":
            yield gain_sums(gain, within)
        else:
            yield figure_sums(gain, own, within, question.material, squares)


_Given: TypeAlias = tuple[Trials, Sequence[Array], Array, Metric]
"""The arguments of `gains_over`."""


def _plain(options: Sequence[Knobs], given: _Given, attempt: AdaptAndPredict) -> Iterator[Gains]:
    """Each option's gains."""
    gains_of = gains_over(*given)
    for knobs in options:
        yield gains_of(attempt(given[0], knobs).outputs)


def _guarded(options: Sequence[Knobs], given: _Given, attempt: AdaptAndPredict) -> Iterator[Gains]:
    """The gains of each candidate; neighbours that differ only in the guard are adapted once."""
    gains_of = gains_along(*given)
    for knobs, alike in groupby(options, key=fully_corrected_knobs):
        found, guards = attempt(given[0], knobs), [Guard.of(each) for each in alike]
        parts = [own.weight * shrinkage(own, found.notes[LOO_IMPROVEMENT]) for own in guards]
        yield from gains_of(found.outputs, np.stack(parts))

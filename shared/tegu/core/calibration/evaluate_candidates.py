"""The device's half of calibration: evaluates candidate knobs on its own users and sums the results.

Candidates that differ only in weight and guard share one adaptation. Their outputs are interpolated afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

import numpy as np

from tegu.core.bundle.manifest import Knobs
from tegu.core.calibration.evaluation_request import CandidateSet, MetricSums, no_users
from tegu.core.calibration.guard import GainModel, blend_outputs, gain_model_sums, trust
from tegu.core.calibration.selection import gain_sums
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
    question: CandidateSet, still: Knobs, trials: Trials, metric: Metric, attempt: AdaptAndPredict
) -> MetricSums:
    """Sums over these users of the requested measure.

    Args:
        question: candidates and measure.
        still: knobs with which nothing adapts.
        trials: of all users in the requested group with enough rows, `question.draws` per user.
        metric: to compute.
        attempt: adapts and predicts.
    """
    if not trials.trials:
        return no_users(question)
    if question.measure == "scores":
        sums = [_scores(trials, metric, attempt(trials, knobs)) for knobs in question.options]
    elif question.measure == "lines":
        before = attempt(trials, still).outputs
        sums = [_line(trials, before, attempt(trials, _whole(knobs))) for knobs in question.options]
    else:
        sums = list(_gains(question, trials, attempt(trials, still).outputs, metric, attempt))
    return MetricSums(trials.users, np.stack(sums))


def _scores(trials: Trials, metric: Metric, found: TrialOutputs) -> Array:
    figures = user_scores(trials, found.outputs, metric)
    return np.asarray([figures.sum(), np.square(figures).sum()])


def _line(trials: Trials, before: Sequence[Array], found: TrialOutputs) -> Array:
    return gain_model_sums(trials, before, found.outputs, found.notes["evidence"])


def _gains(
    question: CandidateSet, trials: Trials, before: Sequence[Array], metric: Metric, attempt: AdaptAndPredict
) -> Iterator[Array]:
    scores, within = trial_scores(trials, before, metric), tolerance(trials, before, metric)
    for outputs in _tried(question.options, trials, before, attempt):
        gain = metric.gain(trial_scores(trials, outputs, metric), scores)
        yield gain_sums(gain.reshape(-1, question.draws), within)


def _tried(
    options: Sequence[Knobs], trials: Trials, before: Sequence[Array], attempt: AdaptAndPredict
) -> Iterator[Sequence[Array]]:
    """The outputs of each candidate; neighbours that differ only in weight and guard are adapted once."""
    for _, alike in groupby(options, key=_whole):
        knobs = list(alike)
        found = attempt(trials, _whole(knobs[0]))
        for each in knobs:
            yield _blend(each, trials, before, found) if "weight" in each else found.outputs


def _whole(knobs: Knobs) -> Knobs:
    """The knobs of the full correction, from which outputs are interpolated; knobs of other learners unchanged."""
    return {**knobs, **_WHOLE} if "weight" in knobs else knobs


def _blend(knobs: Knobs, trials: Trials, before: Sequence[Array], whole: TrialOutputs) -> list[Array]:
    belief, evidence = GainModel(*(knobs[name] for name in GainModel._fields)), whole.notes["evidence"]
    factor = knobs["weight"] * trust(belief, evidence, knobs["guard"], knobs["floor"])
    return blend_outputs(trials.spec.kind, before, whole.outputs, factor)


_WHOLE = {"weight": 1.0, "guard": 0.0, "floor": 0.0, "expected": 0.0, "belief": 0.0, "spread": 1.0}

"""How well the spread of a Bayesian learner's predictions describes its errors: likelihood and coverage.

The members of a user's state (`tegu.learners.learner.Members`) form a mixture. For a value, each member predicts a
normal distribution around its output. The variance of an observation is the same for all users and is fitted to
calibration users. For a class, the mixture is the mean of the members' probabilities.

Gneiting and Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation", section 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch

from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.manifest import knobs_for
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.sampling.trials import Trials, trial_noise
from tegu.sim.data.trials import draw_trials
from tegu.sim.run_result import RunResult

__all__ = [
    "LEVEL",
    "Coverage",
    "MemberOutputs",
    "class_coverage",
    "observation_variance",
    "uncertainty",
    "value_coverage",
]

LEVEL = 0.9
_KINDS = ("classification", "regression")
_VARIANCES = np.geomspace(1e-6, 10, 161)  # relative to the mean squared error; neighbours differ by a tenth
_LEAST = 1e-12  # of a probability and of a variance


class MemberOutputs(NamedTuple):
    """What the members predict for the query of one trial.

    Attributes:
        outputs: float64 `[members, rows, outputs]`: values, or logits of classes.
        y: the targets, `[rows, ...]`.
    """

    outputs: Array
    y: Array


class Coverage(NamedTuple):
    """Means over trials, of which each is a mean over query rows.

    Attributes:
        nll: negative log-likelihood in nats, of a value or of a class; lower is better.
        coverage: the share of targets within the central 90% interval, or within the smallest set of classes that has
            90% of the probability; best is 0.9 for values.
    """

    nll: float
    coverage: float


def uncertainty(run: RunResult, k: int, trials: Trials) -> dict[str, Any]:
    """The entry `uncertainty` of one k in `metrics.json`; empty for other kinds of tasks and learners without members.

    `members` has the figures of the mixture. For values, `constant_spread` has those of one normal distribution around
    the mean prediction, whose variance is the same for all users, and `deviation` is the standard deviation of an
    observation around a member.

    Args:
        run: the run.
        k: number of interactions.
        trials: of held-out users.
    """
    if run.learner.members is None or run.learner.spec.kind not in _KINDS:
        return {}
    found = _outputs(run, k, run.bundle.meta, trials)
    if run.learner.spec.kind == "classification":
        return {"members": class_coverage(found)._asdict()}
    able = [(meta, users) for meta, users in run.fold_evaluators if (users.max_support >= k).any()]
    calibration = [_outputs(run, k, meta, draw_trials(users, k, run.plan.seed)) for meta, users in able]
    return _of_mixture_and_mean(list(chain(*calibration)), found) if calibration else {}


def _of_mixture_and_mean(calibration: Sequence[MemberOutputs], found: Sequence[MemberOutputs]) -> dict[str, Any]:
    variance, of_mean = observation_variance(calibration), observation_variance(list(map(_mean, calibration)))
    return {
        "members": value_coverage(found, variance)._asdict(),
        "constant_spread": value_coverage(list(map(_mean, found)), of_mean)._asdict(),
        "deviation": float(np.sqrt(variance)),
    }


def _mean(found: MemberOutputs) -> MemberOutputs:
    """The mean prediction, as that of a single member."""
    return found._replace(outputs=found.outputs.mean(0, keepdims=True))


def _outputs(run: RunResult, k: int, meta: Tree, trials: Trials) -> list[MemberOutputs]:
    """Adapt and predict as a device with `k` interactions does."""
    runtime, knobs, noise = OnnxRuntime(run.bundle.graphs), knobs_for(run.bundle.manifest, k), run.bundle.manifest.noise
    states = (runtime.adapt(meta, each.support, knobs, trial_noise(each, noise)) for each in trials.trials)
    return [
        MemberOutputs(runtime.members(meta, state, each.query.x).astype(np.float64), each.query.y)
        for each, state in zip(trials.trials, states, strict=True)
    ]


def value_coverage(predictions: Iterable[MemberOutputs], variance: float) -> Coverage:
    """The figures of a mixture of normal distributions around the members' outputs; values count one by one.

    Args:
        predictions: one for each trial.
        variance: of an observation around a member's output.
    """
    pairs = [_of_trial(each, variance) for each in predictions]
    return Coverage(*(float(part) for part in np.mean(pairs, axis=0)))


def _errors(found: MemberOutputs) -> Array:
    """Targets less outputs, `[members, values]`."""
    return (found.y.reshape(found.outputs.shape[1:]) - found.outputs).reshape(len(found.outputs), -1)


def _of_trial(found: MemberOutputs, variance: float) -> tuple[float, float]:
    z = torch.from_numpy(_errors(found) / np.sqrt(variance))
    below = torch.special.ndtr(z).mean(0)  # the probability, as predicted, of a value up to the one observed
    inside = (below - 0.5).abs() <= LEVEL / 2
    return float(_nll(z, variance).mean()), float(inside.double().mean())


def _nll(z: torch.Tensor, variance: float) -> torch.Tensor:
    """Negative log-likelihood of each value, `[values]`, from standardised errors `[members, values]`."""
    densities = -0.5 * (z.square() + math.log(2 * math.pi * variance))
    return math.log(len(z)) - torch.logsumexp(densities, 0)


def observation_variance(predictions: Sequence[MemberOutputs]) -> float:
    """The variance of an observation around a member's output, of a fine grid, with the greatest likelihood.

    Args:
        predictions: one for each trial of calibration users, at least one.
    """
    errors = [_errors(each) for each in predictions]
    scale = max(float(np.mean([np.square(each).mean() for each in errors])), _LEAST)
    weights = torch.from_numpy(np.concatenate([np.full(each.shape[1], 1 / each.shape[1]) for each in errors]))
    joined = torch.from_numpy(np.concatenate(errors, 1))

    def nll(variance: float) -> float:
        return float(weights @ _nll(joined / np.sqrt(variance), variance))

    return float(min(scale * _VARIANCES, key=nll))


def class_coverage(predictions: Iterable[MemberOutputs]) -> Coverage:
    """The figures of the mean of the members' probabilities.

    Args:
        predictions: one for each trial; outputs are logits, targets classes.
    """
    pairs = [_of_class_rows(each) for each in predictions]
    return Coverage(*(float(part) for part in np.mean(pairs, axis=0)))


def _of_class_rows(found: MemberOutputs) -> tuple[float, float]:
    chances = torch.softmax(torch.from_numpy(found.outputs), -1).mean(0).numpy()
    own = np.take_along_axis(chances, found.y.reshape(-1, 1).astype(np.int64), 1)
    likelier = np.where(chances > own, chances, 0.0).sum(1)  # the set is closed before the target if these have 90%
    return float(-np.log(own.clip(_LEAST)).mean()), float((likelier < LEVEL).mean())

"""Who of many users trains and who is asked in evaluation rounds, and what those answer, in batched graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import numpy as np

from tegu.core.bundle.manifest import Knobs
from tegu.core.calibration.assignment import is_calibration_user, is_comparison_user, uniform_draw
from tegu.core.calibration.evaluate_candidates import TrialOutputs, evaluate_candidates
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums, UserGroup
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.errors import UnknownNameError
from tegu.core.metrics import Metric
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine import Engine
from tegu.sim.engine.predictions import answers
from tegu.wire import RoundConfig

__all__ = ["AskedOf", "answers_of", "asked_of", "training"]

AskedOf: TypeAlias = Callable[[UserGroup], Population]


def training(population: Population, users: Array, config: RoundConfig) -> Array:
    """Those of the users (indices) who do not calibrate."""
    if not config.calibration_share:
        return users
    return users[
        [
            not is_calibration_user(config.seed, str(name), config.calibration_share, config.fold)
            for name in population.users[users]
        ]
    ]


def asked_of(population: Population, calibration: Population | None, inquiry: EvaluationRequest) -> AskedOf:
    """Whom a question concerns.

    Args:
        population: users of the nodes addressed.
        calibration: those who calibrate, where the simulation has decided. As many of `population`, which then all
            train, are compared with them: those with the lowest lots.
        inquiry: its share draws who calibrates, where the simulation has not.
    """

    def drawn(who: UserGroup) -> Population:
        is_asked = is_calibration_user if who == "calibration" else is_comparison_user
        names = map(str, population.users)
        chosen = [is_asked(inquiry.seed, name, inquiry.share, inquiry.fold) for name in names]
        return population.subset(np.flatnonzero(chosen))

    if calibration is None:
        return drawn

    def decided(who: UserGroup) -> Population:
        return calibration if who == "calibration" else lowest(len(calibration))

    def lowest(number: int) -> Population:
        lots = np.asarray([uniform_draw(inquiry.seed, str(name)) for name in population.users])
        return population.subset(np.sort(lots.argsort(kind="stable")[:number]))

    return decided


def answers_of(
    engine: Engine, meta: Tree, asked: AskedOf, inquiry: EvaluationRequest, metrics: Mapping[str, Metric]
) -> list[MetricSums]:
    """What these people answer, question by question; as devices do.

    Raises:
        UnknownNameError: no such metric.
    """
    if inquiry.metric not in metrics:
        raise UnknownNameError("metric", inquiry.metric, metrics)
    metric, attempt = metrics[inquiry.metric], partial(_attempt, engine, meta)
    return [
        evaluate_candidates(
            question, engine.manifest, _trials(asked(question.who), question, inquiry.seed), metric, attempt
        )
        for question in inquiry.questions
    ]


def _attempt(engine: Engine, meta: Tree, trials: Trials, knobs: Knobs) -> TrialOutputs:
    return answers(engine, meta, knobs, trials)


def _trials(people: Population, question: CandidateSet, seed: int) -> Trials:
    if not (people.most >= question.k).any():
        return Trials(people.spec, question.k, [])
    return draw_trials(people, question.k, seed, question.draws)

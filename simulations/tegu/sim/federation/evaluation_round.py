"""The users that train and the users of evaluation rounds, and the metrics of the latter, in batched graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from tegu.core.bundle.manifest import Knobs
from tegu.core.calibration.assignment import is_calibration_user, uniform_draw
from tegu.core.calibration.evaluate_candidates import TrialOutputs, evaluate_candidates
from tegu.core.calibration.evaluation_request import (
    CandidateSet,
    EvaluationRequest,
    MetricSums,
    UserGroup,
    in_half,
    takes_part,
)
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.errors import UnknownNameError
from tegu.core.metrics import Metric
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine import Engine
from tegu.sim.engine.predictions import adapt_and_predict
from tegu.wire import RoundConfig

__all__ = ["UserSelector", "evaluate_batched", "select_users", "training_users"]

UserSelector: TypeAlias = Callable[[UserGroup], Population]
"""From a group of an evaluation round to its users."""


def training_users(population: Population, users: Array, config: RoundConfig) -> Array:
    """Those of `users` (int64 indices) that train, because the round does not set them apart for calibration."""
    if not config.calibration_share:
        return users
    return users[
        [
            not is_calibration_user(config.seed, str(name), config.calibration_share, config.fold)
            for name in population.users[users]
        ]
    ]


def select_users(population: Population, calibration: Population | None, request: EvaluationRequest) -> UserSelector:
    """A function that selects the users of each group of an evaluation round.

    Args:
        population: users of the nodes that received the request.
        calibration: calibration users, if the simulation has already chosen them. All of `population` then trains, and
            as many of its users form the comparison group: those with the lowest uniform draws. None means that the
            request's share draws both groups from `population`, as on devices.
        request: seed, share and fold of the groups.
    """

    def drawn(group: UserGroup) -> Population:
        return population.subset(np.flatnonzero([takes_part(request, group, str(name)) for name in population.users]))

    if calibration is None:
        return drawn

    def given(group: UserGroup) -> Population:
        if group == "comparison":
            return lowest_draws(len(calibration))
        if group == "calibration":
            return calibration
        chosen = [in_half(request.seed, group, str(name)) for name in calibration.users]
        return calibration.subset(np.flatnonzero(chosen))

    def lowest_draws(number: int) -> Population:
        draws = np.asarray([uniform_draw(request.seed, str(name)) for name in population.users])
        return population.subset(np.sort(draws.argsort(kind="stable")[:number]))

    return given


def evaluate_batched(
    engine: Engine, meta: Tree, users_in: UserSelector, request: EvaluationRequest, metrics: Mapping[str, Metric]
) -> list[MetricSums]:
    """The sums over users for each question of the request, as devices would compute them.

    Args:
        engine: runs the learner.
        meta: the initialisation.
        users_in: selects the users of each group; see `select_users`.
        request: the evaluation request.
        metrics: the known metrics, by name.

    Raises:
        UnknownNameError: the request names a metric that is not among `metrics`.
    """
    if request.metric not in metrics:
        raise UnknownNameError("metric", request.metric, metrics)
    metric, groups = metrics[request.metric], dict[UserGroup, _Group]()
    sums = []
    for question in request.questions:
        if question.who not in groups:
            groups[question.who] = _prepare(engine, meta, users_in(question.who))
        group = groups[question.who]
        trials, attempt = _trials(group, question, request.seed), partial(_attempt, group.engine, meta)
        sums.append(evaluate_candidates(question, engine.manifest, trials, metric, attempt))
    return sums


class _Group(NamedTuple):
    """Users of an evaluation round, and what runs the learner on them.

    Attributes:
        users: the users.
        engine: for the codes, if there are any.
        codes: of each user's rows; None if rows are not encoded.
    """

    users: Population
    engine: Engine
    codes: Sequence[Array] | None = None


def _prepare(engine: Engine, meta: Tree, users: Population) -> _Group:
    """The users with their rows encoded, where the learner can."""
    codes = engine.encoder.encode(meta, users) if engine.encoder is not None and len(users) else None
    return (
        _Group(users, engine)
        if codes is None or engine.encoder is None
        else _Group(users, engine.encoder.engine, codes)
    )


def _attempt(engine: Engine, meta: Tree, trials: Trials, knobs: Knobs) -> TrialOutputs:
    return adapt_and_predict(engine, meta, knobs, trials)


def _trials(group: _Group, question: CandidateSet, seed: int) -> Trials:
    if not (group.users.max_support >= question.k).any():
        return Trials(group.users.spec, question.k, [])
    return draw_trials(group.users, question.k, seed, question.draws, group.codes)

"""The people of a node that hosts many: a round computes over batches of them, and reads the rows of those it draws."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tegu.client.federation.updates import SummedUpdates
from tegu.core.calibration.evaluation_request import EvaluationRequest, MetricSums
from tegu.core.data.tree import Tree
from tegu.core.errors import PopulationError
from tegu.core.metrics import METRICS
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.engine.each_update import ClippedSum, clipped_sum
from tegu.sim.federation.evaluation_round import evaluate_batched, select_users, training_users
from tegu.sim.federation.grid import NO_USERS, draw_round
from tegu.wire import RoundConfig

__all__ = ["ManyPeople"]


class ManyPeople(NamedTuple):
    """The users of a population as a node's people; see `tegu.client.federation.people.People`.

    Attributes:
        population: the users, whose rows may be on disk.
        engine: runs the learner over batches of them.
    """

    population: Population
    engine: Engine

    @property
    def number(self) -> int:
        """See `People`."""
        return len(self.population)

    def sum_updates(self, meta: Tree, config: RoundConfig) -> SummedUpdates | None:
        """See `People`."""
        users = training_users(self.population, np.arange(len(self.population)), config)
        if not len(users):
            return None
        cohort = draw_round(self.population, [users], config)
        if not len(cohort.users):
            raise PopulationError(NO_USERS.format(config.episodes.min_support))
        if math.isinf(config.clip) and not config.private:  # no update has to be looked at by itself
            found = ClippedSum(self.engine.sum_updates(meta, cohort, config.clip), len(cohort.users))
        else:
            found = clipped_sum(self.engine, meta, cohort, config.clip, private=config.private)
        rows = int(cohort.support.sum() + cohort.query.sum())
        return SummedUpdates(found.update, len(cohort.users), found.within, rows)

    def evaluate(self, meta: Tree, request: EvaluationRequest) -> list[MetricSums]:
        """See `People`."""
        return evaluate_batched(self.engine, meta, select_users(self.population, None, request), request, METRICS)

"""What experiments with ratings by item id share: the learner in the training users' units."""

from __future__ import annotations

from tegu.core.data.batch import Array
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.defaults.for_ratings import learner_for_ratings
from tegu.sim.experiments.baselines.for_spec import classical_for
from tegu.sim.experiments.experiment import Experiment

__all__ = ["item_ratings_experiment"]


def item_ratings_experiment(
    name: str, population: Population, plan: TrainingPlan, titles: tuple[str, ...] = (), known: Array | None = None
) -> Experiment:
    """Build an experiment of the learner `item_ratings`.

    Args:
        name: as on the command line.
        population: all users of a regression of one target on one item id.
        plan: the training plan; its seed decides who the training users are.
        titles: titles of the items, by id.
        known: see `item_ratings`.

    Raises:
        DataError: as `learner_for_ratings`.
    """
    return Experiment(
        name=name,
        population=population,
        model=None,
        learner=learner_for_ratings(population, plan.seed, known),
        plan=plan,
        classical=classical_for(population.spec),
        titles=titles,
    )

"""What experiments with ratings by item id share: the learner in the training users' units, and the baselines."""

from __future__ import annotations

from tegu.core.data.batch import Array
from tegu.core.errors import DataError
from tegu.learners.algorithms.item_ratings import item_ratings
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.data.scaling import scaling_of_users
from tegu.sim.experiments.baselines.item_means import item_mean, item_mean_user_bias
from tegu.sim.experiments.baselines.linear_predictor import linear_predictor
from tegu.sim.experiments.experiment import Experiment

__all__ = ["RATING_BASELINES", "item_ratings_experiment"]

RATING_BASELINES = {
    "linear_predictor": linear_predictor,
    "item_mean_user_bias": item_mean_user_bias,
    "item_mean": item_mean,
}


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
        DataError: the targets are no real numbers.
    """
    train = population.split(plan.seed).train
    _, scaling = scaling_of_users(train, plan.seed)
    if scaling is None:
        raise DataError(f"the population is for {population.spec.kind}: expected a regression on item ids")
    learner = item_ratings(
        population.spec, level=scaling.mean.item(), scale=scaling.std.item(), users=len(train), known=known
    )
    return Experiment(
        name=name,
        population=population,
        model=None,
        learner=learner,
        plan=plan,
        classical=RATING_BASELINES,
        titles=titles,
    )

"""The running statistics of a module's BatchNorm layers, estimated again by the training users of a population."""

from __future__ import annotations

from torch import nn

from tegu.core.notes import note
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners.algorithms.running_statistics import running_statistics, with_running_statistics
from tegu.learners.default_dtype import float32_by_default
from tegu.learners.modules.named_output import OutputName
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.data.population import Population
from tegu.sim.engine import make_engine
from tegu.sim.training.in_process import train_in_process

__all__ = ["reestimate_statistics"]


@float32_by_default()
def reestimate_statistics(
    population: Population,
    model: nn.Module,
    *,
    rounds: int | None = None,
    cohort: int | None = None,
    seed: int = 0,
    output: OutputName | None = None,
) -> nn.Module:
    """A copy of `model` whose BatchNorm layers have the running statistics of the population's training users.

    Each user sends means and variances of its own rows, and the server averages them, each user with the same weight:
    see `running_statistics`. Hand the copy to `simulate`, with the same seed, so that held-out users stay unseen.

    Args:
        population: all users. Training users alone are asked.
        model: a module with BatchNorm layers that have running statistics. It is not changed.
        rounds: number of rounds. None means two for each BatchNorm layer, which give exact statistics if all users
            are asked.
        cohort: users per round. None means all.
        seed: of the split and of the cohorts.
        output: as in `simulate`.

    Raises:
        CompileError: as `simulate`.
        DataError: the module has no such layer, or a number is out of range.
        PopulationError: too few users or rows.
    """
    users = population.split(seed).train
    learner = running_statistics(model, population.spec, output=output)
    most = int(users.counts.max())
    plan = TrainingPlan(
        rounds=learner.recommended.rounds if rounds is None and learner.recommended else rounds,
        seed=seed,
        cohort=CohortPlan(size=len(users) if cohort is None else cohort),
        episodes=EpisodeRule(1, most, most),
        outer=OuterRule("SGD", 1.0),
        updates=UpdatePlan().in_simulation(),
    )
    trained = train_in_process(make_engine(learner, {}, "torch-vmap"), users, learner.init(seed), plan)
    note(f"the running statistics of BatchNorm layers are estimated again: {trained.user_rounds} answers of users")
    return with_running_statistics(model, trained.meta)

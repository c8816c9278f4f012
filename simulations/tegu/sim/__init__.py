"""Simulation: many users on one machine.

simulate          a population and a learner -> a bundle
run               a training plan, carried out
run_experiment    an experiment -> `runs/<name>/`
data/             users' rows, their split by user, cohorts and trials
engine/           batched graphs over users
federation/       Flower's grid in this process
training/         rounds in this process or on Ray; cross-fitting
calibration/      the schedule: how to adapt, by number of interactions
evaluation/       results on held-out users, baselines, drift
reporting/        report and tables
experiments/      the built-in experiments
"""

from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population, Split
from tegu.sim.run import Run
from tegu.sim.simulate import simulate

__all__ = ["Population", "Run", "Split", "TrainingPlan", "simulate"]

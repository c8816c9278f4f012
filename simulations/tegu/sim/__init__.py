"""Simulation: many users on one machine.

simulate        train on a population and calibrate a bundle, by default settings or by a plan
run             what a run gives
run_experiment  an experiment and its folder: bundle, metrics, report
data            populations, in memory or on disk
engine          updates, states and predictions of many users at once
federation      nodes that hold many users, in this process
training        rounds in this process, or on Ray; cross-fitting
calibration     choosing a bundle's schedule, batched over users
evaluation      held-out users, baselines, confidence intervals
reporting       tables, plots and reports
experiments     built-in experiments
"""

from tegu.core.errors import missing_extra

try:
    from tegu.core.notes import show_notes
    from tegu.server.training.plan import TrainingPlan
    from tegu.sim.data.few_shot.tasks import Tasks, few_shot_population
    from tegu.sim.data.population import Population, Split
    from tegu.sim.data.population_on_disk import read_population, write_population
    from tegu.sim.experiments.catalogue import EXPERIMENTS, find_experiment
    from tegu.sim.experiments.experiment import Experiment
    from tegu.sim.run import Run, run_plan
    from tegu.sim.run_experiment import run_experiment
    from tegu.sim.simulate import simulate
    from tegu.sim.training.on_ray import write_partitions
    from tegu.sim.training.running_statistics import reestimate_statistics
except ImportError as error:
    raise missing_extra(error, "sim") from error

show_notes()

__all__ = [
    "EXPERIMENTS",
    "Experiment",
    "Population",
    "Run",
    "Split",
    "Tasks",
    "TrainingPlan",
    "few_shot_population",
    "find_experiment",
    "read_population",
    "reestimate_statistics",
    "run_experiment",
    "run_plan",
    "simulate",
    "write_partitions",
    "write_population",
]

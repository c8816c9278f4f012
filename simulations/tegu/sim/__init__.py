"""Simulation: many users on one machine.

simulation      train on a population and calibrate a bundle, by default settings or by a plan
run             what a run gives
experiment_run  an experiment and its folder: bundle, metrics, report
data            populations, in memory or on disk
engine          updates, states and predictions of many users at once
federation      nodes that hold many users, in this process or on several machines
training        rounds in this process, or on Ray; cross-fitting
calibration     choosing a bundle's schedule, batched over users
evaluation      held-out users, baselines, confidence intervals
reporting       tables, plots and reports
experiments     built-in experiments

Names are imported on first use.
"""

from typing import TYPE_CHECKING

from tegu.core.lazy import lazy_exports
from tegu.core.notes import show_notes

if TYPE_CHECKING:
    from tegu.server.training.plan import TrainingPlan
    from tegu.sim.data.few_shot.tasks import Tasks, few_shot_population
    from tegu.sim.data.population import Population, Split
    from tegu.sim.data.population_on_disk import read_population, write_population
    from tegu.sim.engine import make_engine
    from tegu.sim.experiment_run import run_experiment
    from tegu.sim.experiments.catalogue import EXPERIMENTS, find_experiment
    from tegu.sim.experiments.experiment import Experiment
    from tegu.sim.federation.hosts import HOST_APP_DIR, write_hosts
    from tegu.sim.run import Run, run_plan
    from tegu.sim.simulation import simulate
    from tegu.sim.training.on_ray import write_partitions
    from tegu.sim.training.running_statistics import reestimate_statistics
else:  # hidden from type checkers, which would otherwise accept misspelt names
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "EXPERIMENTS": "experiments.catalogue",
            "HOST_APP_DIR": "federation.hosts",
            "Experiment": "experiments.experiment",
            "Population": "data.population",
            "Run": "run",
            "Split": "data.population",
            "Tasks": "data.few_shot.tasks",
            "TrainingPlan": "run",
            "few_shot_population": "data.few_shot.tasks",
            "find_experiment": "experiments.catalogue",
            "make_engine": "engine",
            "read_population": "data.population_on_disk",
            "reestimate_statistics": "training.running_statistics",
            "run_experiment": "experiment_run",
            "run_plan": "run",
            "simulate": "simulation",
            "write_hosts": "federation.hosts",
            "write_partitions": "training.on_ray",
            "write_population": "data.population_on_disk",
        },
        extra="sim",
    )

show_notes()

__all__ = [
    "EXPERIMENTS",
    "HOST_APP_DIR",
    "Experiment",
    "Population",
    "Run",
    "Split",
    "Tasks",
    "TrainingPlan",
    "few_shot_population",
    "find_experiment",
    "make_engine",
    "read_population",
    "reestimate_statistics",
    "run_experiment",
    "run_plan",
    "simulate",
    "write_hosts",
    "write_partitions",
    "write_population",
]

"""Built-in experiments, one a file, and the table of their names."""

from tegu.sim.experiments.catalogue import EXPERIMENTS, find_experiment
from tegu.sim.experiments.experiment import Experiment

__all__ = ["EXPERIMENTS", "Experiment", "find_experiment"]

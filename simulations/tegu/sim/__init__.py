"""Simulation: many users on one machine.

population     users' rows, and their split by user      train       rounds on the in-process grid (`ray`: on Flower's)
engine         batched graphs over users                 calibrate   how hard to adapt, by number of interactions
grid           Flower's Grid in this process             simulate    a population and a learner -> a bundle
trials         held-out users, k rows each               judge       the curve on people never seen
evaluate       methods and their scores                  run_folder  an experiment -> `runs/<name>/`
"""

from tegu.sim.population import Population, Split
from tegu.sim.simulate import Run, simulate
from tegu.sim.train import TrainingPlan

__all__ = ["Population", "Run", "Split", "TrainingPlan", "simulate"]

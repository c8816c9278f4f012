"""Simulation: many users on one machine.

population     users' rows, and their split by user      train       rounds on the in-process grid (`ray`: on Flower's)
engine         batched graphs over users                 calibrate   how hard to adapt, by number of interactions
grid           Flower's Grid in this process             simulate    a population and a learner -> a bundle
trials         held-out users, k rows each               run         what a simulation gives
evaluate       methods and their scores                  judge       the curve on people never seen
comparators    what a learner is shown against           run_folder  an experiment -> `runs/<name>/`
crossfit       who trains and who judges it            stored      what fewer bytes cost
"""

from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population, Split
from tegu.sim.run import Run
from tegu.sim.simulate import simulate

__all__ = ["Population", "Run", "Split", "TrainingPlan", "simulate"]

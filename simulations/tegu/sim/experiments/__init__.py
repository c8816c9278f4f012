"""Built-in experiments, one per file, and the catalogue of their names.

experiment          what an experiment is             catalogue          experiments by name
movielens           film clicks                       ratings            film ratings
insteval            ratings of lecturers              shakespeare        next character (`shakespeare_text`: the plays)
sine                few-shot regression               changing_sines     users whose preferences change
omniglot/           few-shot classification of characters
two_groups          users with opposite preferences, and one group without
baselines/          classical methods                 models/            models that experiments share
"""

from tegu.sim.experiments.catalogue import EXPERIMENTS, find_experiment
from tegu.sim.experiments.experiment import Experiment

__all__ = ["EXPERIMENTS", "Experiment", "find_experiment"]

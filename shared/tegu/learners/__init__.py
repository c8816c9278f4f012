"""Learners: four pure functions each, one paper a file, in torch. A device needs none of this."""

from tegu.learners.algorithms.mixture.mixture import mixture
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.learners.baselines.fedavg import fedavg
from tegu.learners.baselines.fedsgd import fedsgd
from tegu.learners.catalogue import LEARNERS, find_learner
from tegu.learners.learner import Iterated, Learner

__all__ = [
    "LEARNERS",
    "Iterated",
    "Learner",
    "fedavg",
    "fedsgd",
    "find_learner",
    "mixture",
    "reptile",
    "residual_correction",
]

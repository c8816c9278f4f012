"""Learners: four pure functions each, one paper a file, in torch. A device needs none of this."""

from tegu.learners.algorithms.mixture.mixture import mixture
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.algorithms.residual_correction import residual
from tegu.learners.baselines.fedavg import fedavg
from tegu.learners.baselines.fedsgd import joint
from tegu.learners.catalogue import LEARNERS, find_learner
from tegu.learners.learner import Iterated, Learner

__all__ = ["LEARNERS", "Iterated", "Learner", "fedavg", "find_learner", "joint", "mixture", "reptile", "residual"]

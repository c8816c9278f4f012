"""Learners: four pure functions each, one paper a file, in torch. A device needs none of this."""

from tegu.learners.catalogue import LEARNERS, find_learner
from tegu.learners.fedavg import fedavg
from tegu.learners.joint import joint
from tegu.learners.learner import Iterated, Learner
from tegu.learners.mixture import mixture
from tegu.learners.reptile import reptile
from tegu.learners.residual import residual

__all__ = ["LEARNERS", "Iterated", "Learner", "fedavg", "find_learner", "joint", "mixture", "reptile", "residual"]

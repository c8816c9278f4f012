"""Learners: four pure functions each, in torch. A device needs none of this.

algorithms    meta-learning algorithms, one paper a file
baselines     learners to compare with
learner       what a learner is
module_calls  which module of a model runs
catalogue     learners by name
inner_loop    adapting by gradient steps
solvers       solvers by matrix products
networks      networks made for a spec, and networks that embed rows
modules       what is done with a `torch.nn.Module` before a learner uses it
parameters    forms that parameters take while a user adapts
operators     operators in a form that exports to ONNX and batches over users
"""

from tegu.core.errors import missing_extra

try:
    from tegu.learners.algorithms.bayesian.bayesian_maml import bayesian_maml
    from tegu.learners.algorithms.bayesian.platipus import platipus
    from tegu.learners.algorithms.combination import combination
    from tegu.learners.algorithms.fast_adaptation.r2d2 import r2d2
    from tegu.learners.algorithms.fast_adaptation.snail import snail
    from tegu.learners.algorithms.gradient_based.maml import fomaml, maml
    from tegu.learners.algorithms.implicit_als import implicit_als
    from tegu.learners.algorithms.item_ratings import item_ratings
    from tegu.learners.algorithms.learned_optimiser.lstm_meta_learner import lstm_meta_learner
    from tegu.learners.algorithms.learned_optimiser.meta_sgd import meta_sgd
    from tegu.learners.algorithms.learned_optimiser.t_net import t_net
    from tegu.learners.algorithms.metric.matching_networks import matching_networks
    from tegu.learners.algorithms.metric.prototypical_networks import prototypical_networks
    from tegu.learners.algorithms.metric.relation_networks import relation_networks
    from tegu.learners.algorithms.mixture.mixture import mixture
    from tegu.learners.algorithms.reptile import reptile
    from tegu.learners.algorithms.residual_correction import residual_correction
    from tegu.learners.algorithms.running_statistics import running_statistics, with_running_statistics
    from tegu.learners.baselines.fedavg import fedavg
    from tegu.learners.baselines.fedsgd import fedsgd
    from tegu.learners.baselines.local_only import local_only
    from tegu.learners.catalogue import LEARNERS, find_learner
    from tegu.learners.inner_loop.optimisers import optimiser_names
    from tegu.learners.learner import CalibrationOptions, Execution, Iterated, Learner, SummedUpdate
except ImportError as error:
    raise missing_extra(error, "torch") from error

__all__ = [
    "LEARNERS",
    "CalibrationOptions",
    "Execution",
    "Iterated",
    "Learner",
    "SummedUpdate",
    "bayesian_maml",
    "combination",
    "fedavg",
    "fedsgd",
    "find_learner",
    "fomaml",
    "implicit_als",
    "item_ratings",
    "local_only",
    "lstm_meta_learner",
    "maml",
    "matching_networks",
    "meta_sgd",
    "mixture",
    "optimiser_names",
    "platipus",
    "prototypical_networks",
    "r2d2",
    "relation_networks",
    "reptile",
    "residual_correction",
    "running_statistics",
    "snail",
    "t_net",
    "with_running_statistics",
]

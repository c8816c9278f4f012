"""Prototypical networks: a row has the label whose examples' mean embedding is nearest.

Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv:1703.05175.

    adapt    the prototype of each label: the mean embedding of its examples
    predict  softmax over the labels of minus the squared Euclidean distance to their prototypes
    update   the gradient of the query's cross-entropy, through the prototypes

As in the paper, only labels with an example can be predicted, and training leaves out query rows of other labels. On a
device the others share the probability `unseen`; see `label_scores`.

Where a label means the same for everybody, `prior_count` gives each label a learned prototype for users who have no
example of it yet. It counts as that many examples: a prototype is then the mean of a Gaussian posterior, whose prior
the population learns. With 0, the paper, nothing is known of a user without interactions.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.scalars import real_number
from tegu.learners.algorithms.episodic import TRAINING, Episodic, check_kind, episodic_learner
from tegu.learners.algorithms.metric.label_scores import UNSEEN, label_log_probabilities, nearest_label_loss
from tegu.learners.algorithms.metric.prototypes import prototypes_of
from tegu.learners.learner import Learner, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.named_output import OutputName
from tegu.learners.networks.embedding import EmbeddingChoice, embedding_of

__all__ = ["PAPER", "prototypical_networks"]

PAPER = "Snell et al. 2017, Prototypical Networks for Few-shot Learning, arXiv:1703.05175"
_PRIOR = "prior/prototypes"
_CANDIDATES = [{"unseen": unseen, "temperature": t} for unseen in (0.5, 0.1, UNSEEN) for t in (4.0, 2.0, 1.0)]


def prototypical_networks(
    model: nn.Module | None,
    spec: Spec,
    *,
    embedding: EmbeddingChoice | None = None,
    prior_count: float = 0.0,
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """Prototypical networks (Snell et al. 2017, arXiv:1703.05175): compare rows with the mean of each label's examples.

    The state is `prototypes` `[labels, width]` and `counts` `[labels]`, with the knobs `temperature` (divides squared
    distances; 1 in the paper) and `unseen`. The knob `weight` is the weight of an interaction. Outputs are
    log-probabilities `[rows, labels]`.

    Args:
        model: an embedding network, from rows `[rows, *spec.x.shape]` to `[rows, width]`, or a classifier, whose
            features then are the embedding. None makes a network from the spec. It is not changed.
        spec: of a classification.
        embedding: "output" if the module's output is the embedding, "features" for what its last linear layer is
            given. None takes the features of a module with `spec.outputs` outputs, and the output of any other.
        prior_count: number of examples that a label's learned prototype counts for; 0 for none.
        init: as in `reptile`.
        output: as in `reptile`.

    Raises:
        CompileError: as `reptile`.
        DataError: the spec is for no classification, the network's output is not a vector, or a number is out of range.
        UnknownNameError: no such `embedding` or `init`.
    """
    check_kind("prototypical_networks", spec, ("classification",), "averages the examples of each label")
    prior_count = real_number("prior_count", prior_count, 0)
    network, labels = embedding_of(model, spec, embedding, output), spec.outputs
    knobs = {"weight": 1.0, "temperature": 1.0, "unseen": UNSEEN} | ({"prior": prior_count} if prior_count else {})

    def adapt(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs) -> TorchTree:
        prior = (meta[_PRIOR], knobs["prior"]) if prior_count else None
        found, zero = prototypes_of(support, labels, knobs["weight"], prior), support.mask.new_zeros(())
        kept = {name: zero + knobs[name] for name in ("temperature", "unseen")}
        return {"prototypes": found.means, "counts": found.counts, **kept}

    def scores(state: TorchTree, x: Tensor) -> Tensor:
        # Minus the squared distance, without the row's own length, which is the same for all labels.
        prototypes = state["prototypes"]
        return (2 * x @ prototypes.T - prototypes.square().sum(-1)) / state["temperature"]

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        del meta
        return label_log_probabilities(scores(state, x), state["counts"], state["unseen"])

    def loss(meta: TorchTree, state: TorchTree, query: TorchBatch) -> Tensor:
        del meta
        return nearest_label_loss(scores(state, query.x), state["counts"], query)

    def own(seed: int) -> Tree:
        drawn = keyed_rng("prototypical_networks", seed).standard_normal((labels, network.width))
        return {_PRIOR: np.asarray(drawn, np.float32)} if prior_count else {}

    counts = [{"prior": prior_count * factor} for factor in (4.0, 1.0, 0.25)] if prior_count else [{}]
    form = Episodic(
        adapt,
        predict,
        loss,
        knobs,
        {**knobs, "weight": 0.0},
        [{**each, **count} for count in counts for each in (_CANDIDATES if not prior_count else _CANDIDATES[-3:])],
        own,
        TRAINING,
    )
    return episodic_learner("prototypical_networks", PAPER, spec, network, form, init)

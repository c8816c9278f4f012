"""Relation networks: a learned module says how well a row and the examples of a label belong together.

Sung, Yang, Zhang, Xiang, Torr and Hospedales, "Learning to Compare: Relation Network for Few-Shot Learning", 2018,
arXiv:1711.06025.

    adapt    the mean embedding of each label's examples
    predict  the relation score of each label, from 0 to 1: the relation module on the label's mean and the row, side by
             side, and a sigmoid. Probabilities are proportional to the scores
    update   the gradient of the squared error of the scores, against 1 for the row's label and 0 for others

The paper adds up the embeddings of a label's examples, of which an episode has a fixed number. Users have any number of
them, so that here it is their mean; it is the same for one example. The paper's relation module is convolutional,
on feature maps; here embeddings are vectors and it has hidden layers.

The paper puts both embeddings side by side and allows other operators (section 3.1). Side by side alone, vectors take
very long to be compared at all: all scores stay the same. The module made here also sees their absolute difference.

Only labels with an example have a score, and training leaves out query rows of other labels. On a device the others
share the probability `unseen`; see `label_scores`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn

from tegu.core.data.spec import Field, Spec
from tegu.core.data.tree import Tree
from tegu.learners.algorithms.episodic import (
    TRAINING,
    Episodic,
    check_kind,
    episodic_learner,
    module_entries,
    module_parameters,
)
from tegu.learners.algorithms.metric.label_scores import UNSEEN, known_rows, label_log_probabilities
from tegu.learners.algorithms.metric.prototypes import prototypes_of
from tegu.learners.learner import Learner, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.functional import call
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.named_output import OutputName
from tegu.learners.networks.embedding import EmbeddingChoice, embedding_of
from tegu.learners.operators.exportable import one_hot

__all__ = ["PAPER", "relation_networks"]

PAPER = "Sung et al. 2018, Learning to Compare: Relation Network for Few-Shot Learning, arXiv:1711.06025"
_PREFIX = "relation"
_HIDDEN = 64
_TRAINING = TRAINING._replace(lr=0.001)  # with 0.003 all scores became the same
_CANDIDATES = [{"unseen": unseen, "temperature": t} for unseen in (0.5, 0.1, UNSEEN) for t in (2.0, 1.0, 0.5)]


def relation_networks(
    model: nn.Module | None,
    spec: Spec,
    *,
    embedding: EmbeddingChoice | None = None,
    relation: nn.Module | None = None,
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """Relation networks (Sung et al. 2018, arXiv:1711.06025): the comparison with a user's examples is learned.

    The state is `prototypes` `[labels, width]` and `counts` `[labels]`, with the knobs `temperature` (divides the
    logarithms of the scores) and `unseen`. The knob `weight` is the weight of an interaction. Outputs are
    log-probabilities `[rows, labels]`.

    Args:
        model: as in `prototypical_networks`.
        spec: of a classification.
        embedding: as in `prototypical_networks`.
        relation: maps a label's mean and a row, `[pairs, 2 * width]`, to the logit of the relation score `[pairs, 1]`.
            None makes a network of two hidden layers, each normalised, of both and their absolute difference. Its
            first parameters are drawn from the seed. It is not changed.
        init: as in `reptile`.
        output: as in `reptile`.

    Raises:
        CompileError: as `reptile`.
        DataError: the spec is for no classification, the network's output is not a vector, or the relation module gives
            another shape.
        UnknownNameError: no such `embedding` or `init`.
    """
    check_kind("relation_networks", spec, ("classification",), "compares a row with the examples of each label")
    network = embedding_of(model, spec, embedding, output)
    pairs = Spec("regression", Field((2 * network.width,), "float32"), Field((1,), "float32"), 1)
    compare = checked_module(relation or _Relation(network.width), pairs)
    knobs = {"weight": 1.0, "temperature": 1.0, "unseen": UNSEEN}

    def adapt(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs) -> TorchTree:
        del meta
        found, zero = prototypes_of(support, spec.outputs, knobs["weight"]), support.mask.new_zeros(())
        kept = {name: zero + knobs[name] for name in ("temperature", "unseen")}
        return {"prototypes": found.means, "counts": found.counts, **kept}

    def logits(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        """Of the relation scores, `[rows, labels]`."""
        width = network.width
        side_by_side = F.pad(state["prototypes"], [0, width]).unsqueeze(0) + F.pad(x, [width, 0]).unsqueeze(1)
        found = call(compare, module_parameters(_PREFIX, meta), side_by_side.reshape(-1, 2 * width))
        return found.reshape(-1, spec.outputs)

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        scores = F.logsigmoid(logits(meta, state, x)) / state["temperature"]
        return label_log_probabilities(scores, state["counts"], state["unseen"])

    def loss(meta: TorchTree, state: TorchTree, query: TorchBatch) -> Tensor:
        known = (state["counts"] > 0).to(query.mask.dtype)
        errors = (logits(meta, state, query.x).sigmoid() - one_hot(query.y, spec.outputs)).square()
        weights = known_rows(state["counts"], query)
        return (errors @ known * weights).sum() / (weights.sum().clamp(min=1) * known.sum().clamp(min=1))

    def own(seed: int) -> Tree:
        return module_entries(_PREFIX, compare, seed)

    form = Episodic(adapt, predict, loss, knobs, {**knobs, "weight": 0.0}, _CANDIDATES, own, _TRAINING)
    return episodic_learner("relation_networks", PAPER, spec, network, form, init)


class _Relation(nn.Module):
    """As in the paper two normalised layers and a score; each pair is normalised by itself, not over a batch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, layers = width, list[nn.Module]()
        for size in (3 * width, _HIDDEN):
            layers += [nn.Linear(size, _HIDDEN), nn.LayerNorm(_HIDDEN), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(_HIDDEN, 1))

    def forward(self, pairs: Tensor) -> Tensor:
        label, row = pairs.reshape(-1, 2, self.width).unbind(1)
        logits: Tensor = self.layers(torch.cat([pairs, (label - row).abs()], 1))
        return logits

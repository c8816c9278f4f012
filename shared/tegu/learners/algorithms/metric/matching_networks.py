"""Matching networks: a row's label is the mean of the examples' labels, by attention to similar examples.

Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra, "Matching Networks for One Shot Learning", 2016,
arXiv:1606.04080.

    adapt    keeps the embedded examples and their labels
    predict  sum over examples of a(x, x_i) y_i, in which a is the softmax over examples of the cosine
    update   the gradient of the query's cross-entropy

With `full_context`, examples and queries are embedded in the context of the whole support; see `full_context`.

The paper's cosine is not scaled, so that its attention is never sharp. The knob `temperature`, 1 in the paper, divides
the cosine, in training too. Calibration also tries other values.

As in the paper, only labels with an example can be predicted, and training leaves out query rows of other labels. On a
device the others share the probability `unseen`; see `label_scores`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.scalars import real_number, whole_number
from tegu.learners.algorithms.episodic import TRAINING, Episodic, check_kind, episodic_learner
from tegu.learners.algorithms.metric.full_context import context_entries, query_in_context, support_in_context
from tegu.learners.algorithms.metric.label_scores import UNSEEN, label_log_probabilities, nearest_label_loss
from tegu.learners.learner import Learner, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.named_output import OutputName
from tegu.learners.networks.embedding import EmbeddingChoice, embedding_of
from tegu.learners.operators.exportable import one_hot
from tegu.learners.solvers.kernel import unit_length

__all__ = ["PAPER", "matching_networks"]

PAPER = "Vinyals et al. 2016, Matching Networks for One Shot Learning, arXiv:1606.04080"
_WINDOW = 256  # rows that a device keeps
_SHARPEST = 0.001
_TINY = 1e-30  # of attention to a label: its logarithm is finite
_CANDIDATES = [{"unseen": unseen, "temperature": t} for unseen in (0.5, 0.1, UNSEEN) for t in (1.0, 0.3, 0.1, 0.03)]


def matching_networks(
    model: nn.Module | None,
    spec: Spec,
    *,
    embedding: EmbeddingChoice | None = None,
    full_context: bool = False,
    looks: int = 5,
    temperature: float = 1.0,
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """Matching networks (Vinyals et al. 2016, arXiv:1606.04080): compare rows with each of a user's examples.

    The state is `examples` `[rows, width]` and `labels` `[rows, labels]`, one-hot times the row's weight, with the
    knobs `temperature` and `unseen`. The knob `weight` is the weight of an interaction. Outputs are log-probabilities
    `[rows, labels]`.

    Args:
        model: as in `prototypical_networks`.
        spec: of a classification.
        embedding: as in `prototypical_networks`.
        full_context: whether rows are embedded in the context of the support. Its order then matters.
        looks: how often a query looks at the support, with `full_context` alone.
        temperature: that training uses, at least 0.001. With less than the paper's 1, far fewer rounds are needed.
        init: as in `reptile`.
        output: as in `reptile`.

    Raises:
        CompileError: as `reptile`.
        DataError: the spec is for no classification, the network's output is not a vector, or a number is out of range.
        UnknownNameError: no such `embedding` or `init`.
    """
    check_kind("matching_networks", spec, ("classification",), "compares a row with examples of labels")
    looks = whole_number("looks", looks, 1)
    network = embedding_of(model, spec, embedding, output)
    temperature = float(real_number("temperature", temperature, _SHARPEST))
    knobs = {"weight": 1.0, "temperature": temperature, "unseen": UNSEEN}

    def adapt(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs) -> TorchTree:
        support = _with_a_row(support) if full_context else support
        weights, zero = support.mask * knobs["weight"], support.mask.new_zeros(())
        examples = support_in_context(meta, support.x, weights) if full_context else support.x
        labels = one_hot(support.y, spec.outputs) * weights.unsqueeze(-1)
        kept = {name: zero + knobs[name] for name in ("temperature", "unseen")}
        return {"examples": examples * 1, "labels": labels, **kept}

    def scores(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        examples, weights = state["examples"], state["labels"].sum(-1)
        rows = query_in_context(meta, x, examples, weights, looks) if full_context else x
        cosine = unit_length(rows) @ unit_length(examples).T
        attention = torch.exp((cosine - 1) / state["temperature"])  # a softmax, once labels are normalised
        return (attention @ state["labels"]).clamp(min=_TINY).log()

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        return label_log_probabilities(scores(meta, state, x), state["labels"].sum(0), state["unseen"])

    def loss(meta: TorchTree, state: TorchTree, query: TorchBatch) -> Tensor:
        return nearest_label_loss(scores(meta, state, query.x), state["labels"].sum(0), query)

    def own(seed: int) -> Tree:
        return context_entries(network.width, seed) if full_context else {}

    form = Episodic(
        adapt,
        predict,
        loss,
        knobs,
        {**knobs, "weight": 0.0},
        _CANDIDATES,
        own,
        TRAINING,
        _WINDOW,
        order_invariant=not full_context,
    )
    return episodic_learner("matching_networks", PAPER, spec, network, form, init)


def _with_a_row(support: TorchBatch) -> TorchBatch:
    """The support and a row of weight 0: recurrent networks and attention need one."""
    return Batch(F.pad(support.x, [0, 0, 0, 1]), F.pad(support.y, [0, 1]), F.pad(support.mask, [0, 1]))

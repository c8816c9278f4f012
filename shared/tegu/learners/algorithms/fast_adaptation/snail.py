"""SNAIL: a network of causal convolutions and causal attention reads a user's rows, and then the row to predict.

Mishra, Rohaninejad, Chen and Abbeel, "A Simple Neural Attentive Meta-Learner", 2018, arXiv:1707.03141.

    adapt    what each layer keeps of the sequence of embedded support rows, each with its label or value
    predict  the output at the place after them, for a row without a label
    update   the gradient of the query's loss through the network

The paper's sequence is the support and one query. Layers are causal, so that the support is read once for all queries;
see `snail_blocks`. The sequence has `window` places: the newest rows are read, and fewer leave the first places empty.

The update follows the query's loss after the support plus that without any support. A user without interactions then
gets what is best for a new user, which the paper's episodes do not ask for. For classification, the first attention
starts as a comparison of rows; see `first_attention`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.scalars import whole_number
from tegu.learners.algorithms.episodic import (
    TRAINING,
    Episodic,
    check_kind,
    episodic_learner,
    module_entries,
    module_parameters,
)
from tegu.learners.algorithms.fast_adaptation.first_attention import start_by_comparing
from tegu.learners.algorithms.fast_adaptation.snail_blocks import after, layers_of, parameters_of, read_sequence
from tegu.learners.learner import Learner, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.modules.functional import Given
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.losses import OutputLoss, find_loss, masked_mean
from tegu.learners.modules.named_output import OutputName
from tegu.learners.networks.embedding import EmbeddingChoice, embedding_of
from tegu.learners.operators.exportable import one_hot
from tegu.learners.operators.tensors.pieces import concatenate

__all__ = ["PAPER", "snail"]

PAPER = "Mishra et al. 2018, A Simple Neural Attentive Meta-Learner, arXiv:1707.03141"
_PREFIX = "snail"
_FIRST = "snail/0"  # the first layer, an attention
_TRAINING = TRAINING._replace(lr=0.001)
_CANDIDATES = [{"temperature": temperature} for temperature in (2.0, 1.0)]


def snail(
    model: nn.Module | None,
    spec: Spec,
    *,
    embedding: EmbeddingChoice | None = None,
    window: int = 32,
    filters: int = 32,
    loss: str | OutputLoss | None = None,
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """SNAIL (Mishra et al. 2018, arXiv:1707.03141): a sequence model over a user's rows.

    The state is what `snail_blocks.read_sequence` keeps. The knob `weight` is the weight of an interaction, and
    `temperature` divides logits. For classification the outputs are log-probabilities.

    Args:
        model: as in `r2d2`.
        spec: of a classification or a regression.
        embedding: as in `prototypical_networks`.
        window: number of a user's newest rows that are read.
        filters: of a convolution; 128 in the paper.
        loss: as in `reptile`.
        init: as in `reptile`.
        output: as in `reptile`.

    Raises:
        CompileError: as `reptile`.
        DataError: the spec is of another kind, the network's output is not a vector, or a number is out of range.
        UnknownNameError: no such `embedding`, `loss` or `init`.
    """
    check_kind("snail", spec, ("classification", "regression"), "reads labels or values")
    window, filters = whole_number("window", window, 1), whole_number("filters", filters, 1)
    network, rows_loss = embedding_of(model, spec, embedding, output), find_loss(loss, spec)
    layers = layers_of(network.width + spec.outputs, window + 1, filters)
    of_labels = spec.kind == "classification"
    knobs = {"weight": 1.0, **({"temperature": 1.0} if of_labels else {})}

    def adapt(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs) -> TorchTree:
        targets = one_hot(support.y, spec.outputs) if of_labels else support.y
        weights = support.mask * knobs["weight"]
        places = _places(weights, window)
        sequence = places @ concatenate([support.x, targets], 1)
        kept = read_sequence(layers, module_parameters(_PREFIX, meta), sequence, places @ weights)
        return kept | ({"temperature": weights.new_zeros(()) + knobs["temperature"]} if of_labels else {})

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        found = after(layers, module_parameters(_PREFIX, meta), state, F.pad(x, [0, spec.outputs]))
        return torch.log_softmax(found / state["temperature"], -1) if of_labels else found

    def query_loss(meta: TorchTree, state: TorchTree, query: TorchBatch) -> Tensor:
        nothing = {name: value if name == "temperature" else value * 0 for name, value in state.items()}
        outputs = [predict(meta, each, query.x) for each in (state, nothing)]
        first, second = (masked_mean(rows_loss, Given(network.module, meta, output=each), query) for each in outputs)
        return first + second

    def own(seed: int) -> Tree:
        entries = module_entries(_PREFIX, parameters_of(layers, spec.outputs), seed)
        if not of_labels:
            return entries
        compared = start_by_comparing(entries[f"{_FIRST}.weight"], entries[f"{_FIRST}.bias"], network.width, seed)
        return {**entries, **{f"{_FIRST}.{part}": value for part, value in compared.items()}}

    form = Episodic(
        adapt,
        predict,
        query_loss,
        knobs,
        {**knobs, "weight": 0.0},
        _CANDIDATES if of_labels else [{}],
        own,
        _TRAINING,
        window,
        order_invariant=False,
    )
    return episodic_learner("snail", PAPER, spec, network, form, init)


def _places(weights: Tensor, window: int) -> Tensor:
    """Which row is at which place, `[window, rows]` of 0 and 1: the newest row last, rows of weight 0 nowhere."""
    real, position = (weights > 0).to(weights.dtype), torch.arange(weights.shape[0], device=weights.device)
    later = (position.unsqueeze(0) > position.unsqueeze(1)).to(weights.dtype) @ real
    from_end = torch.arange(window - 1, -1, -1, device=weights.device, dtype=weights.dtype)
    return (from_end.unsqueeze(1) == later.unsqueeze(0)).to(weights.dtype) * real

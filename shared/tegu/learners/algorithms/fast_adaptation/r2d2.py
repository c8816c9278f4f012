"""R2-D2: ridge regression on a user's embedded rows, learned through its closed form.

Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with differentiable closed-form solvers", 2019,
arXiv:1805.08136.

    adapt    W = X' (X X' + ridge I)^-1 Y for the support's embeddings X and its one-hot labels or values Y
    predict  scale * (x W) + bias
    update   the gradient of the query's loss through the solution, by the embedding and by ridge, scale and bias

The Woodbury form above is used for fewer rows than features; see `tegu.learners.solvers.ridge`. `ridge` and `scale` are
learned as logarithms, which keeps them positive. A column of ones is appended to the embeddings, so that W holds an
intercept. Embeddings are divided by the root of their width: the same method, whose ridge has one size for all widths.

With no rows W is 0, and the prediction is the bias: uniform over labels, or the learned values of a new user.
"""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.learners.algorithms.episodic import TRAINING, Episodic, check_kind, episodic_learner
from tegu.learners.learner import Learner, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.modules.functional import Given
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.losses import OutputLoss, find_loss, masked_mean
from tegu.learners.modules.named_output import OutputName
from tegu.learners.networks.embedding import EmbeddingChoice, embedding_of
from tegu.learners.operators.exportable import one_hot
from tegu.learners.solvers.ridge import ridge_weights

__all__ = ["PAPER", "r2d2"]

PAPER = "Bertinetto et al. 2019, Meta-learning with differentiable closed-form solvers, arXiv:1805.08136"
_RIDGE, _SCALE, _BIAS = "r2d2/log_ridge", "r2d2/log_scale", "r2d2/bias"
_FIRST_RIDGE = 0.1
_FIRST_SCALE = MappingProxyType({"classification": 10.0, "regression": 1.0})  # of logits, whose targets are 0 and 1
_WINDOW = 256  # rows: the cost of the inverse grows with their cube
_FACTORS = (10.0, 3.0, 1.0, 0.3)
_SHARES = (0.5, 1.0)


def r2d2(
    model: nn.Module | None,
    spec: Spec,
    *,
    embedding: EmbeddingChoice | None = None,
    loss: str | OutputLoss | None = None,
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """R2-D2 (Bertinetto et al. 2019, arXiv:1805.08136): ridge regression in an embedding that is trained for it.

    The state is `weights` `[width + 1, outputs]`, the intercept last. The knobs `ridge` and `share` multiply the
    learned ridge and the weights. For classification the outputs are log-probabilities.

    Args:
        model: an embedding network, from rows `[rows, *spec.x.shape]` to `[rows, width]`, or a model of the spec's
            outputs, whose features then are the embedding. None makes a network from the spec. It is not changed.
        spec: of a classification or a regression.
        embedding: as in `prototypical_networks`.
        loss: as in `reptile`.
        init: as in `reptile`.
        output: as in `reptile`.

    Raises:
        CompileError: as `reptile`.
        DataError: the spec is of another kind, or the network's output is not a vector.
        UnknownNameError: no such `embedding`, `loss` or `init`.
    """
    check_kind("r2d2", spec, ("classification", "regression"), "fits ridge regression to labels or values")
    network, rows_loss = embedding_of(model, spec, embedding, output), find_loss(loss, spec)
    of_labels = spec.kind == "classification"
    knobs = {"ridge": 1.0, "share": 1.0}

    def rows_of(x: Tensor) -> Tensor:
        return F.pad(x / math.sqrt(network.width), [0, 1], value=1.0)

    def adapt(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs) -> TorchTree:
        targets = one_hot(support.y, spec.outputs) if of_labels else support.y
        ridge = meta[_RIDGE].exp() * knobs["ridge"]
        return {"weights": knobs["share"] * ridge_weights(rows_of(support.x), targets, support.mask, ridge)}

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        found = meta[_SCALE].exp() * (rows_of(x) @ state["weights"]) + meta[_BIAS]
        return torch.log_softmax(found, -1) if of_labels else found

    def query_loss(meta: TorchTree, state: TorchTree, query: TorchBatch) -> Tensor:
        return masked_mean(rows_loss, Given(network.module, meta, output=predict(meta, state, query.x)), query)

    def own(seed: int) -> Tree:
        del seed
        bias = np.zeros(() if of_labels else (spec.outputs,), np.float32)
        scale = np.asarray(math.log(_FIRST_SCALE[spec.kind]), np.float32)
        return {_RIDGE: np.asarray(math.log(_FIRST_RIDGE), np.float32), _SCALE: scale, _BIAS: bias}

    form = Episodic(
        adapt,
        predict,
        query_loss,
        knobs,
        {**knobs, "share": 0.0},
        [{"share": share, "ridge": factor} for share in _SHARES for factor in _FACTORS],
        own,
        TRAINING,
        _WINDOW,
    )
    return episodic_learner("r2d2", PAPER, spec, network, form, init)

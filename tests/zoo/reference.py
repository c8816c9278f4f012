"""The same work in plain torch and numpy: gradient steps, and the correction of residuals."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from tests.zoo.entry import Entry
from torch import Tensor, nn

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree

__all__ = ["corrected", "sgd_change", "with_parameters"]

RIDGE, WEIGHT, WIDTH, ITERATIONS = 0.1, 0.5, 0.25, 12  # of residual correction, as its documentation gives them


def with_parameters(model: nn.Module, meta: Tree) -> nn.Module:
    """`model` in evaluation mode and double precision, with the parameters `meta`."""
    for name, parameter in model.named_parameters():
        parameter.data = torch.tensor(np.array(meta[name]))
    return model.eval().double()


def _tensor(values: Array) -> Tensor:
    tensor = torch.tensor(values)
    return tensor.double() if tensor.is_floating_point() else tensor


def sgd_change(entry: Entry, model: nn.Module, x: Array, y: Array, lr: float) -> Tree:
    """What one step of SGD on the mean loss of all rows takes away from each parameter."""
    inputs, targets = _tensor(x), _tensor(y)
    if entry.spec.kind == "ranking":
        scores = model(torch.arange(entry.spec.items))
        rows = -F.log_softmax(scores, 0)[inputs] * targets
    elif entry.loss is not None:
        rows = entry.loss(model(inputs), targets)
    elif entry.spec.kind == "classification":
        rows = F.cross_entropy(model(inputs), targets, reduction="none")
    else:
        rows = F.mse_loss(model(inputs), targets, reduction="none").mean(1)
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    found = torch.autograd.grad(rows.mean(), [parameter for _, parameter in trained], allow_unused=True)
    return {
        name: np.zeros(tuple(parameter.shape)) if grad is None else lr * grad.numpy()
        for (name, parameter), grad in zip(trained, found, strict=True)
    }


def corrected(entry: Entry, model: nn.Module, support: tuple[Array, Array], x: Array) -> Array:
    """The model's outputs for `x`, corrected by kernel regression on the support."""
    (own, own_features), (new, features) = (_outputs(model, rows) for rows in (support[0], x))
    gram, cross = (np.exp((a @ own_features.T - 1) / WIDTH) for a in (own_features, features))
    if entry.spec.kind != "classification":
        return new + WEIGHT * cross @ np.linalg.solve(gram + RIDGE * np.eye(len(gram)), support[1] - own)
    weights = _logistic(gram, own, np.eye(entry.spec.outputs)[support[1]])
    return _log_softmax(new + WEIGHT * cross @ weights)


def _logistic(gram: Array, start: Array, targets: Array) -> Array:
    """Weights of logistic regression around `start`: accelerated steps, with 1/2 for the curvature of every row."""
    inverse = np.linalg.inv(gram / 2 + RIDGE * np.eye(len(gram)))
    weights = ahead = np.zeros_like(targets)
    for number in range(ITERATIONS):
        slope = np.exp(_log_softmax(start + gram @ ahead)) - targets + RIDGE * ahead
        before, weights = weights, ahead - inverse @ slope
        ahead = weights + number / (number + 3) * (weights - before)
    return weights


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _outputs(model: nn.Module, x: Array) -> tuple[Array, Array]:
    """Outputs and the features: what the last linear layer that sees one vector a row was given."""
    seen = list[Tensor]()
    linear = F.linear

    def recorded(inputs: Tensor, *others: Tensor) -> Tensor:
        if inputs.dim() == 2:
            seen.append(inputs)
        return linear(inputs, *others)

    F.linear = recorded
    try:
        with torch.no_grad():
            output = model(_tensor(x))
    finally:
        F.linear = linear
    features = (seen[-1] if seen else output).numpy()
    lengths = np.sqrt((features**2).sum(1, keepdims=True) + 1e-12)
    return output.numpy(), features / lengths

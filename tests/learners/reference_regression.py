"""Kernel regression around given outputs by Newton's method in float64, independent of the solver that is tested."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tegu.core.data.spec import Kind

Array = npt.NDArray[np.float64]


def newton(
    kernel: Array, start: Array, targets: Array, ridge: float, kind: Kind, weights_of_rows: Array | None = None
) -> Array:
    """The coefficients `[rows, outputs]` of the f that minimises the loss plus `ridge / 2 * |f|^2`; f = kernel @ them.

    Args:
        kernel: `[rows, rows]`.
        start: `[rows, outputs]`, added to f.
        targets: `[rows, outputs]`.
        ridge: above 0.
        kind: of the loss: half the squared error, or the cross-entropy.
        weights_of_rows: `[rows]`, the weight of each row's loss; None for 1.
    """
    rows, outputs = targets.shape
    own = np.ones(rows) if weights_of_rows is None else weights_of_rows
    found, wide = np.zeros_like(targets), np.kron(kernel, np.eye(outputs))
    for _ in range(100):
        means, slopes = _means(start + kernel @ found, kind)
        slope = own[:, None] * (means - targets) + ridge * found
        if np.abs(slope).max() < 1e-9:
            return found
        blocks = np.zeros((rows * outputs, rows * outputs))
        for row in range(rows):
            part = slice(row * outputs, (row + 1) * outputs)
            blocks[part, part] = own[row] * slopes[row]
        change = np.linalg.solve(blocks @ wide + ridge * np.eye(rows * outputs), slope.ravel()).reshape(rows, outputs)
        step, before = 1.0, _objective(kernel, start, targets, ridge, kind, own, found)
        while _objective(kernel, start, targets, ridge, kind, own, found - step * change) > before + 1e-12:
            step /= 2
        found = found - step * change
    raise AssertionError("Newton's method has not converged")


def _objective(
    kernel: Array, start: Array, targets: Array, ridge: float, kind: Kind, own: Array, found: Array
) -> float:
    f = kernel @ found
    z, penalty = start + f, ridge / 2 * float((found * f).sum())
    if kind == "regression":
        losses = np.square(z - targets).sum(1) / 2
    elif kind == "multilabel":
        losses = (np.logaddexp(0, z) - targets * z).sum(1)
    else:
        highest = z.max(1)
        losses = highest + np.log(np.exp(z - highest[:, None]).sum(1)) - (targets * z).sum(1)
    return float(own @ losses) + penalty


def _means(outputs: Array, kind: Kind) -> tuple[Array, Array]:
    """Expected targets, and their derivatives by the outputs of the same row `[rows, outputs, outputs]`."""
    identity = np.eye(outputs.shape[1])
    if kind == "regression":
        return outputs, np.broadcast_to(identity, (*outputs.shape, outputs.shape[1]))
    if kind == "multilabel":
        means = 1 / (1 + np.exp(-outputs))
        return means, (means * (1 - means))[:, :, None] * identity
    powers = np.exp(outputs - outputs.max(1, keepdims=True))
    means = powers / powers.sum(1, keepdims=True)
    return means, means[:, :, None] * identity - means[:, :, None] * means[:, None, :]

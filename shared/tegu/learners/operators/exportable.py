"""Torch operators in plain arithmetic, in place of those that do not compile.

Fused operators (`layer_norm`, `gelu`, `gru`, ...) have special gradients that `torch.func.vmap` computes user by user,
which fixes the number of users in a graph. `cross_entropy` exports a gradient that is wrong for more than one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tegu.learners.operators import activations, normalisation
from tegu.learners.operators.attention import multi_head_attention_forward, scaled_dot_product_attention
from tegu.learners.operators.cells import gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell
from tegu.learners.operators.embeddings import Lookup, embedding, embedding_bag, from_table
from tegu.learners.operators.linear import linear, matmul
from tegu.learners.operators.pooling import POOLING
from tegu.learners.operators.randomness import RANDOMNESS
from tegu.learners.operators.recurrent import gru, lstm, rnn_relu, rnn_tanh
from tegu.learners.operators.tensors import indexing, matrices, sampling, scans, writes
from tegu.learners.operators.tensors.choosing import CHOOSING
from tegu.learners.operators.tensors.foreign import refuse_foreign
from tegu.learners.operators.tensors.paddings import pad
from tegu.learners.operators.tensors.pieces import PIECES

__all__ = ["Lookup", "PlainOperators", "concatenate_rows", "from_table", "one_hot", "softmax_cross_entropy"]


class PlainOperators(TorchFunctionMode):
    """Replaces torch's operators by those of this module inside the `with` block.

    Args:
        look_up: the function that returns rows for embeddings, (ids, table) -> rows.
        outputs: given outputs of linear layers, by the `id` of their weight. Other layers compute their output.
    """

    def __init__(self, look_up: Lookup = from_table, outputs: Mapping[int, Tensor] | None = None) -> None:
        super().__init__()
        self._look_up, self._outputs = look_up, outputs or {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        if func is F.embedding:
            return embedding(self._look_up, *args, **(kwargs or {}))
        if func is F.embedding_bag:
            return embedding_bag(self._look_up, *args, **(kwargs or {}))
        if func is F.linear and id(args[1]) in self._outputs:
            return self._outputs[id(args[1])]
        return refuse_foreign(func, _PLAIN.get(func, func)(*args, **(kwargs or {})))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """One-hot encoding of labels `[rows]`, float32 `[rows, classes]`."""
    return (labels.unsqueeze(-1) == torch.arange(classes, device=labels.device)).to(torch.float32)


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy whose gradient is one Softmax and a difference, three times as fast as torch's log_softmax."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, targets: Tensor) -> Tensor:
        return -(torch.log_softmax(logits, -1) * targets).sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, targets = ctx.saved_tensors
        # Expanded once for all steps: ONNX Runtime broadcasts a short last axis at a tenth of its usual speed.
        weights = grad.unsqueeze(-1) * torch.ones_like(targets)
        return weights * (torch.softmax(logits, -1) - targets), None


def softmax_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy `[rows]` of logits `[rows, classes]` against targets `[rows, classes]` that sum to 1 per row."""
    rows: Tensor = _CrossEntropy.apply(logits, targets)  # type: ignore[no-untyped-call] # torch has no type for it
    return rows


def concatenate_rows(first: Tensor, second: Tensor) -> Tensor:
    """The rows of both tensors, as `torch.cat` returns them.

    It uses padding because an exported `torch.cat` that `vmap` batches over users fixes their number.
    """
    others = [0, 0] * (first.dim() - 1)
    return F.pad(first, [*others, 0, second.shape[0]]) + F.pad(second, [*others, first.shape[0], 0])


def _cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    options = (weight, size_average, ignore_index, reduce, label_smoothing)
    if options != (None, None, -100, None, 0.0) or logits.dim() != 2 or target.is_floating_point():
        return F.cross_entropy(logits, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing)
    rows = softmax_cross_entropy(logits, one_hot(target, logits.shape[-1]))
    return {"none": rows, "mean": rows.mean(), "sum": rows.sum()}[reduction]


def _error(function: Callable[..., Any], per_entry: Callable[[Tensor, float], Tensor]) -> Callable[..., Any]:
    """A loss of the difference, without weights or reduction; with either of them, torch's own function."""

    def error(output: Tensor, target: Tensor, *options: Any, **named: Any) -> Any:
        scale = named.get("beta", named.get("delta", 1.0))
        others = [value for name, value in named.items() if name not in ("beta", "delta", "reduction")]
        if options or any(value is not None for value in others) or named.get("reduction") != "none":
            return function(output, target, *options, **named)
        return per_entry((output - target), scale)

    return error


def _smooth_l1(difference: Tensor, beta: float) -> Tensor:
    size = difference.abs()
    return torch.where(size < beta, 0.5 * size * size / max(beta, 1e-12), size - 0.5 * beta)


def _gaussian_nll(
    output: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """`F.gaussian_nll_loss`, which looks at the data for variances below 0."""
    spread = torch.as_tensor(var, dtype=output.dtype).expand_as(output)
    spread = spread + (spread.clamp(min=eps) - spread).detach()  # as in torch, the bound does not stop the gradient
    rows = 0.5 * (torch.log(spread) + (output - target).square() / spread)
    rows = rows + 0.5 * math.log(2 * math.pi) if full else rows
    return {"none": rows, "mean": rows.mean(), "sum": rows.sum()}[reduction]


_PLAIN: dict[Any, Callable[..., Any]] = {
    F.gelu: activations.gelu,
    F.glu: activations.glu,
    F.silu: activations.silu,
    F.mish: activations.mish,
    F.rrelu: activations.rrelu,
    F.layer_norm: normalisation.layer_norm,
    F.rms_norm: normalisation.rms_norm,
    F.group_norm: normalisation.group_norm,
    F.batch_norm: normalisation.batch_norm,
    F.instance_norm: normalisation.instance_norm,
    F.local_response_norm: normalisation.local_response_norm,
    F.pad: pad,
    F.bilinear: matrices.bilinear,
    torch.cdist: matrices.cdist,
    torch.linalg.householder_product: matrices.householder_product,
    torch.linalg.inv: matrices.inverse,
    torch.linalg.solve: matrices.solve,
    torch.linalg.matrix_exp: matrices.matrix_exp,
    torch.matrix_exp: matrices.matrix_exp,
    **dict.fromkeys([torch.cumprod, Tensor.cumprod], scans.cumprod),
    **dict.fromkeys([torch.prod, Tensor.prod], scans.prod),
    **dict.fromkeys([torch.median, Tensor.median], scans.median),
    **dict.fromkeys([torch.inverse, Tensor.inverse], matrices.inverse),
    **dict.fromkeys([torch.cummax, Tensor.cummax], scans.cummax),
    **dict.fromkeys([torch.cummin, Tensor.cummin], scans.cummin),
    **dict.fromkeys([torch.diagonal, Tensor.diagonal], indexing.diagonal),
    **dict.fromkeys([torch.squeeze, Tensor.squeeze], indexing.squeeze),
    Tensor.unfold: indexing.unfold,
    Tensor.__setitem__: writes.setitem,
    F.affine_grid: sampling.affine_grid,
    F.grid_sample: sampling.grid_sample,
    **POOLING,
    **CHOOSING,
    **PIECES,
    **RANDOMNESS,
    Tensor.__len__: indexing.length,
    F.cross_entropy: _cross_entropy,
    F.mse_loss: _error(F.mse_loss, lambda difference, _: difference.square()),
    F.smooth_l1_loss: _error(F.smooth_l1_loss, _smooth_l1),
    F.huber_loss: _error(F.huber_loss, lambda difference, delta: delta * _smooth_l1(difference, delta)),
    F.gaussian_nll_loss: _gaussian_nll,
    Tensor.__getitem__: indexing.getitem,
    F.linear: linear,
    torch.matmul: matmul,
    Tensor.matmul: matmul,
    Tensor.__matmul__: matmul,
    F.scaled_dot_product_attention: scaled_dot_product_attention,
    F.multi_head_attention_forward: multi_head_attention_forward,
    # Whether TransformerEncoder may use nested tensors, which have no compiled form.
    torch._nested_tensor_from_mask_left_aligned: lambda *_: False,
    torch.gru: gru,
    torch.lstm: lstm,
    torch.rnn_tanh: rnn_tanh,
    torch.rnn_relu: rnn_relu,
    torch.gru_cell: gru_cell,
    torch.lstm_cell: lstm_cell,
    torch.rnn_tanh_cell: rnn_tanh_cell,
    torch.rnn_relu_cell: rnn_relu_cell,
}

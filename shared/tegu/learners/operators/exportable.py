"""Torch operators in plain arithmetic, in place of those that do not compile.

Fused operators (`layer_norm`, `gelu`, `gru`, ...) have special gradients that `torch.func.vmap` computes user by user,
which fixes the number of users in a graph. `cross_entropy` exports a gradient that is wrong for more than one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tegu.core.errors import CompileError
from tegu.learners.operators.attention import multi_head_attention_forward, scaled_dot_product_attention
from tegu.learners.operators.linear import linear, matmul
from tegu.learners.operators.recurrent import gru, lstm, rnn_relu, rnn_tanh

__all__ = ["Lookup", "PlainOperators", "concatenate_rows", "from_table", "one_hot", "softmax_cross_entropy"]

Lookup: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def from_table(ids: Tensor, table: Tensor) -> Tensor:
    """The rows of a table, `[*ids.shape, ...]`."""
    return table[ids]


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
            return _embedding(self._look_up, *args, **(kwargs or {}))
        if func is F.linear and id(args[1]) in self._outputs:
            return self._outputs[id(args[1])]
        return _PLAIN.get(func, func)(*args, **(kwargs or {}))


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


def _embedding(
    look_up: Lookup, ids: Tensor, weight: Tensor, padding_idx: int | None = None, *others: Any, **options: Any
) -> Tensor:
    if any(option not in (None, False, 2.0) for option in (*others, *options.values())):
        raise CompileError(
            "an embedding with max_norm, scale_grad_by_freq or sparse has no compiled form: leave them out"
        )
    rows = look_up(ids, weight)
    if padding_idx is None:
        return rows
    return torch.where((ids == padding_idx % weight.shape[0]).unsqueeze(-1), rows.detach(), rows)


def _normalised(x: Tensor, axes: list[int], eps: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    spread: Tensor = torch.sqrt(centred.square().mean(axes, keepdim=True) + eps)
    return centred / spread


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    result = _normalised(x, [-1 - axis for axis in range(len(shape))], eps)
    result = result if weight is None else result * weight
    return result if bias is None else result + bias


def _group_norm(
    x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    result = _normalised(x.reshape(x.shape[0], groups, -1), [-1], eps).reshape(x.shape)
    channels = (-1, *(1 for _ in x.shape[2:]))
    result = result if weight is None else result * weight.reshape(channels)
    return result if bias is None else result + bias.reshape(channels)


def _gelu(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5)))


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


def _getitem(x: Tensor, key: Any) -> Tensor:
    """`x[key]`; for one number among full slices by `select`, as the gradient of slicing fixes the number of users."""
    keys = key if isinstance(key, tuple) else (key,)
    numbers = [axis for axis, part in enumerate(keys) if type(part) is int]
    slices = [axis for axis, part in enumerate(keys) if isinstance(part, slice) and part == slice(None)]
    if len(numbers) == 1 and len(numbers) + len(slices) == len(keys):
        return x.select(numbers[0], keys[numbers[0]])
    return x[key]


_PLAIN: dict[Any, Callable[..., Any]] = {
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.gelu: _gelu,
    F.cross_entropy: _cross_entropy,
    F.mse_loss: _error(F.mse_loss, lambda difference, _: difference.square()),
    F.smooth_l1_loss: _error(F.smooth_l1_loss, _smooth_l1),
    F.huber_loss: _error(F.huber_loss, lambda difference, delta: delta * _smooth_l1(difference, delta)),
    F.linear: linear,
    torch.matmul: matmul,
    Tensor.matmul: matmul,
    Tensor.__matmul__: matmul,
    F.scaled_dot_product_attention: scaled_dot_product_attention,
    F.multi_head_attention_forward: multi_head_attention_forward,
    Tensor.__getitem__: _getitem,
    torch.gru: gru,
    torch.lstm: lstm,
    torch.rnn_tanh: rnn_tanh,
    torch.rnn_relu: rnn_relu,
}

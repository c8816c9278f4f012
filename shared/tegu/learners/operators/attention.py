"""Attention in plain products and a softmax, with the signatures of `torch.nn.functional`.

Torch's fused forms have gradients that `torch.func.vmap` cannot batch, and masks that are compared by value. A query
that may attend to no key gets zeros, as in `scaled_dot_product_attention`. Torch's layers with `need_weights=True` give
NaN there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.core.errors import CompileError
from tegu.learners.operators.linear import linear
from tegu.learners.operators.tensors.pieces import concatenate

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`F.scaled_dot_product_attention`: `[..., queries, width]` and `[..., keys, width]` -> `[..., queries, values]`.

    Dropout is off, since models run in evaluation mode.
    """
    del dropout_p
    if enable_gqa:
        key, value = (_repeated(part, query.shape[-3]) for part in (key, value))
    mask = _causal(query.shape[-2], key.shape[-2]) if is_causal else attn_mask
    return _weights(query, key, _added(mask, query.dtype), scale, may_be_empty=not is_causal) @ value


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`F.multi_head_attention_forward`: the output, and the weights `[rows, queries, keys]` if they are needed.

    Inputs are `[positions, rows, width]`, or without rows. Dropout is off, since models run in evaluation mode.

    Raises:
        CompileError: keys or values are given as `static_k` or `static_v`.
    """
    del embed_dim_to_check, dropout_p, training
    if static_k is not None or static_v is not None:
        raise CompileError("attention with static_k or static_v has no compiled form: pass them as key and value")
    inputs, batched = [query, key, value], query.dim() == 3
    if not batched:
        inputs = [part.unsqueeze(1) for part in inputs]
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    separate = [part for part in (q_proj_weight, k_proj_weight, v_proj_weight) if part is not None]
    projected = _projected(inputs, separate if use_separate_proj_weight else in_proj_weight, in_proj_bias)
    projected = _with_extra_keys(projected, bias_k, bias_v, add_zero_attn)
    heads = [part.reshape(*part.shape[:2], num_heads, -1).permute(1, 2, 0, 3) for part in projected]
    extra = projected[1].shape[0] - inputs[1].shape[0]
    hinted = is_causal and key_padding_mask is None and not need_weights
    causal = _causal(query.shape[0], projected[1].shape[0]).logical_not() if hinted else None
    mask = _merged(causal if hinted else attn_mask, key_padding_mask, num_heads, 0 if hinted else extra, query.dtype)
    weights = _weights(heads[0], heads[1], mask, None, may_be_empty=not hinted)
    output = linear((weights @ heads[2]).permute(2, 0, 1, 3).flatten(-2), out_proj_weight, out_proj_bias)
    weights = weights.mean(1) if average_attn_weights else weights
    if not batched:
        output, weights = output.squeeze(1), weights.squeeze(0)
    return output, weights if need_weights else None


def _repeated(heads: Tensor, count: int) -> Tensor:
    """Each of the heads `[..., heads, positions, width]` as often as `count` heads of queries need it."""
    times = count // heads.shape[-3]
    return torch.stack([heads] * times, -3).flatten(-4, -3) if times > 1 else heads


def _causal(queries: int, keys: int) -> Tensor:
    """Which keys each query may attend to: those not after it, bool `[queries, keys]`."""
    return torch.arange(queries).unsqueeze(-1) >= torch.arange(keys)


def _added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What a mask adds to the scores: minus infinity where a boolean mask is false."""
    if mask is None or mask.is_floating_point():
        return mask
    return torch.where(mask, torch.zeros((), dtype=dtype), torch.full((), -math.inf, dtype=dtype))


def _weights(query: Tensor, key: Tensor, added: Tensor | None, scale: float | None, may_be_empty: bool) -> Tensor:
    """The attention weights `[..., queries, keys]`."""
    scores = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.transpose(-2, -1)
    if added is None:
        return torch.softmax(scores, -1)
    if not may_be_empty:
        return torch.softmax(scores + added, -1)
    some = (added > -math.inf).any(-1, keepdim=True)
    # Minus infinities alone would give NaN, which no later product removes.
    scores = scores + torch.where(some, added, torch.zeros_like(added))
    return torch.softmax(scores, -1) * some.to(scores.dtype)


def _projected(
    inputs: Sequence[Tensor], weights: Tensor | Sequence[Tensor] | None, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, `[positions, rows, width]`.

    Packed weights are split by a reshape: the gradient of `chunk` batched over users fixes their number.
    """
    query, key, value = inputs
    if isinstance(weights, Tensor):
        if query is key and key is value:
            packed = linear(query, weights, bias)
            parts = packed.reshape(*packed.shape[:-1], 3, -1).unbind(-2)
            return parts[0], parts[1], parts[2]
        weights = weights.reshape(3, -1, weights.shape[-1]).unbind(0)
    biases: Sequence[Tensor | None] = (None, None, None) if bias is None else bias.reshape(3, -1).unbind(0)
    q, k, v = (linear(*each) for each in zip(inputs, weights or (), biases, strict=True))
    return q, k, v


def _with_extra_keys(
    projected: tuple[Tensor, Tensor, Tensor], bias_k: Tensor | None, bias_v: Tensor | None, zeros: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with a learned key and value, and with zeros, after the last position."""
    query, key, value = projected
    if bias_k is not None and bias_v is not None:
        key = concatenate([key, bias_k.expand(1, *key.shape[1:])])
        value = concatenate([value, bias_v.expand(1, *value.shape[1:])])
    if zeros:
        key, value = (F.pad(part, [0, 0, 0, 0, 0, 1]) for part in (key, value))
    return query, key, value


def _merged(mask: Tensor | None, padding: Tensor | None, heads: int, extra: int, dtype: torch.dtype) -> Tensor | None:
    """Both masks of a layer, which are true where attention is forbidden, as what they add to the scores.

    Args:
        mask: `[queries, keys]` or `[rows * heads, queries, keys]`.
        padding: `[rows, keys]`.
        heads: the number of heads.
        extra: keys after the last position, which are allowed.
        dtype: the scores' dtype.
    """
    found = None
    for each in (mask, padding):
        if each is None:
            continue
        added = _added(each if each.is_floating_point() else each.logical_not(), dtype)
        assert added is not None  # noqa: S101 # only no mask adds nothing
        added = F.pad(added, [0, extra]) if extra else added
        if each is padding:
            added = added[:, None, None, :]
        elif added.dim() == 3:
            added = added.reshape(-1, heads, *added.shape[1:])
        found = added if found is None else found + added
    return found

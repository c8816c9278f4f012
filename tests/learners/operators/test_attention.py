"""Attention in plain products has the values and gradients of torch's own functions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from tegu.core.errors import CompileError
from tegu.learners.operators.exportable import PlainOperators

RNG = torch.Generator().manual_seed(0)
X = torch.randn(3, 5, 8, generator=RNG, dtype=torch.float64)
CAUSAL = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
PADDED = torch.arange(5) >= torch.tensor([[5], [3], [4]])
HEADS = [torch.randn(3, heads, 5, 4, generator=RNG, dtype=torch.float64) for heads in (2, 2, 2, 1, 1)]


@pytest.fixture(autouse=True)
def float64_by_default():
    """In float32 a gradient that is exactly 0, such as that of a key's bias, differs by rounding alone."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def compare(function, inputs, parameters=()):
    """Assert that values and gradients are those of plain torch."""
    results = []
    for plain in (False, True):
        own = [x.clone().requires_grad_() for x in inputs]
        if plain:
            with PlainOperators():
                output = function(*own)
        else:
            output = function(*own)
        parts = [part for part in (output if isinstance(output, tuple) else (output,)) if part is not None]
        loss = sum((part * (1 + torch.arange(part.shape[-1]))).sum() for part in parts)
        results.append((*parts, *torch.autograd.grad(loss, [*own, *parameters], allow_unused=True)))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "boolean": {"attn_mask": torch.eye(5) + CAUSAL.exp() > 0},
    "float": {"attn_mask": CAUSAL, "scale": 0.3},
    "by_row": {"attn_mask": ~PADDED[:, None, None]},
    "nothing_to_attend_to": {"attn_mask": torch.arange(5)[:, None] > torch.arange(5)},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_scaled_dot_product_attention(name):
    compare(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **OPTIONS[name]), HEADS[:3])


def test_grouped_queries():
    four = torch.randn(3, 4, 5, 4, generator=RNG)
    compare(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), [four, HEADS[0], HEADS[1]])
    compare(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), [HEADS[0], *HEADS[3:]])


LAYERS = {
    "plain": ({}, {}),
    "without_weights": ({}, {"need_weights": False}),
    "every_head": ({}, {"average_attn_weights": False}),
    "steps_first": ({"batch_first": False}, {}),
    "without_bias": ({"bias": False}, {}),
    "extra_keys": ({"add_bias_kv": True, "add_zero_attn": True}, {"key_padding_mask": PADDED, "attn_mask": CAUSAL}),
    "padding": ({}, {"key_padding_mask": PADDED}),
    "boolean_mask": ({}, {"attn_mask": CAUSAL < 0}),
    "mask_of_heads": ({}, {"attn_mask": (torch.arange(6) % 2 > 0)[:, None, None] & (CAUSAL < 0)}),
    "hint": ({}, {"attn_mask": CAUSAL, "is_causal": True, "need_weights": False}),
    "hint_with_weights": ({}, {"attn_mask": CAUSAL, "is_causal": True}),
}


def attention(**options):
    layer = nn.MultiheadAttention(8, 2, **{"batch_first": True, **options})
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return layer


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore:Support for mismatched")
def test_multihead_attention(name):
    options, arguments = LAYERS[name]
    layer = attention(**options)
    rows = X if layer.batch_first else X.transpose(0, 1)
    compare(lambda x: layer(x, x, x, **arguments), [rows], list(layer.parameters()))


def test_attention_to_other_inputs():
    layer = attention(kdim=3, vdim=6)
    keys, values = torch.randn(3, 4, 3, generator=RNG), torch.randn(3, 4, 6, generator=RNG)
    compare(layer, [X, keys, values], list(layer.parameters()))
    layer = attention()
    compare(lambda x, memory: layer(x, memory, memory), [X, X[:, :2]], list(layer.parameters()))


def test_attention_without_rows():
    layer = attention()
    compare(lambda x: layer(x, x, x), [X[0]], list(layer.parameters()))


TRANSFORMERS = {
    "layer": lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True),
    "norm_first": lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True, activation="gelu"),
    "two_layers": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2),
}


@pytest.mark.parametrize("padding", [None, PADDED], ids=["whole", "padded"])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_encoders(name, padding):
    layer = TRANSFORMERS[name]().eval()
    compare(lambda x: layer(x, src_key_padding_mask=padding), [X], list(layer.parameters()))


def test_a_decoder_layer():
    layer = nn.TransformerDecoderLayer(8, 2, 12, batch_first=True).eval()
    compare(lambda x, memory: layer(x, memory, tgt_mask=CAUSAL), [X, X[:, :3]], list(layer.parameters()))


def test_given_keys_are_refused():
    w = torch.zeros(4, 4)
    with PlainOperators(), pytest.raises(CompileError, match="static_k or static_v has no compiled form"):
        F.multi_head_attention_forward(
            *[torch.zeros(2, 1, 4)] * 3, 4, 1, torch.zeros(12, 4), None, None, None, False, 0.0, w, None, static_k=w
        )

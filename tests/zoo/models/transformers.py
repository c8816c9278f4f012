"""Attention, transformers and what is built from them."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from tests.zoo.entry import IMAGE, NUMBERS, SEQUENCE, TOKENS, Entry, module
from tests.zoo.models.attention_blocks import (
    Attention,
    Block,
    Conformer,
    CrossAttention,
    Masked,
    Mixer,
    SwiGLU,
    Text,
    ViT,
)
from torch import Tensor, nn


def _linear_attention(self: nn.Module, x: Tensor) -> Tensor:
    q, k, v = (part for part in self.qkv(x).chunk(3, -1))
    q, k = F.elu(q) + 1, F.elu(k) + 1
    mixed = torch.einsum("bnd,bde->bne", q, torch.einsum("bnd,bne->bde", k, v))
    return self.head((mixed / (q * k.sum(1, keepdim=True)).sum(-1, keepdim=True)).mean(1))


def _encoder(**options: object) -> nn.Module:
    return nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, **options)


def _causal(layer: nn.Module) -> nn.Module:
    return module(
        lambda self, x: self.layer(
            x, src_mask=nn.Transformer.generate_square_subsequent_mask(x.shape[1]), is_causal=True
        ),
        layer=layer,
    )


def _on_steps(body: nn.Module) -> nn.Module:
    return module(lambda self, x: self.head(self.body(x).mean(1)), body=body, head=nn.Linear(4, 3))


def _feed() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


class Fields(nn.Module):
    """FT-Transformer: every number becomes a token."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))
        self.cls, self.layer, self.head = nn.Parameter(torch.randn(4)), _encoder(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.unsqueeze(-1) * self.weight + self.bias
        tokens = torch.cat([self.cls.expand(x.shape[0], 1, 4), tokens], 1)
        return self.head(self.layer(tokens)[:, 0])


class Decoder(nn.Module):
    """A decoder layer with a memory of two learned steps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(4, 2, 8, batch_first=True)
        self.memory, self.head = nn.Parameter(torch.randn(2, 4)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x, self.memory.expand(x.shape[0], -1, -1)).mean(1))


TRANSFORMERS = [
    Entry(
        "MultiheadAttention",
        lambda: module(
            lambda self, x: self.head(self.attend(x, x, x)[0].mean(1)),
            attend=nn.MultiheadAttention(4, 2, batch_first=True),
            head=nn.Linear(4, 3),
        ),
        SEQUENCE,
    ),
    Entry("attention by hand", lambda: _on_steps(Attention()), SEQUENCE),
    Entry("causal attention by hand", lambda: _on_steps(Attention(causal=True)), SEQUENCE),
    Entry("scaled_dot_product_attention", lambda: _on_steps(Attention(fused=True)), SEQUENCE),
    Entry("scaled_dot_product_attention, causal", lambda: _on_steps(Attention(fused=True, causal=True)), SEQUENCE),
    Entry("rotary positions", lambda: _on_steps(Attention(rotary=True)), SEQUENCE),
    Entry("linear distances (ALiBi)", lambda: _on_steps(Attention(alibi=True)), SEQUENCE),
    Entry("linear attention", lambda: module(_linear_attention, qkv=nn.Linear(4, 12), head=nn.Linear(4, 3)), SEQUENCE),
    Entry("TransformerEncoderLayer", lambda: _on_steps(_encoder()), SEQUENCE),
    Entry("TransformerEncoderLayer, norm_first", lambda: _on_steps(_encoder(norm_first=True)), SEQUENCE),
    Entry(
        "TransformerEncoder of two layers",
        lambda: _on_steps(nn.TransformerEncoder(_encoder(), 2, enable_nested_tensor=False)),
        SEQUENCE,
    ),
    Entry("TransformerEncoderLayer, causal", lambda: _on_steps(_causal(_encoder())), SEQUENCE),
    Entry("TransformerDecoderLayer", Decoder, SEQUENCE),
    Entry("text encoder", lambda: Text(_encoder()), TOKENS),
    Entry("BERT-like", Masked, TOKENS),
    Entry("GPT-like", lambda: Text(Block(Attention(causal=True), _feed()), "last"), TOKENS),
    Entry("Llama-like", lambda: Text(Block(Attention(causal=True, rotary=True), SwiGLU(), nn.RMSNorm), "last"), TOKENS),
    Entry("ViT", ViT, IMAGE),
    Entry("FT-Transformer", Fields, NUMBERS),
    Entry("Perceiver", CrossAttention, SEQUENCE),
    Entry("MLP-Mixer", Mixer, SEQUENCE),
    Entry("Conformer", Conformer, SEQUENCE),
    Entry(
        "attention pooling",
        lambda: module(
            lambda self, x: self.head((x * self.score(torch.tanh(self.body(x))).softmax(1)).sum(1)),
            body=nn.Linear(4, 6),
            score=nn.Linear(6, 1),
            head=nn.Linear(4, 3),
        ),
        SEQUENCE,
    ),
    Entry(
        "bag of words",
        lambda: module(
            lambda self, x: self.head(self.table(x).mean(1)), table=nn.Embedding(11, 4), head=nn.Linear(4, 3)
        ),
        TOKENS,
    ),
    Entry(
        "text convolution",
        lambda: module(
            lambda self, x: self.head(torch.relu(self.conv(self.table(x).transpose(1, 2))).amax(-1)),
            table=nn.Embedding(11, 4),
            conv=nn.Conv1d(4, 5, 3),
            head=nn.Linear(5, 3),
        ),
        TOKENS,
    ),
]

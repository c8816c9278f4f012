"""Attention, and blocks that are built from it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Attention(nn.Module):
    """Attention by hand, with an optional causal mask, rotary positions or linear distances."""

    def __init__(self, *, causal: bool = False, rotary: bool = False, alibi: bool = False, fused: bool = False) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 4)
        self.causal, self.rotary, self.alibi, self.fused = causal, rotary, alibi, fused

    def forward(self, x: Tensor) -> Tensor:
        rows, steps, width = x.shape
        q, k, v = (part.reshape(rows, steps, 2, width // 2).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        if self.rotary:
            q, k = _rotated(q), _rotated(k)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            return self.out(mixed.transpose(1, 2).reshape(rows, steps, width))
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // 2)
        places = torch.arange(steps)
        if self.alibi:
            scores = scores - 0.5 * (places[:, None] - places).abs()
        if self.causal:
            scores = scores.masked_fill(places[:, None] < places, float("-inf"))
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(rows, steps, width))


def _rotated(x: Tensor) -> Tensor:
    angle = torch.arange(x.shape[-2])[:, None] / 10.0
    first, second = x.chunk(2, -1)
    return torch.cat([first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()], -1)


class Block(nn.Module):
    """A transformer block from its parts."""

    def __init__(self, mix: nn.Module, feed: nn.Module, norm: type[nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.first, self.second, self.mix, self.feed = norm(4), norm(4), mix, feed

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(self.first(x))
        return x + self.feed(self.second(x))


class SwiGLU(nn.Module):
    """The feed-forward layer of Llama."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = (nn.Linear(4, 6, bias=False), nn.Linear(4, 6, bias=False), nn.Linear(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Text(nn.Module):
    """Tokens and positions, a body, and a head on the mean, the first or the last step."""

    def __init__(self, body: nn.Module, pool: str = "mean") -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(11, 4), nn.Embedding(6, 4)
        self.body, self.head, self.pool = body, nn.Linear(4, 3), pool

    def forward(self, ids: Tensor) -> Tensor:
        x = self.body(self.tokens(ids) + self.positions(torch.arange(ids.shape[1])))
        return self.head({"mean": x.mean(1), "first": x[:, 0], "last": x[:, -1]}[self.pool])


class Masked(nn.Module):
    """BERT-like: tokens of id 0 are padding, and no step attends to them."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, 4, padding_idx=0)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation="gelu")
        self.head = nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        keep = torch.cat([ids.new_ones((ids.shape[0], 1)), ids[:, 1:]], 1) != 0
        x = self.layer(self.tokens(ids), src_key_padding_mask=~keep)
        weights = keep.unsqueeze(-1).to(x.dtype)
        return self.head((x * weights).sum(1) / weights.sum(1))


class ViT(nn.Module):
    """Patches, a class token and an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(2, 4, 4, stride=4)
        self.cls, self.place = nn.Parameter(torch.randn(1, 1, 4)), nn.Parameter(torch.randn(1, 5, 4))
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.encoder(x)[:, 0])


class CrossAttention(nn.Module):
    """Perceiver-like: learned latents attend to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(3, 4))
        self.attend, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        latents = self.latents.expand(x.shape[0], -1, -1)
        return self.head(self.attend(latents, x, x, need_weights=False)[0].mean(1))


class Mixer(nn.Module):
    """A block of MLP-Mixer on steps and features."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 5))
        self.features = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.steps(x.transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.features(x)).mean(1))


class Conformer(nn.Module):
    """Feed forward, attention, convolution with a gate, feed forward."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = (nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 4)) for _ in range(2))
        self.attend, self.pointwise = Attention(), nn.Conv1d(4, 8, 1)
        self.depthwise = nn.Conv1d(4, 4, 3, padding=1, groups=4)
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.before(x)
        x = x + self.attend(x)
        x = x + F.silu(self.depthwise(F.glu(self.pointwise(x.transpose(1, 2)), 1))).transpose(1, 2)
        return self.head(self.norm(x + 0.5 * self.after(x)).mean(1))

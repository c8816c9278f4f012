"""Parts of well-known image networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Convolution, GroupNorm and SiLU."""
    parts = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.GroupNorm(2, outputs),
    ]
    return nn.Sequential(*parts, *([nn.SiLU()] if act else []))


def normed(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and BatchNorm, as in pretrained networks, with statistics that are not 0 and 1."""
    norm = nn.BatchNorm2d(outputs)
    norm.running_mean = 0.1 * torch.randn(outputs)
    norm.running_var = torch.rand(outputs) + 0.5
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), norm)


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module, skip: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.skip = body, skip or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.body(x)


class Excited(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 2, 1), nn.ReLU(), nn.Conv2d(2, channels, 1), gate
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.squeeze(x)


class Dense(nn.Module):
    """Two layers of a DenseNet block."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(4, 2), conv(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.first(x)], 1)
        return torch.cat([x, self.second(x)], 1)


class Branches(nn.Module):
    """Branches side by side, as in Inception and SqueezeNet."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Shuffle(nn.Module):
    """A unit of ShuffleNet V2."""

    def __init__(self) -> None:
        super().__init__()
        self.right = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1, groups=2))

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1)
        both = torch.cat([left, self.right(right)], 1)
        rows, channels, height, width = both.shape
        return both.view(rows, 2, channels // 2, height, width).transpose(1, 2).reshape(rows, channels, height, width)


class ConvNeXt(nn.Module):
    """A block of ConvNeXt: channels last, LayerNorm, GELU and a scale for each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(4, 4, 5, padding=2, groups=4)
        self.norm, self.up, self.down = nn.LayerNorm(4), nn.Linear(4, 8), nn.Linear(8, 4)
        self.scale = nn.Parameter(torch.full((4,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)


class UNet(nn.Module):
    """Down and up again, with a skip connection."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.enter, self.low, self.up, self.out = conv(2, 4), conv(4, 4), up, conv(8, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        high = self.enter(x)
        low = self.up(self.low(F.max_pool2d(high, 2)))
        return self.head(self.out(torch.cat([high, low], 1)).mean((2, 3)))


class Attended(nn.Module):
    """CBAM: attention over channels, then over places."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4))
        self.places = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.sigmoid(self.channels(x.mean((2, 3))) + self.channels(x.amax((2, 3))))
        x = x * weights[:, :, None, None]
        maps = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.places(maps))

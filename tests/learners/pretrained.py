"""Small networks with the blocks of image networks, with parameters and running statistics as after training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InvertedResidual(nn.Module):
    """The block of MobileNetV2 and V3: expand, depthwise convolution, squeeze and excitation, project."""

    def __init__(self, inputs: int, outputs: int, expand: int, stride: int, excite: bool) -> None:
        super().__init__()
        hidden = inputs * expand
        self.expand = nn.Sequential(nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish())
        self.depthwise = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()
        )
        squeezed = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(hidden, 2, 1), nn.ReLU(), nn.Conv2d(2, hidden, 1)]
        self.excite = nn.Sequential(*squeezed, nn.Hardsigmoid()) if excite else None
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        inner = self.depthwise(self.expand(x))
        if self.excite is not None:
            inner = inner * self.excite(inner)
        result: Tensor = self.project(inner)
        return x + result if self.residual else result


class Basic(nn.Module):
    """The block of ResNet18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        same = inputs == outputs and stride == 1
        shortcut = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Identity() if same else nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


def mobile_network(classes: int = 3) -> nn.Module:
    """Like MobileNet, for pictures of 3 x 12 x 12."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.Hardswish()),
        InvertedResidual(4, 4, 2, 1, excite=True),
        InvertedResidual(4, 6, 2, 2, excite=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, classes),
    )
    return as_trained(model)


def residual_network(classes: int = 3) -> nn.Module:
    """Like ResNet18, for pictures of 3 x 12 x 12."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        Basic(4, 4, 1),
        Basic(4, 6, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, classes),
    )
    return as_trained(model)


def as_trained(model: nn.Module) -> nn.Module:
    """The model after it has seen some rows: its norms hold the statistics of what reaches them."""
    model.train()
    with torch.no_grad():
        for _ in range(30):
            model(0.5 + torch.randn(16, 3, 12, 12))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    return model.eval()

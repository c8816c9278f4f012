"""Blocks of well-known image networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from tests.zoo.entry import IMAGE, Entry, ended, module
from tests.zoo.models.image_blocks import (
    Attended,
    Branches,
    ConvNeXt,
    Dense,
    Excited,
    Residual,
    Shuffle,
    UNet,
    conv,
    normed,
)
from torch import nn


def _on_image(name: str, layers: Callable[[], list[nn.Module]]) -> Entry:
    return Entry(name, lambda: ended(IMAGE, *layers(), nn.AdaptiveAvgPool2d(1)), IMAGE)


def _inverted(gate: bool) -> nn.Module:
    parts = [conv(4, 8, 1), conv(8, 8, groups=8), conv(8, 4, 1, act=False)]
    return Residual(nn.Sequential(*(parts if not gate else [*parts[:2], Excited(8, nn.Sigmoid()), parts[2]])))


def _mobile_v3() -> nn.Module:
    body = [nn.Conv2d(4, 8, 1), nn.Hardswish(), nn.Conv2d(8, 8, 5, padding=2, groups=8), Excited(8, nn.Hardsigmoid())]
    return Residual(nn.Sequential(*body, nn.Hardswish(), nn.Conv2d(8, 4, 1)))


IMAGES = [
    Entry(
        "LeNet",
        lambda: ended(IMAGE, nn.Conv2d(2, 4, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(4, 6, 2), nn.Tanh()),
        IMAGE,
    ),
    Entry(
        "VGG",
        lambda: ended(
            IMAGE,
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(True),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.ReLU(True),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1),
            nn.ReLU(True),
            nn.MaxPool2d(2),
            nn.Dropout(),
        ),
        IMAGE,
    ),
    _on_image(
        "ResNet, basic block",
        lambda: [conv(2, 4), Residual(nn.Sequential(conv(4, 4), conv(4, 4, act=False))), nn.ReLU()],
    ),
    _on_image(
        "ResNet, bottleneck",
        lambda: [
            conv(2, 4),
            Residual(
                nn.Sequential(conv(4, 2, 1), conv(2, 2, stride=2), conv(2, 4, 1, act=False)),
                conv(4, 4, 1, 2, act=False),
            ),
            nn.ReLU(),
        ],
    ),
    _on_image(
        "ResNet, basic block with BatchNorm",
        lambda: [normed(2, 4), nn.ReLU(), Residual(nn.Sequential(normed(4, 4), nn.ReLU(), normed(4, 4))), nn.ReLU()],
    ),
    _on_image(
        "ResNeXt", lambda: [conv(2, 4), Residual(nn.Sequential(conv(4, 4, 1), conv(4, 4, groups=2), conv(4, 4, 1)))]
    ),
    _on_image("SE-ResNet", lambda: [conv(2, 4), Residual(nn.Sequential(conv(4, 4), Excited(4, nn.Sigmoid())))]),
    _on_image("MobileNet V1", lambda: [conv(2, 4), conv(4, 4, groups=4), conv(4, 6, 1)]),
    _on_image("MobileNet V2", lambda: [conv(2, 4), _inverted(gate=False)]),
    _on_image(
        "MobileNet V2 with BatchNorm",
        lambda: [
            normed(2, 4, stride=2),
            nn.ReLU6(),
            Residual(nn.Sequential(normed(4, 8, 1), nn.ReLU6(), normed(8, 8, groups=8), nn.ReLU6(), normed(8, 4, 1))),
        ],
    ),
    _on_image("MobileNet V3", lambda: [conv(2, 4, stride=2), _mobile_v3()]),
    _on_image("EfficientNet, MBConv", lambda: [conv(2, 4), _inverted(gate=True)]),
    _on_image("DenseNet", lambda: [conv(2, 4), Dense(), nn.Conv2d(8, 4, 1), nn.AvgPool2d(2)]),
    _on_image(
        "Inception",
        lambda: [
            Branches(
                nn.Conv2d(2, 2, 1), conv(2, 2), conv(2, 2, 5), nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(2, 2, 1))
            )
        ],
    ),
    _on_image(
        "SqueezeNet, fire",
        lambda: [
            nn.Conv2d(2, 2, 1),
            nn.ReLU(),
            Branches(nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 3, 1, 1)),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
        ],
    ),
    _on_image("ShuffleNet V2", lambda: [nn.Conv2d(2, 4, 3), nn.ReLU(), Shuffle(), Shuffle()]),
    _on_image(
        "GhostNet", lambda: [Branches(nn.Conv2d(2, 2, 1), nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, 1, 1)))]
    ),
    _on_image("ConvNeXt", lambda: [nn.Conv2d(2, 4, 2, stride=2), ConvNeXt()]),
    _on_image("CBAM", lambda: [conv(2, 4), Attended()]),
    Entry("U-Net, transposed convolution", lambda: UNet(nn.ConvTranspose2d(4, 4, 2, 2)), IMAGE),
    Entry("U-Net, nearest", lambda: UNet(nn.Upsample(scale_factor=2)), IMAGE),
    Entry("U-Net, bilinear", lambda: UNet(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)), IMAGE),
    Entry(
        "AlexNet",
        lambda: ended(
            IMAGE,
            nn.Conv2d(2, 4, 5, stride=1, padding=2),
            nn.ReLU(),
            nn.LocalResponseNorm(2),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
        ),
        IMAGE,
    ),
    Entry("MLP on pixels", lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 8), nn.ReLU(), nn.Linear(8, 3)), IMAGE),
    Entry(
        "NetVLAD",
        lambda: module(
            lambda self, x: self.head(
                F.normalize(torch.einsum("bkhw,bchw->bkc", torch.softmax(self.assign(x), 1), self.body(x)).flatten(1))
            ),
            assign=nn.Conv2d(2, 3, 1),
            body=nn.Conv2d(2, 4, 1),
            head=nn.Linear(12, 3),
        ),
        IMAGE,
    ),
]

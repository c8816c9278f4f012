"""Convolutions, paddings, resampling."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from tests.zoo.entry import IMAGE, SERIES, VOLUME, Entry, ended, module
from torch import Tensor, nn


def _series(name: str, layers: Callable[[], list[nn.Module]]) -> Entry:
    return Entry(name, lambda: ended(SERIES, *layers()), SERIES)


def _image(name: str, layers: Callable[[], list[nn.Module]]) -> Entry:
    return Entry(name, lambda: ended(IMAGE, *layers()), IMAGE)


def _resized(name: str, **options: object) -> Entry:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return self.head(self.after(torch.relu(F.interpolate(self.before(x), **options))).mean((2, 3)))

    return Entry(
        name,
        lambda: module(forward, before=nn.Conv2d(2, 3, 3, stride=2), after=nn.Conv2d(3, 4, 3), head=nn.Linear(4, 3)),
        IMAGE,
    )


def _upsampled_series() -> nn.Module:
    return ended(SERIES, nn.Conv1d(2, 3, 3), nn.Upsample(scale_factor=2, mode="linear"), nn.Conv1d(3, 2, 3), nn.Tanh())


def _transformed(self: nn.Module, x: Tensor) -> Tensor:
    theta = self.where(x.flatten(1)).reshape(-1, 2, 3)
    grid = F.affine_grid(theta, [x.shape[0], 2, 6, 6], align_corners=False)
    return self.head(F.grid_sample(x, grid, align_corners=False).flatten(1))


CONVOLUTIONS = [
    _series("Conv1d", lambda: [nn.Conv1d(2, 4, 3), nn.ReLU()]),
    _series("Conv1d, strided", lambda: [nn.Conv1d(2, 4, 3, stride=2, padding=1), nn.SiLU()]),
    _series("Conv1d, dilated", lambda: [nn.Conv1d(2, 4, 3, dilation=2, padding="same"), nn.ReLU()]),
    _series("Conv1d, grouped", lambda: [nn.Conv1d(2, 4, 3, groups=2, bias=False), nn.SiLU()]),
    _series(
        "ConvTranspose1d", lambda: [nn.Conv1d(2, 4, 3, stride=2), nn.SiLU(), nn.ConvTranspose1d(4, 2, 3, stride=2)]
    ),
    _image("Conv2d", lambda: [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3)]),
    _image("Conv2d, 1 x 1", lambda: [nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)]),
    _image(
        "Conv2d without bias, SiLU", lambda: [nn.Conv2d(2, 4, 3, bias=False), nn.SiLU(), nn.Conv2d(4, 4, 3, bias=False)]
    ),
    _image("Conv2d, strided", lambda: [nn.Conv2d(2, 4, (3, 5), stride=(2, 1), padding=(1, 2)), nn.ReLU()]),
    _image("Conv2d, dilated", lambda: [nn.Conv2d(2, 4, 3, dilation=2), nn.ReLU()]),
    _image("Conv2d, grouped", lambda: [nn.Conv2d(2, 4, 3, groups=2), nn.ReLU()]),
    _image(
        "Conv2d, depthwise separable", lambda: [nn.Conv2d(2, 2, 3, groups=2, padding=1), nn.Conv2d(2, 4, 1), nn.SiLU()]
    ),
    _image("Conv2d, reflecting", lambda: [nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()]),
    _image("Conv2d, circular", lambda: [nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.ReLU()]),
    _image("ConvTranspose2d", lambda: [nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2, stride=2)]),
    _image(
        "ConvTranspose2d, output_padding",
        lambda: [
            nn.Conv2d(2, 4, 3, stride=2),
            nn.SiLU(),
            nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1),
        ],
    ),
    _image(
        "ConvTranspose2d, grouped",
        lambda: [nn.Conv2d(2, 4, 3, stride=2), nn.ConvTranspose2d(4, 4, 3, groups=2), nn.Tanh()],
    ),
    Entry("Conv3d", lambda: ended(VOLUME, nn.Conv3d(2, 4, 3, padding=1), nn.ReLU()), VOLUME),
    Entry("Conv3d, strided and grouped", lambda: ended(VOLUME, nn.Conv3d(2, 4, 2, 2, groups=2), nn.SiLU()), VOLUME),
    Entry(
        "ConvTranspose3d",
        lambda: ended(VOLUME, nn.Conv3d(2, 3, 2, 2), nn.ReLU(), nn.ConvTranspose3d(3, 2, 2, 2)),
        VOLUME,
    ),
    _image("ZeroPad2d", lambda: [nn.ZeroPad2d((1, 0, 2, 0)), nn.Conv2d(2, 4, 3), nn.ReLU()]),
    _series("ConstantPad1d", lambda: [nn.ConstantPad1d((2, 0), 0.5), nn.Conv1d(2, 4, 3), nn.ReLU()]),
    _series("ReflectionPad1d", lambda: [nn.Conv1d(2, 3, 3), nn.ReflectionPad1d(2), nn.Conv1d(3, 2, 3), nn.ReLU()]),
    _image("ReflectionPad2d", lambda: [nn.Conv2d(2, 3, 3), nn.ReflectionPad2d(1), nn.Conv2d(3, 2, 3), nn.ReLU()]),
    _series(
        "ReplicationPad1d", lambda: [nn.Conv1d(2, 3, 3), nn.ReplicationPad1d((2, 1)), nn.Conv1d(3, 2, 3), nn.ReLU()]
    ),
    _image("ReplicationPad2d", lambda: [nn.Conv2d(2, 3, 3), nn.ReplicationPad2d(1), nn.Conv2d(3, 2, 3), nn.ReLU()]),
    _image("CircularPad2d", lambda: [nn.Conv2d(2, 3, 3), nn.CircularPad2d(1), nn.Conv2d(3, 2, 3), nn.ReLU()]),
    Entry("Upsample, linear", _upsampled_series, SERIES),
    _resized("interpolate, nearest", scale_factor=2),
    _resized("interpolate, nearest to a size", size=(5, 7)),
    _resized("interpolate, bilinear", scale_factor=2, mode="bilinear"),
    _resized("interpolate, bilinear to a size", size=(5, 7), mode="bilinear", align_corners=True),
    _resized("interpolate, bicubic", scale_factor=2, mode="bicubic"),
    _resized("interpolate, area", size=(6, 6), mode="area"),
    _image("PixelShuffle", lambda: [nn.Conv2d(2, 8, 3, stride=2), nn.PixelShuffle(2), nn.SiLU()]),
    _image("PixelUnshuffle", lambda: [nn.PixelUnshuffle(2), nn.Conv2d(8, 3, 3), nn.ReLU()]),
    _image(
        "ChannelShuffle", lambda: [nn.Conv2d(2, 4, 3), nn.ChannelShuffle(2), nn.Conv2d(4, 2, 3, groups=2), nn.ReLU()]
    ),
    Entry(
        "Unfold",
        lambda: module(
            lambda self, x: self.head(torch.relu(self.body(self.parts(self.before(x)).transpose(1, 2))).mean(1)),
            before=nn.Conv2d(2, 3, 3),
            parts=nn.Unfold(2, stride=2),
            body=nn.Linear(12, 5),
            head=nn.Linear(5, 3),
        ),
        IMAGE,
    ),
    Entry(
        "Fold",
        lambda: module(
            lambda self, x: self.head(torch.tanh(self.together(self.body(self.parts(x)))).flatten(1)),
            parts=nn.Unfold(3, stride=1),
            body=nn.Conv1d(18, 9, 1),
            together=nn.Fold((8, 8), 3),
            head=nn.Linear(64, 3),
        ),
        IMAGE,
    ),
    Entry("spatial transformer", lambda: module(_transformed, where=nn.Linear(128, 6), head=nn.Linear(72, 3)), IMAGE),
]

"""Poolings of one, two and three axes."""

from __future__ import annotations

from tests.zoo.entry import IMAGE, SERIES, VOLUME, Entry, ended
from torch import nn


def _on_series(name: str, layer: nn.Module, refused: str | None = None) -> Entry:
    return Entry(name, lambda: ended(SERIES, nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), layer), SERIES, refused=refused)


def _on_image(name: str, layer: nn.Module, refused: str | None = None) -> Entry:
    return Entry(name, lambda: ended(IMAGE, nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), layer), IMAGE, refused=refused)


def _on_volume(name: str, layer: nn.Module, refused: str | None = None) -> Entry:
    return Entry(name, lambda: ended(VOLUME, nn.Conv3d(2, 3, 3, padding=1), nn.ReLU(), layer), VOLUME, refused=refused)


POOLING = [
    _on_series("MaxPool1d", nn.MaxPool1d(2)),
    _on_series("MaxPool1d, overlapping", nn.MaxPool1d(3, 2, 1)),
    _on_series("AvgPool1d", nn.AvgPool1d(3, 2)),
    Entry("LPPool1d", lambda: ended(SERIES, nn.Conv1d(2, 4, 3), nn.Tanh(), nn.LPPool1d(2, 2)), SERIES),
    _on_series("AdaptiveAvgPool1d", nn.AdaptiveAvgPool1d(4)),
    _on_series("AdaptiveAvgPool1d, unequal", nn.AdaptiveAvgPool1d(3)),
    _on_series("AdaptiveMaxPool1d", nn.AdaptiveMaxPool1d(3)),
    _on_image("MaxPool2d", nn.MaxPool2d(2)),
    _on_image("MaxPool2d, overlapping", nn.MaxPool2d(3, 2, 1)),
    _on_image("MaxPool2d, dilated", nn.MaxPool2d(2, 2, dilation=2)),
    _on_image("MaxPool2d, ceil_mode", nn.MaxPool2d(3, 2, ceil_mode=True)),
    _on_image("AvgPool2d", nn.AvgPool2d(2)),
    _on_image("AvgPool2d, overlapping", nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    _on_image("AvgPool2d, ceil_mode", nn.AvgPool2d(3, 2, ceil_mode=True)),
    Entry("LPPool2d", lambda: ended(IMAGE, nn.Conv2d(2, 4, 3), nn.Tanh(), nn.LPPool2d(2, 2)), IMAGE),
    _on_image("AdaptiveAvgPool2d", nn.AdaptiveAvgPool2d(1)),
    _on_image("AdaptiveAvgPool2d, unequal", nn.AdaptiveAvgPool2d((3, 5))),
    _on_image("AdaptiveMaxPool2d", nn.AdaptiveMaxPool2d(1)),
    _on_image("AdaptiveMaxPool2d, unequal", nn.AdaptiveMaxPool2d((3, 5))),
    _on_image("FractionalMaxPool2d", nn.FractionalMaxPool2d(2, output_size=3), refused="FractionalMaxPool2d"),
    _on_volume("MaxPool3d", nn.MaxPool3d(2)),
    _on_volume("MaxPool3d, overlapping", nn.MaxPool3d(3, 2, 1)),
    _on_volume("AvgPool3d", nn.AvgPool3d(2)),
    _on_volume("AdaptiveAvgPool3d", nn.AdaptiveAvgPool3d(1)),
    _on_volume("AdaptiveMaxPool3d", nn.AdaptiveMaxPool3d(3)),
]

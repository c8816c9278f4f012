"""Pictures of letters in each person's own hand, drawn from random smooth fields: the task of `tegu bench default`."""

from __future__ import annotations

import numpy as np
from torch import nn

from tegu.core.data.batch import Array
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.sim.data.population import Population

__all__ = ["LETTERS", "build_small_cnn", "handwriting"]

LETTERS, _SIDE = 26, 28
_ROWS = (60, 200)
_OWN, _WRITING = 0.7, 1.0  # strength of a person's own form, and of what differs from one writing to the next


def handwriting(people: int) -> Population:
    """`people` people with 60 to 200 pictures each, float32 `[1, 28, 28]`, of 26 letters.

    A picture is the letter's form, plus the person's own form of it, plus a field of its own and noise.
    """
    rng = keyed_rng("bench", "handwriting")
    letters = _fields(rng, LETTERS, 3.0)
    counts = rng.integers(_ROWS[0], _ROWS[1] + 1, people)
    x, y = list[Array](), list[Array]()
    for count in counts:
        label = rng.integers(0, LETTERS, count)
        own = letters + _OWN * _fields(rng, LETTERS, 3.0)
        x.append(own[label] + _WRITING * _fields(rng, count, 2.0) + 0.3 * rng.normal(size=(count, _SIDE, _SIDE)))
        y.append(label)
    pictures = np.concatenate(x)[:, None].astype(np.float32)
    return Population.from_arrays(pictures, np.concatenate(y), np.repeat(np.arange(people), counts))


def build_small_cnn() -> nn.Sequential:
    """Two convolutions of 16 and 32 channels and a hidden layer of 64."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, LETTERS)),
    )


def _fields(rng: np.random.Generator, number: int, smoothness: float) -> Array:
    """Random fields with deviation 1, smoothed by a Gaussian of this many pixels: `[number, 28, 28]`."""
    frequency = np.fft.fftfreq(_SIDE)
    squares = frequency[:, None] ** 2 + frequency**2
    white = np.fft.fft2(rng.normal(size=(number, _SIDE, _SIDE)))
    smooth: Array = np.fft.ifft2(white * np.exp(-2 * (np.pi * smoothness) ** 2 * squares)).real
    scaled: Array = smooth / smooth.std((1, 2), keepdims=True)
    return scaled

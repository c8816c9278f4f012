"""The distribution of noise from bytes, and that a question asked again gets the same."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import pytest
from scipy.stats import kstest

from tegu.core.privacy.noise import add_noise, noise_length, normal_of_secret, normal_of_seed, system_normal

TREE = {"b": np.zeros((3, 2), np.float32), "a": np.asarray(2.0, np.float32)}


@pytest.mark.parametrize(
    "normal", [system_normal, normal_of_secret(b"s" * 32, b"q"), normal_of_seed(1)], ids=["system", "secret", "seed"]
)
def test_noise_is_standard_normal_and_independent(normal: object) -> None:
    drawn = normal(40_000)  # type: ignore[operator] # each is a Normal
    assert drawn.dtype == np.float64
    assert kstest(drawn, "norm").pvalue > 1e-6
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.03
    assert abs(np.corrcoef(drawn[:20_000], drawn[20_000:])[0, 1]) < 0.04


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    like = {"w": np.full((100, 200), 7.0, np.float32), "s": np.asarray(1.0, np.float32)}
    noised = add_noise(like, 0.5, system_normal)
    assert {name: (array.dtype, array.shape) for name, array in noised.items()} == {
        name: (array.dtype, array.shape) for name, array in like.items()
    }
    assert (noised["w"] - 7).std() == pytest.approx(0.5, rel=0.03)
    assert (noised["w"] - 7).mean() == pytest.approx(0.0, abs=0.02)
    assert np.linalg.norm(noised["w"] - 7) < noise_length(20_000, 0.5)


def test_the_same_question_gets_the_same_noise_and_another_one_other_noise() -> None:
    secret = os.urandom(32)
    ask = partial(add_noise, TREE, 1.0)
    once, again = ask(normal_of_secret(secret, b"round 1")), ask(normal_of_secret(secret, b"round 1"))
    assert all((once[name] == again[name]).all() for name in TREE)
    for other in (normal_of_secret(secret, b"round 2"), normal_of_secret(os.urandom(32), b"round 1")):
        noised = ask(other)
        assert all((once[name] != noised[name]).all() for name in TREE)
    assert len({float(value) for array in once.values() for value in array.reshape(-1)}) == 7, "no entry repeats"

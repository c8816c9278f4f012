"""PLATIPUS against the two algorithms of its paper in plain torch."""

from __future__ import annotations

import pytest
import torch
from tests.learners.algorithms.plain_networks import KINDS, forward, loss_of, network, plain, rows_of, slopes, variables
from tests.learners.toys import assert_trees_close
from torch.distributions import Normal, kl_divergence

from tegu.core.errors import DataError
from tegu.learners import platipus

STEPS, LR, SAMPLES, WEIGHT = 2, 0.3, 3, 0.01
NAMES = ("0.weight", "0.bias", "2.weight", "2.bias")


def learner_of(kind):
    return platipus(network(), KINDS[kind], steps=STEPS, lr=LR, samples=SAMPLES, kl_weight=WEIGHT)


def noise_of(learner):
    return torch.randn(learner.noise, generator=torch.Generator().manual_seed(5))


def shaped(noise, meta):
    parts = noise.split([meta[name].numel() for name in NAMES])
    return {name: part.reshape(meta[name].shape) for name, part in zip(NAMES, parts, strict=True)}


def distribution(kind, meta, batch, gamma, width):
    gradient = slopes(loss_of(kind, meta, batch), meta, NAMES)
    return {n: Normal(meta[n] - meta[gamma].exp() * gradient[n], meta[f"{n}/{width}"].exp()) for n in NAMES}


def descended(kind, theta, support):
    for _ in range(STEPS):
        gradient = slopes(loss_of(kind, theta, support), theta, NAMES)
        theta = {name: theta[name] - LR * gradient[name] for name in NAMES}
    return theta


@pytest.mark.parametrize("kind", KINDS)
def test_the_update_is_that_of_algorithm_1(kind):
    learner = learner_of(kind)
    meta, support, query = variables(learner), rows_of(kind, 5, 1), rows_of(kind, 4, 2)
    noise = noise_of(learner)
    prior = distribution(kind, meta, support, "/log_gamma_p", "log_sigma")
    posterior = distribution(kind, meta, query, "/log_gamma_q", "log_v")
    drawn = shaped(noise[: learner.noise // SAMPLES], meta)
    theta = {name: posterior[name].mean + posterior[name].stddev * drawn[name] for name in NAMES}
    divergence = sum(kl_divergence(posterior[name], prior[name]).sum() for name in NAMES)
    objective = loss_of(kind, descended(kind, theta, support), query) + WEIGHT * divergence
    expected = slopes(objective, meta, list(meta))
    assert all(value.any() for value in expected.values()), "everything must be learned"
    assert_trees_close(learner.update(plain(meta), support, query, noise), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_draws_each_sample_and_then_descends(kind):
    learner = learner_of(kind)
    meta, support, x = variables(learner), rows_of(kind, 5, 1), rows_of(kind, 4, 2).x
    noise = noise_of(learner)
    prior = distribution(kind, meta, support, "/log_gamma_p", "log_sigma")
    state = learner.adapt(plain(meta), support, learner.knobs, noise)
    outputs = []
    for number, part in enumerate(noise.split(learner.noise // SAMPLES)):
        drawn = shaped(part, meta)
        theta = descended(kind, {n: prior[n].mean + prior[n].stddev * drawn[n] for n in NAMES}, support)
        assert_trees_close({n: state[f"{number}/{n}"] for n in NAMES}, plain(theta))
        outputs.append(forward(plain(theta), x))
    found = learner.predict(plain(meta), state, x)
    every = torch.stack(outputs)
    if kind == "regression":
        torch.testing.assert_close(found, every.mean(0))
    elif kind == "classification":
        torch.testing.assert_close(found.softmax(-1), every.softmax(-1).mean(0))
    else:
        torch.testing.assert_close(found.sigmoid(), every.sigmoid().mean(0))


def test_without_steps_nothing_is_drawn():
    learner = learner_of("regression")
    meta = plain(variables(learner))
    state = learner.adapt(meta, rows_of("regression", 5, 1), learner.unadapted, noise_of(learner))
    assert_trees_close(state, {name: meta[name.split("/", 1)[1]] for name in state})


@pytest.mark.parametrize(
    ("options", "message"), [({"samples": 0}, "samples is 0"), ({"kl_weight": -1}, "kl_weight is -1")]
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        platipus(network(), KINDS["classification"], **options)

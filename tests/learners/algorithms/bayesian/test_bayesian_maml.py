"""Bayesian MAML against Stein variational gradient descent written out for each pair of particles."""

from __future__ import annotations

import math

import pytest
import torch
from tests.learners.algorithms.plain_networks import KINDS, forward, loss_of, network, plain, rows_of, slopes, variables
from tests.learners.toys import NO_NOISE, assert_trees_close, concatenated

from tegu.core.errors import DataError
from tegu.learners import bayesian_maml

STEPS, LR, PARTICLES, LEADER = 2, 0.8, 3, 2
NAMES = ("0.weight", "0.bias", "2.weight", "2.bias")


def learner_of(kind, **options):
    return bayesian_maml(
        network(), KINDS[kind], steps=STEPS, lr=LR, particles=PARTICLES, leader_steps=LEADER, init="fresh", **options
    )


def vector(particle):
    return torch.cat([particle[name].flatten() for name in NAMES])


def stein_step(kind, particles, batch):
    """One step of all particles: Liu and Wang 2016, algorithm 1, with the kernel differentiated by autograd."""
    pairs = [(vector(a) - vector(b)).square().sum() for i, a in enumerate(particles) for b in particles[:i]]
    bandwidth = torch.stack(pairs).median().detach() / math.log(len(particles))
    rows = len(batch.mask)
    scores = [slopes(-rows * loss_of(kind, each, batch), each, NAMES) for each in particles]
    moved = []
    for own in particles:
        total = {name: torch.zeros_like(own[name]) for name in NAMES}
        for other, score in zip(particles, scores, strict=True):
            k = torch.exp(-(vector(other) - vector(own)).square().sum() / bandwidth)
            for name in NAMES:
                slope = -2 / bandwidth * (other[name] - own[name]) * k  # of the kernel, by the other particle
                total[name] = total[name] + k * score[name] + slope
        moved.append({name: own[name] + LR / rows / len(particles) * total[name] for name in NAMES})
    return moved


def adapted(kind, meta, support):
    particles = [{n: meta[n] + meta[f"{n}/offsets"][m] for n in NAMES} for m in range(PARTICLES)]
    for _ in range(STEPS):
        particles = stein_step(kind, particles, support)
    return particles


@pytest.mark.parametrize("kind", KINDS)
def test_particles_move_by_stein_variational_gradient_descent(kind):
    learner = learner_of(kind)
    meta, support, x = variables(learner), rows_of(kind, 5, 1), rows_of(kind, 4, 2).x
    expected = adapted(kind, meta, support)
    state = learner.adapt(plain(meta), support, learner.knobs, NO_NOISE)
    assert_trees_close(state, {name: torch.stack([each[name] for each in expected]).detach() for name in NAMES})
    every = torch.stack([forward(plain(each), x) for each in expected])
    found = learner.predict(plain(meta), state, x)
    if kind == "regression":
        torch.testing.assert_close(found, every.mean(0))
    elif kind == "classification":
        torch.testing.assert_close(found.softmax(-1), every.softmax(-1).mean(0))
    else:
        torch.testing.assert_close(found.sigmoid(), every.sigmoid().mean(0))


@pytest.mark.parametrize("kind", KINDS)
def test_the_update_is_the_gradient_of_the_chaser_loss(kind):
    learner = learner_of(kind)
    meta, support, query = variables(learner), rows_of(kind, 5, 1), rows_of(kind, 4, 2)
    chaser = adapted(kind, meta, support)
    leader = [{name: value.detach().requires_grad_() for name, value in each.items()} for each in chaser]
    for _ in range(LEADER):
        leader = stein_step(kind, leader, concatenated(support, query))
    loss = sum((vector(a) - vector(b).detach()).square().sum() for a, b in zip(chaser, leader, strict=True))
    expected = slopes(loss, meta, list(meta))
    assert_trees_close(learner.update(plain(meta), support, query, NO_NOISE), expected, rtol=1e-3, atol=1e-5)


def test_particles_start_apart_and_without_steps_stay():
    for init in ("fresh", "module"):
        learner = bayesian_maml(network(), KINDS["regression"], init=init)
        meta = {name: torch.from_numpy(value) for name, value in learner.init(0).items()}
        state = learner.adapt(meta, rows_of("regression", 5, 1), learner.unadapted, NO_NOISE)
        assert state["0.weight"].shape == (5, 5, 4)
        torch.testing.assert_close(state["0.weight"][0], meta["0.weight"])
        assert (state["0.weight"][0] - state["0.weight"][1]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("options", "message"), [({"particles": 1}, "particles is 1"), ({"leader_steps": 0}, "leader_steps is 0")]
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        bayesian_maml(network(), KINDS["classification"], **options)

"""The LSTM meta-learner against a loop over entries with torch's own LSTM cell."""

from __future__ import annotations

import math

import pytest
import torch
from tests.learners.algorithms.plain_networks import (
    KINDS,
    loss_of,
    network,
    plain,
    rows_of,
    slopes,
    variables,
)
from tests.learners.toys import NO_NOISE, assert_trees_close
from torch import nn

from tegu.core.errors import DataError
from tegu.learners import lstm_meta_learner
from tegu.learners.algorithms.learned_optimiser.lstm_meta_learner import preprocessed

STEPS, HIDDEN = 2, 3


def seen(value):
    """Appendix A of the paper, for one number."""
    if abs(value) >= math.exp(-10):
        return [math.log(abs(value)) / 10, math.copysign(1, value)]
    return [-1.0, math.exp(10) * value]


def cell(meta):
    lstm = nn.LSTMCell(4, HIDDEN)
    parts = {"weight_ih": "seen", "weight_hh": "recurrent", "bias_ih": "bias"}
    gates = ("input", "forget", "cell", "output")
    names = {name: torch.cat([meta[f"/lstm/{gate}/{part}"] for gate in gates]) for name, part in parts.items()}
    names |= {"bias_hh": torch.zeros(4 * HIDDEN)}
    return lambda x, state: torch.func.functional_call(lstm, names, (x, state))


def by_entries(kind, meta, names, support):
    """The steps of section 3, with all entries of theta in one list, as the paper stores them."""
    theta = torch.cat([meta[name].flatten() for name in names])
    sizes = [meta[name].numel() for name in names]
    forget, taken = torch.zeros_like(theta), torch.zeros_like(theta)
    h = c = torch.zeros(len(theta), HIDDEN)
    lstm = cell(meta)

    def tree(values):
        return meta | {n: part.reshape(meta[n].shape) for n, part in zip(names, values.split(sizes), strict=True)}

    def gate(name, before):
        weights = [meta[f"/{name}/{part}"].reshape(-1) for part in ("hidden", "theta", "before")]
        inputs = torch.cat([h, theta[:, None], before[:, None]], 1)
        return torch.sigmoid(inputs @ torch.cat(weights) + meta[f"/{name}/bias"])

    for _ in range(STEPS):
        leaves = {name: value.detach().requires_grad_() for name, value in tree(theta).items()}
        loss = loss_of(kind, leaves, support)
        gradient = torch.cat([value.flatten() for value in slopes(loss, leaves, names, create_graph=False).values()])
        inputs = torch.tensor([[*seen(each.item()), *seen(loss.item())] for each in gradient])
        h, c = lstm(inputs, (h, c))
        forget, taken = gate("forget", forget), gate("input", taken)
        theta = forget * theta - taken * gradient
    return tree(theta)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cell_state_is_the_parameters_and_both_lstms_learn(kind):
    learner = lstm_meta_learner(network(), KINDS[kind], steps=STEPS, lr=0.3, hidden=HIDDEN)
    meta, support, query = variables(learner), rows_of(kind, 5, 1), rows_of(kind, 4, 2)
    names = learner.adapted_parameters
    theta = by_entries(kind, meta, names, support)
    expected = slopes(loss_of(kind, theta, query), meta, list(meta))
    assert all(value.any() for value in expected.values()), "everything must be learned"
    state = learner.adapt(plain(meta), support, learner.knobs, NO_NOISE)
    assert_trees_close(state, {name: theta[name].detach() for name in names})
    assert_trees_close(learner.update(plain(meta), support, query, NO_NOISE), expected, rtol=1e-3)


def test_it_starts_near_gradient_descent():
    learner = lstm_meta_learner(network(), KINDS["regression"], steps=1, lr=0.2)
    meta = {name: torch.from_numpy(value).requires_grad_() for name, value in learner.init(0).items()}
    support = rows_of("regression", 5, 1)
    gradient = slopes(loss_of("regression", meta, support), meta, learner.adapted_parameters, create_graph=False)
    state = learner.adapt(plain(meta), support, learner.knobs, NO_NOISE)
    expected = {name: 0.9933 * meta[name].detach() - 0.2 * gradient[name] for name in gradient}
    assert_trees_close(state, expected, rtol=0.02, atol=2e-3)


def test_large_and_small_numbers_are_seen_as_the_paper_says():
    numbers = [3.0, -0.02, 1e-4, -1e-5, 0.0, math.exp(-10)]
    found = torch.stack(preprocessed(torch.tensor(numbers)), -1)
    torch.testing.assert_close(found, torch.tensor([seen(each) if each else [-1.0, 0.0] for each in numbers]))


@pytest.mark.parametrize(("options", "message"), [({"lr": 1.0}, "lr is 1.0"), ({"hidden": 0}, "hidden is 0")])
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        lstm_meta_learner(network(), KINDS["classification"], **options)

"""The outer optimiser: names, options, its state over rounds and through a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_optimizer
from tests.server.fake import random_tree, same_bits

from tegu.core.data.tree import Tree
from tegu.core.errors import DataError, FederationError, UnknownNameError
from tegu.learners.inner_loop.optimisers import optimiser_names
from tegu.server.training.checkpoint import Checkpoint, latest_checkpoint, write_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule

ROUNDS = 12
META = random_tree(0)
DIRECTIONS = [random_tree(1 + i) for i in range(ROUNDS)]
# Every kind of state: none, tensors, counters, counters in the group (MADGRAD), dictionaries (AggMo), caches (RAdam),
# phases (SWATS), and slow weights (Ranger).
ONLY_MATRICES = {"Muon"}
NAMES = [name for name in optimiser_names() if name not in ONLY_MATRICES]


def run_rounds(outer: OuterOptimiser, first: int, last: int) -> Tree:
    for number in range(first, last + 1):
        outer.step(DIRECTIONS[number - 1], number)
    return outer.meta


def reference_meta(build: Callable[..., torch.optim.Optimizer], lr: float, **options: Any) -> Tree:
    parameters = {name: torch.tensor(value, requires_grad=True) for name, value in META.items()}
    optimiser = build(parameters.values(), lr=lr, **options)
    for direction in DIRECTIONS:
        for name, parameter in parameters.items():
            parameter.grad = torch.tensor(direction[name])
        optimiser.step()
    return {name: parameter.detach().numpy() for name, parameter in parameters.items()}


def test_sgd_is_reptiles_update() -> None:
    moved = OuterOptimiser(META, OuterRule("SGD", 0.5), 1).step(DIRECTIONS[0], 1)
    assert same_bits(moved, {name: META[name] - np.float32(0.5) * DIRECTIONS[0][name] for name in META})


@pytest.mark.parametrize(
    ("name", "build", "options"),
    [
        ("sgd", torch.optim.SGD, {"momentum": 0.9}),
        ("Adam", torch.optim.Adam, {}),
        ("adamw", torch.optim.AdamW, {"weight_decay": 0.3, "eps": 1e-4}),
        ("Adagrad", torch.optim.Adagrad, {}),
        ("Yogi", torch_optimizer.Yogi, {}),
        ("lamb", torch_optimizer.Lamb, {"weight_decay": 0.1}),
    ],
)
def test_rounds_are_the_steps_of_one_optimiser(
    name: str, build: Callable[..., torch.optim.Optimizer], options: dict[str, float]
) -> None:
    """Rounds equal a plain torch loop over the same directions, so state is kept and options are used."""
    ours = run_rounds(OuterOptimiser(META, OuterRule(name, 0.05, options), ROUNDS), 1, ROUNDS)
    theirs = reference_meta(build, 0.05, **options)
    assert same_bits(ours, {name: theirs[name] for name in ours})
    if options:
        assert not same_bits(ours, run_rounds(OuterOptimiser(META, OuterRule(name, 0.05), ROUNDS), 1, ROUNDS))


@pytest.mark.filterwarnings("ignore:This overload of add:UserWarning")  # torch-optimizer calls deprecated overloads
@pytest.mark.parametrize("name", NAMES)
def test_every_optimiser_takes_the_steps_that_torch_takes(name: str) -> None:
    ours = run_rounds(OuterOptimiser(META, OuterRule(name, 0.05), ROUNDS), 1, ROUNDS)
    theirs = reference_meta(getattr(torch.optim, name, None) or getattr(torch_optimizer, name), 0.05)
    assert same_bits(ours, {each: theirs[each] for each in ours})
    assert not same_bits(ours, META)


@pytest.mark.parametrize("name", sorted(ONLY_MATRICES))
def test_an_optimiser_of_matrices_refuses_other_shapes_in_words(name: str) -> None:
    with pytest.raises(DataError, match=f"{name} rejects lr .* only supports 2D parameters .* choose another optimis"):
        OuterOptimiser(META, OuterRule(name, 0.05), ROUNDS)


def test_weight_decay_equals_a_calculation_by_hand() -> None:
    """Each round shrinks the weights by the share `lr * weight_decay`, in addition to the mean update."""
    outer = OuterOptimiser(META, OuterRule("SGD", 0.5, {"weight_decay": 0.1}), 1)
    found = outer.step({name: np.full_like(value, 2.0) for name, value in META.items()}, 1)
    for name, value in META.items():
        np.testing.assert_allclose(found[name], value * (1 - 0.05) - 0.5 * 2.0, rtol=1e-6)


def test_the_step_size_decays_linearly() -> None:
    outer = OuterOptimiser(META, OuterRule("SGD", 1.0, decay=True), 4)
    ones = {name: np.ones_like(value) for name, value in META.items()}
    before, moved = outer.meta, []
    for number in range(1, 5):
        after = outer.step(ones, number)
        moved.append(float(before["bias"][0] - after["bias"][0]))
        before = after
    assert moved == pytest.approx([1.0, 0.75, 0.5, 0.25], abs=1e-6)


def test_the_average_weights_rounds_by_a_polynomial_of_their_number() -> None:
    """In float64: round s of t has weight proportional to (s + 7)! / (s - 1)!, a polynomial of degree 8."""
    iterate = OuterOptimiser(META, OuterRule("Adam", 0.05), ROUNDS)
    averaged = OuterOptimiser(META, OuterRule("Adam", 0.05, averaged=True), ROUNDS)
    path = [iterate.step(direction, number) for number, direction in enumerate(DIRECTIONS, 1)]
    for number, direction in enumerate(DIRECTIONS, 1):
        found = averaged.step(direction, number)
        weights = np.asarray([math.factorial(s + 7) / math.factorial(s - 1) for s in range(1, number + 1)])
        for name, value in found.items():
            wanted = np.tensordot(weights / weights.sum(), [each[name] for each in path[:number]], 1)
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
    assert same_bits(averaged.trained, path[-1]), "rounds train the iterate"
    assert same_bits(averaged.meta, found)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_restored_average_continues_bit_for_bit(name: str, tmp_path: Path) -> None:
    rule = OuterRule(name, 0.05, averaged=True)
    whole = OuterOptimiser(META, rule, ROUNDS)
    run_rounds(whole, 1, ROUNDS)
    half = OuterOptimiser(META, rule, ROUNDS)
    write_checkpoint(tmp_path, Checkpoint(7, run_rounds(half, 1, 7), half.state()))
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert not same_bits(found.meta, half.trained), "a checkpoint's parameters are those to keep"
    resumed = OuterOptimiser(found.meta, rule, ROUNDS)
    resumed.restore(found.outer)
    assert same_bits(run_rounds(resumed, 8, ROUNDS), whole.meta)
    assert same_bits(resumed.trained, whole.trained)


@pytest.mark.filterwarnings("ignore:This overload of add:UserWarning")  # torch-optimizer calls deprecated overloads
@pytest.mark.parametrize("name", NAMES)
def test_restored_state_continues_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Through a checkpoint file into a new optimiser, after more steps than any warm-up has."""
    rule = OuterRule(name, 0.05, decay=True)
    whole = run_rounds(OuterOptimiser(META, rule, ROUNDS), 1, ROUNDS)

    half = OuterOptimiser(META, rule, ROUNDS)
    write_checkpoint(tmp_path, Checkpoint(7, run_rounds(half, 1, 7), half.state()))
    found = latest_checkpoint(tmp_path)
    assert found is not None
    resumed = OuterOptimiser(found.meta, rule, ROUNDS)
    resumed.restore(found.outer)
    assert same_bits(run_rounds(resumed, 8, ROUNDS), whole)


@pytest.mark.parametrize("name", ["Adam", "AggMo", "MADGRAD"])
def test_without_the_state_the_continuation_differs(name: str) -> None:
    """Shows that the test above can fail."""
    rule = OuterRule(name, 0.05)
    whole = run_rounds(OuterOptimiser(META, rule, ROUNDS), 1, ROUNDS)
    forgetful = OuterOptimiser(run_rounds(OuterOptimiser(META, rule, ROUNDS), 1, 7), rule, ROUNDS)
    assert not same_bits(run_rounds(forgetful, 8, ROUNDS), whole)


def test_state_is_a_copy() -> None:
    outer = OuterOptimiser(META, OuterRule("Adam"), ROUNDS)
    run_rounds(outer, 1, 2)
    state = outer.state()
    kept = {name: array.copy() for name, array in state.arrays.items()}
    meta = outer.meta
    run_rounds(outer, 3, 5)
    assert same_bits(state.arrays, kept)
    assert not same_bits(meta, outer.meta)


def test_another_optimisers_state_is_refused() -> None:
    state = OuterOptimiser(META, OuterRule("Adam"), 1).state()
    with pytest.raises(FederationError, match=r"'adam' and this run has 'Yogi': choose the same one"):
        OuterOptimiser(META, OuterRule("Yogi"), 1).restore(state)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no optimiser is called 'Yogy'\. Did you mean 'Yogi'\?"):
        OuterRule("Yogy")


def test_an_optimiser_that_needs_more_than_a_gradient_says_what() -> None:
    with pytest.raises(DataError, match="LBFGS evaluates the loss several times in one step"):
        OuterRule("lbfgs")


@pytest.mark.parametrize("option", ["momentun", "lr", "params"])
def test_an_unknown_option_lists_the_known_ones(option: str) -> None:
    with pytest.raises(DataError, match=rf"SGD has no option {option}: choose from momentum, .*nesterov"):
        OuterRule("SGD", 1.0, {option: 0.5})


@pytest.mark.parametrize(
    ("rule", "reason"), [(OuterRule("Adam", -1.0), "Invalid learning rate"), (OuterRule("Muon"), "2D parameters")]
)
def test_settings_that_the_optimiser_rejects_are_an_error(rule: OuterRule, reason: str) -> None:
    with pytest.raises(DataError, match=rf"{rule.name} rejects lr .*{reason}.*choose another optimiser"):
        OuterOptimiser(META, rule, 1)


def test_a_direction_of_another_layout_is_refused() -> None:
    with pytest.raises(DataError, match=r"'bias' is .* both must come from the same model"):
        OuterOptimiser(META, OuterRule(), 1).step({**DIRECTIONS[0], "bias": np.zeros(4, np.float32)}, 1)

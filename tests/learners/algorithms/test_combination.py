"""A combination is its learners side by side, and predicts by their shares."""

from __future__ import annotations

import pytest
import torch
from tests.learners.toys import NO_NOISE, SPEC, assert_trees_close, meta_of, mlp, rows

from tegu.core.data.spec import Spec
from tegu.core.errors import DataError, UnknownNameError
from tegu.learners import Learner, find_learner, platipus, prototypical_networks, r2d2, reptile, residual_correction
from tegu.learners.algorithms.combination import combination
from tegu.learners.learner import TorchTree
from tegu.learners.parameters.copies import copy_of

X = rows(6, seed=5).x


def parts_of(*names: str) -> list[Learner]:
    torch.manual_seed(3)
    module = mlp()
    return [find_learner(name)(module, SPEC) for name in names]


def predicted(learner: Learner, meta: TorchTree, **knobs: float) -> torch.Tensor:
    noise = torch.zeros(learner.noise)
    state = learner.adapt(meta, rows(7, seed=1), {**learner.knobs, **knobs}, noise)
    return learner.predict(meta, state, X).log_softmax(-1)


@pytest.mark.parametrize("names", [("prototypical_networks", "r2d2"), ("reptile", "r2d2", "prototypical_networks")])
def test_a_learner_with_the_whole_share_predicts_as_it_does_alone(names: tuple[str, ...]) -> None:
    parts = parts_of(*names)
    both = combination(parts)
    meta = meta_of(both)
    assert both.name == ",".join(names)
    for number, part in enumerate(parts):
        shares = {f"share.{each}": float(each == number) for each in range(len(parts))}
        alone = predicted(part, copy_of(meta, number))
        torch.testing.assert_close(predicted(both, meta, **shares), alone, rtol=1e-5, atol=1e-5)
    halves = {f"share.{each}": 0.5 * (each < 2) for each in range(len(parts))}
    mean = torch.stack([predicted(part, copy_of(meta, n)).exp() for n, part in enumerate(parts[:2])]).mean(0)
    torch.testing.assert_close(predicted(both, meta, **halves).exp(), mean, rtol=1e-4, atol=1e-5)


def test_values_are_averaged() -> None:
    spec = Spec.regression((4,), 3)
    torch.manual_seed(3)
    parts = [build(mlp(), spec) for build in (reptile, r2d2)]
    both = combination(parts)
    meta, support = meta_of(both), rows(7, seed=1)._replace(y=torch.randn(7, 3))
    state = both.adapt(meta, support, {**both.knobs, "share.0": 0.5, "share.1": 0.5}, NO_NOISE)
    own = [part.adapt(copy_of(meta, n), support, part.knobs, NO_NOISE) for n, part in enumerate(parts)]
    expected = sum(part.predict(copy_of(meta, n), own[n], X) for n, part in enumerate(parts)) / 2
    torch.testing.assert_close(both.predict(meta, state, X), expected)


def test_knobs_are_each_learners_own() -> None:
    parts = parts_of("reptile", "r2d2")
    both = combination(parts)
    meta, alone = meta_of(both), {"share.0": 0.0, "share.1": 1.0}
    changed = predicted(both, meta, **alone, **{"1.ridge": 9.0})
    torch.testing.assert_close(changed, predicted(parts[1], copy_of(meta, 1), ridge=9.0), rtol=1e-5, atol=1e-5)
    assert (changed - predicted(both, meta, **alone)).abs().max() > 0.01
    torch.testing.assert_close(predicted(both, meta, **alone, **{"0.lr": 9.0}), predicted(both, meta, **alone))


def test_the_update_is_each_learners_and_so_is_a_sum() -> None:
    parts = parts_of("prototypical_networks", "r2d2")
    both = combination(parts)
    meta, support, query = meta_of(both), rows(7, seed=1), rows(5, seed=2)
    found = both.update(meta, support, query, NO_NOISE)
    for number, part in enumerate(parts):
        expected = part.update(copy_of(meta, number), support, query, NO_NOISE)
        assert_trees_close(copy_of(found, number), expected)
    assert set(found) == set(meta) - set(both.fixed_parameters)
    summed = both.execution.summed_update
    assert summed is not None
    pairs = [[type(side)(*(torch.stack([each, each]) for each in side)) for side in (support, query)]]
    total = summed.compute(meta, *pairs[0], NO_NOISE)
    assert_trees_close(total, {name: 2 * value for name, value in found.items()}, rtol=1e-4, atol=1e-5)


def test_each_learner_gets_its_own_noise() -> None:
    torch.manual_seed(3)
    one, other = (platipus(mlp(), SPEC, samples=samples, steps=1) for samples in (1, 2))
    both = combination([one, other])
    assert both.noise == one.noise + other.noise
    meta, noise = meta_of(both), torch.randn(both.noise, generator=torch.Generator().manual_seed(0))
    state = both.adapt(meta, rows(7, seed=1), both.knobs, noise)
    for number, (part, drawn) in enumerate(zip((one, other), noise.split([one.noise, other.noise]), strict=True)):
        expected = part.adapt(copy_of(meta, number), rows(7, seed=1), part.knobs, drawn)
        assert_trees_close(copy_of(state, number), expected)
    assert both.execution.summed_update is None


@pytest.mark.parametrize(
    "names", [("reptile", "r2d2"), ("r2d2", "prototypical_networks"), ("residual_correction", "r2d2")]
)
def test_without_adaptation_the_first_learner_predicts_alone(names: tuple[str, ...]) -> None:
    parts = parts_of(*names)
    both = combination(parts)
    meta = meta_of(both)
    nobody = predicted(both, meta, **both.unadapted)
    torch.testing.assert_close(
        nobody, predicted(parts[0], copy_of(meta, 0), **parts[0].unadapted), rtol=1e-5, atol=1e-5
    )


def test_a_correction_in_a_combination_is_whole() -> None:
    parts = parts_of("residual_correction", "r2d2")
    both, meta = combination(parts), meta_of(combination(parts))
    guarded = {"0.guard": 3.0, "0.weight": 0.1}
    torch.testing.assert_close(predicted(both, meta, **guarded), predicted(both, meta))
    whole = {"weight": 1.0, "guard": 0.0, "floor": 0.0}
    torch.testing.assert_close(
        predicted(both, meta), predicted(parts[0], copy_of(meta, 0), **whole), rtol=1e-4, atol=1e-5
    )


def test_candidates_are_each_learners_and_halves_of_two() -> None:
    parts = parts_of("reptile", "r2d2")
    both = combination(parts)
    tried = both.calibration.candidates
    assert all(set(each) == set(both.knobs) for each in tried)
    shares = [(each["share.0"], each["share.1"]) for each in tried]
    for number, part in enumerate(parts):
        assert shares.count((1.0 - number, float(number))) == len(part.calibration.candidates)
    assert shares.count((0.5, 0.5)) == 1
    assert {each["steps"] for each in tried if each["share.1"] == 1} == {1.0}


def test_what_cannot_be_combined_is_refused() -> None:
    (one,) = parts_of("reptile")
    with pytest.raises(DataError, match="1 learner is to be combined: expected two or more"):
        combination([one])
    other = prototypical_networks(mlp(4), Spec.classification((4,), 4))
    with pytest.raises(DataError, match="expected one spec"):
        combination([one, other])
    with pytest.raises(UnknownNameError, match="'r2d3'"):
        find_learner("reptile,r2d3")
    with pytest.raises(DataError, match="averages the examples"):
        find_learner("reptile,prototypical_networks")(mlp(), Spec.regression((4,), 3))


def test_options_go_to_the_learners_that_have_them() -> None:
    torch.manual_seed(3)
    both = find_learner("reptile, r2d2")(mlp(), SPEC, steps=3, lr=0.5)
    assert both.name == "reptile,r2d2"
    assert (both.knobs["steps"], both.knobs["0.lr"]) == (3.0, 0.5)
    assert residual_correction(mlp(), SPEC).name == "residual_correction"

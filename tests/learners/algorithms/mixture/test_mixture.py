"""Several initialisations: their updates, a user's mixing weights, and mixed outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.toys import (
    ITEMS,
    NO_NOISE,
    SPEC,
    Factors,
    assert_trees_close,
    concatenated,
    defaults,
    meta_of,
    mlp,
    rows,
)

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners import mixture, reptile, residual_correction
from tegu.learners.algorithms.mixture.mixture import count_initialisations
from tegu.learners.parameters.copies import copy_of

REGRESSION = Spec.regression((4,), 2)
TEMPERATURE = 4.0
SMOOTHING = 0.02


def regression_rows(count, seed=0, padding=0):
    batch = rows(count, seed, padding)
    return batch._replace(y=torch.randn(count + padding, 2, generator=torch.Generator().manual_seed(seed)))


def clicks(count, seed=0, padding=0):
    ids = torch.randint(ITEMS, (count + padding,), generator=torch.Generator().manual_seed(seed))
    return Batch(ids, torch.ones(count + padding), rows(count, seed, padding).mask)


def learners(steps=3):
    torch.manual_seed(0)  # modules draw what `init` does not replace
    return {
        "classification": (reptile(mlp(), SPEC, steps=steps, lr=0.4, prior=2.0, init="fresh"), rows),
        "regression": (reptile(mlp(2), REGRESSION, steps=steps, lr=0.1, init="fresh"), regression_rows),
        "ranking": (
            reptile(Factors(), Spec.ranking(ITEMS), adapted_parameters=["user"], steps=steps, lr=0.5, init="fresh"),
            clicks,
        ),
    }


KINDS = list(learners())


def distinct_meta(learner, seed=0, size=1.0):
    """Initialisations different enough to be distinguished, with uneven mixing weights."""
    rng = np.random.default_rng(seed)
    drawn = {name: rng.normal(size=value.shape).astype(np.float32) for name, value in meta_of(learner).items()}
    meta = {name: size * (value + torch.from_numpy(drawn[name])) for name, value in meta_of(learner).items()}
    return meta | {"share/0": torch.tensor(0.7), "share/1": torch.tensor(-0.4)}


def likelihood(kind, base, meta, batch):
    """Log-likelihood of the real rows under one initialisation, from its outputs."""
    real = batch.mask.bool()
    x, y = batch.x[real], batch.y[real]
    if kind == "ranking":
        scores = base.predict(meta, {}, torch.arange(ITEMS))
        return float(torch.log_softmax(scores, -1)[x].sum())
    output = base.predict(meta, {}, x)
    if kind == "classification":
        return -float(F.cross_entropy(output, y, reduction="sum"))
    return -len(y) / 2 * float(F.mse_loss(output, y).log())


def responsibilities(kind, base, meta, batch, temperature=TEMPERATURE, number=2):
    scores = [
        float(meta[f"share/{n}"]) + likelihood(kind, base, copy_of(meta, n), batch) / temperature for n in range(number)
    ]
    return torch.softmax(torch.tensor(scores, dtype=torch.float64), 0).tolist()


def test_one_initialisation_is_the_learner_itself():
    learner = reptile(mlp(), SPEC, init="fresh")
    assert mixture(learner, 1) is learner
    assert count_initialisations(learner.init(0)) == 1


@pytest.mark.parametrize("number", [0, -1])
def test_fewer_than_one_initialisation_is_refused(number):
    with pytest.raises(DataError, match=f"initialisations is {number}: expected at least 1"):
        mixture(reptile(mlp(), SPEC, init="fresh"), number)


def test_a_learner_without_steps_or_losses_is_refused():
    learner = reptile(mlp(), SPEC, init="fresh")
    for other in (
        replace(learner, calibration=replace(learner.calibration, row_losses=None)),
        replace(learner, adapt=lambda *_: {}),
    ):
        with pytest.raises(DataError, match="reptile is not iterated or has no row losses: expected both"):
            mixture(other, 2)


def test_initialisations_start_around_one_origin():
    learner = reptile(mlp(), SPEC, init="fresh")
    many = mixture(learner, 3)
    first, again, other = (many.init(seed) for seed in (5, 5, 6))
    assert set(first) == {f"{n}/{name}" for n in range(3) for name in learner.init(0)} | {
        f"share/{n}" for n in range(3)
    }
    for name, value in learner.init(5).items():
        assert first[f"0/{name}"].tobytes() == value.tobytes()
        for number in (1, 2):
            apart = first[f"{number}/{name}"] - value
            assert 0 < np.abs(apart).mean() < 0.2 * (value.std() or 1)
            assert first[f"{number}/{name}"].dtype == np.float32
        assert np.abs(first[f"1/{name}"] - first[f"2/{name}"]).max() > 0
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert any(first[name].tobytes() != other[name].tobytes() for name in first)
    assert [float(first[f"share/{n}"]) for n in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("temperature", "padding"), [(4.0, 0), (1.0, 3)])
def test_each_adapts_as_it_would_alone_and_rows_determine_responsibilities(kind, temperature, padding):
    base, draw = learners()[kind]
    many = mixture(base, 2)
    meta, support = distinct_meta(many, size=0.4 if kind == "ranking" else 1.0), draw(4, 1, padding)
    state = many.adapt(meta, support, defaults(many, temperature=temperature), NO_NOISE)
    for number in range(2):
        alone = base.adapt(copy_of(meta, number), support, base.knobs, NO_NOISE)
        assert_trees_close(copy_of(state, number), alone)
    expected = responsibilities(kind, base, meta, support, temperature)
    assert [float(state[f"share/{n}"]) for n in range(2)] == pytest.approx(expected, abs=1e-5)
    assert abs(expected[0] - float(torch.softmax(torch.tensor([0.7, -0.4]), 0)[0])) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_without_steps_the_populations_weights_mix_the_initialisations(kind):
    base, draw = learners()[kind]
    many = mixture(base, 2)
    meta = distinct_meta(many)
    share = torch.softmax(torch.tensor([0.7, -0.4]), 0)
    states = [many.adapt(meta, draw(count, 2), defaults(many, steps=0), NO_NOISE) for count in (1, 6)]
    x = draw(7, 9).x
    first, second = (base.predict(copy_of(meta, number), {}, x) for number in range(2))
    if kind == "classification":
        expected = (share[0] * first.softmax(-1) + share[1] * second.softmax(-1)).log()
    else:
        expected = share[0] * first + share[1] * second
    for state in states:
        torch.testing.assert_close(many.predict(meta, state, x), expected)


def test_certain_outputs_are_finite():
    base, _ = learners()["classification"]
    many = mixture(base, 2)
    meta = {name: 100 * value for name, value in distinct_meta(many).items()}
    state = many.adapt(meta, rows(5), many.knobs, NO_NOISE)
    assert torch.isfinite(many.predict(meta, state, rows(40, 3).x)).all()


def update_weight(prior, found, number=2):
    own, population = ((1 - SMOOTHING) * each + SMOOTHING / number for each in (found, prior))
    return own / max(population, 0.5 / number)


@pytest.mark.parametrize("kind", KINDS)
def test_updates_are_weighted_by_responsibility(kind):
    base, draw = learners()[kind]
    many = mixture(base, 2)
    meta, support, query = distinct_meta(many), draw(4, 1, 2), draw(3, 5)
    update = many.update(meta, support, query, NO_NOISE)
    found = responsibilities(kind, base, meta, concatenated(support, query) if base.execution.merges_query else support)
    prior = torch.softmax(torch.tensor([0.7, -0.4]), 0).tolist()
    assert base.execution.merges_query == (kind != "ranking")
    for number in range(2):
        alone = base.update(copy_of(meta, number), support, query, NO_NOISE)
        expected = {name: update_weight(prior[number], found[number]) * value for name, value in alone.items()}
        assert_trees_close(copy_of(update, number), expected)
        assert float(update[f"share/{number}"]) == pytest.approx(prior[number] - found[number], abs=1e-5)
    assert update.keys() == meta.keys()


def test_identical_initialisations_learn_as_a_single_one():
    base, draw = learners()["regression"]
    many, alone = mixture(base, 3), meta_of(base)
    meta = {f"{n}/{name}": v for n in range(3) for name, v in alone.items()}
    meta |= {f"share/{n}": torch.tensor(0.0) for n in range(3)}
    update = many.update(meta, draw(9), draw(4, 1), NO_NOISE)
    expected = base.update(alone, draw(9), draw(4, 1), NO_NOISE)
    for number in range(3):
        assert_trees_close(copy_of(update, number), expected, rtol=1e-4, atol=1e-6)


def test_an_initialisation_without_users_follows_the_population():
    """It is far away and has no mixing weight, but every user's update moves it toward that user."""
    base, draw = learners()["regression"]
    many, near = mixture(base, 2), meta_of(base)
    far = {name: value + 3 for name, value in near.items()}
    support = draw(12)
    shares = {"share/0": torch.tensor(9.0), "share/1": torch.tensor(-9.0)}
    meta = {f"{n}/{k}": v for n, tree in enumerate((near, far)) for k, v in tree.items()} | shares
    update = many.update(meta, support, draw(3, 1), NO_NOISE)
    assert responsibilities("regression", base, meta, concatenated(support, draw(3, 1)))[1] < 1e-4
    alone = base.update(far, support, draw(3, 1), NO_NOISE)
    expected = {name: 2 * SMOOTHING * value for name, value in alone.items()}
    assert_trees_close(copy_of(update, 1), expected, rtol=1e-2, atol=1e-6)


def test_a_table_by_rows_keeps_its_ids():
    model = torch.nn.Sequential(torch.nn.Embedding(64, 2))
    spec = Spec.regression((), 2, items=64)
    many = mixture(reptile(model, spec, steps=2, init="fresh"), 2)
    batch = Batch(torch.tensor([3, 60, 3]), torch.ones(3, 2), torch.ones(3))
    meta = meta_of(many)
    update = many.update(meta, batch, batch, NO_NOISE)
    assert update["1/0.weight/ids"].tolist() == [3, 60, 3, 3, 60, 3]
    assert many.adapted_parameters == ("0/0.weight", "1/0.weight")
    state = many.adapt(meta, batch, many.knobs, NO_NOISE)
    assert state["1/0.weight/ids"].tolist() == [3, 60, 3]


CORRECT = {"mix": 0.4, "ridge": 0.3, "weight": 0.8, "guard": 0.0}
BASES = {
    "classification": (residual_correction(mlp(), SPEC, init="fresh"), rows),
    "regression": (residual_correction(mlp(2), REGRESSION, init="fresh"), regression_rows),
}


def normalised(kind, answer):
    return answer.log_softmax(-1) if kind == "classification" else answer


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize(
    ("guard", "padding"), [({}, 0), ({"guard": 2.0, "floor": 0.1, "intercept": 0.05, "residual_sd": 0.2}, 3)]
)
def test_a_guarded_correction_interpolates_to_the_full_correction(kind, guard, padding):
    """From the population's mixture of initialisations to the user's mixture of corrected ones, in logits."""
    base, draw = BASES[kind]
    many = mixture(base, 2)
    meta, support, x = distinct_meta(many, size=0.4), draw(6, 1, padding), draw(5, 9).x
    knobs = {**base.knobs, **CORRECT, "ridge": 1.0, **guard}
    state = many.adapt(meta, support, {**knobs, "temperature": TEMPERATURE}, NO_NOISE)
    whole = {**knobs, "weight": 1.0, "guard": 0.0, "floor": 0.0}
    prior = torch.softmax(torch.tensor([0.7, -0.4]), 0).tolist()
    found = responsibilities(kind, base_of(base), meta, support)
    before, after = 0.0, 0.0
    for number in range(2):
        own = copy_of(meta, number)
        ends = [base.adapt(own, support, {**whole, "steps": steps}, NO_NOISE) for steps in (0, 1)]
        first, last = (base.predict(own, each, x) for each in ends)
        before, after = before + prior[number] * first, after + found[number] * last
    shrinkage = float(state["shrinkage"])
    assert (shrinkage == 1.0) == (not guard)
    assert shrinkage > 0.05
    expected = before + 0.8 * shrinkage * (after - before)
    torch.testing.assert_close(many.predict(meta, state, x), normalised(kind, expected), rtol=1e-3, atol=1e-4)
    assert (after - before).abs().max() > 0.05


def base_of(learner):
    return learner.gradient_learner


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize(("count", "padding"), [(1, 0), (5, 2)])
def test_loo_improvement_is_that_of_choosing_and_correcting(kind, count, padding):
    base, draw = BASES[kind]
    many = mixture(base, 2)
    meta, support = distinct_meta(many), draw(count, 1, padding)
    state = many.adapt(meta, support, {**many.knobs, **CORRECT}, NO_NOISE)
    prior = torch.softmax(torch.tensor([0.7, -0.4]), 0).tolist()
    real = Batch(*(part[:count] for part in support))
    target = F.one_hot(real.y, 3).float() if kind == "classification" else real.y
    residuals, corrections = [], []
    for number in range(2):
        own = copy_of(meta, number)
        output = base_of(base).predict(own, {}, real.x)
        residuals.append(target - (output.softmax(-1) if kind == "classification" else output))
        corrections.append(float(base.adapt(own, real, {**base.knobs, **CORRECT}, NO_NOISE)["loo_improvement"]))
    reductions = []
    for row in range(count):
        others = Batch(*(torch.cat([part[:row], part[row + 1 :]]) for part in real))
        weights = responsibilities(kind, base_of(base), meta, others) if count > 1 else prior
        before = sum(p * m[row] for p, m in zip(prior, residuals, strict=True))
        after = sum(p * m[row] for p, m in zip(weights, residuals, strict=True))
        reductions.append(float(before.square().sum() - after.square().sum()))
    found = responsibilities(kind, base_of(base), meta, real)
    expected = np.mean(reductions) + sum(r * each for r, each in zip(found, corrections, strict=True))
    assert float(state["loo_improvement"]) == pytest.approx(expected, abs=1e-4)
    assert (abs(expected) > 1e-3) == (count > 1)


def test_a_correction_trains_as_its_gradient_learner():
    many = mixture(residual_correction(mlp(), SPEC, init="fresh"), 2)
    assert count_initialisations(many.gradient_learner.init(0)) == 2
    meta, support, query = distinct_meta(many), rows(4), rows(3, 1)
    updates = [one.update(meta, support, query, NO_NOISE) for one in (many, many.gradient_learner)]
    assert_trees_close(*updates, rtol=0, atol=0)
    assert many.execution.summed_update is None


def test_candidates_only_choose_or_also_adapt():
    for base in (reptile(mlp(), SPEC, init="fresh"), residual_correction(mlp(), SPEC, init="fresh")):
        many = mixture(base, 2)
        own = [{n: v for n, v in way.items() if n != "temperature"} for way in many.calibration.candidates]
        assert {way["temperature"] for way in many.calibration.candidates} == {1.0, 4.0}
        assert all(own.count(way) == 2 for way in base.calibration.candidates)
        assert len(own) == 2 + 2 * len(base.calibration.candidates)
        meta, support, x = distinct_meta(many), rows(6), rows(5, 9).x
        alone = {**many.calibration.candidates[0], **({"weight": 1.0} if "weight" in base.knobs else {})}
        found = responsibilities("classification", base.gradient_learner or base, meta, support)
        logits = [(base.gradient_learner or base).predict(copy_of(meta, n), {}, x) for n in range(2)]
        if base.calibration.guarded:
            expected = (found[0] * logits[0] + found[1] * logits[1]).log_softmax(-1)
        else:
            expected = (found[0] * logits[0].softmax(-1) + found[1] * logits[1].softmax(-1)).log()
        state = many.adapt(meta, support, alone, NO_NOISE)
        torch.testing.assert_close(many.predict(meta, state, x), expected, rtol=1e-2, atol=1e-3)

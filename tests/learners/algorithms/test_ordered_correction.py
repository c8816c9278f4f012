"""Residual correction with a level and with an order of rows, against Newton's method in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.learners.reference_regression import newton
from tests.learners.toys import FEATURES, NO_NOISE, SPEC, meta_of, mlp, rows

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners.algorithms.correction_candidates import correction_candidates
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.learners.solvers.drifting_kernel import ages

KNOBS = {"mix": 0.4, "ridge": 1.5, "level": 2.0, "recency": 0.6, "half_life": 2.0, "weight": 1.0, "guard": 0.0}


def in_numpy(module, support, x, knobs):
    """Log-probabilities of regression with the kernel (features + level) * (1 - r + r * 2^(-distance / h))."""

    def look(inputs):
        with torch.no_grad():
            hidden = module[:-1](inputs).double().numpy()
            return module(inputs).double().numpy(), hidden / np.linalg.norm(hidden, axis=1)[:, None]

    def kernel(a, b, times_of_a, times_of_b):
        cosine = a @ b.T
        features = knobs["mix"] * cosine + (1 - knobs["mix"]) * np.exp((cosine - 1) / 0.25)
        apart = np.abs(np.subtract.outer(times_of_a, times_of_b))
        return (features + knobs["level"]) * (
            1 - knobs["recency"] + knobs["recency"] * 0.5 ** (apart / knobs["half_life"])
        )

    real = int(support.mask.sum())
    before, features = look(support.x[:real])
    base, own = look(x)
    times, now = np.arange(real), np.full(len(x), real)
    targets = np.eye(before.shape[1])[support.y[:real].numpy()]
    weights = newton(kernel(features, features, times, times), before, targets, knobs["ridge"], "classification")
    corrected = torch.from_numpy(base + kernel(own, features, now, times) @ weights)
    return corrected.log_softmax(-1).numpy()


@pytest.mark.parametrize(("count", "padding"), [(1, 0), (7, 0), (7, 3)])
@pytest.mark.parametrize("changed", [{}, {"recency": 0.0}, {"recency": 1.0, "half_life": 1.0}, {"level": 0.0}])
def test_an_ordered_correction_is_a_gaussian_process(count, padding, changed):
    module, knobs = mlp(), {**KNOBS, **changed}
    learner = residual_correction(module, SPEC, ordered=True)
    meta, support, x = meta_of(learner), rows(count, 1, padding), rows(5, 9).x
    state = learner.adapt(meta, support, {**learner.knobs, **knobs}, NO_NOISE)
    np.testing.assert_allclose(learner.predict(meta, state, x), in_numpy(module, support, x, knobs), atol=5e-3)


def test_a_level_knows_frequencies_whatever_the_input():
    learner = residual_correction(mlp(), SPEC, level=True)
    meta, support = meta_of(learner), rows(20, 2)
    same = Batch(support.x, torch.zeros_like(support.y), support.mask)
    knobs = {**learner.knobs, "ridge": 5.0, "level": 50.0, "weight": 1.0}
    output = learner.predict(meta, learner.adapt(meta, same, knobs, NO_NOISE), rows(30, 5).x)
    assert (output.argmax(-1) == 0).all()


def test_the_last_row_counts_most_with_a_short_half_life():
    torch.manual_seed(0)
    learner = residual_correction(mlp(), SPEC, ordered=True)
    meta, support = meta_of(learner), rows(9, 2)
    labels = torch.zeros_like(support.y)
    labels[-1] = 1
    knobs = {**learner.knobs, "ridge": 1.0, "level": 20.0, "recency": 1.0, "half_life": 1.0, "weight": 1.0}
    state = learner.adapt(meta, Batch(support.x, labels, support.mask), knobs, NO_NOISE)
    assert (learner.predict(meta, state, rows(30, 5).x).argmax(-1) == 1).all()
    state = learner.adapt(meta, Batch(support.x, labels, support.mask), {**knobs, "recency": 0.0}, NO_NOISE)
    assert (learner.predict(meta, state, rows(30, 5).x).argmax(-1) == 0).all()


def test_padding_has_no_age():
    assert ages(torch.tensor([1.0, 0.5, 1.0, 0.0, 0.0])).tolist() == [2, 1, 0, 0, 0]


def test_half_lives_are_candidates_of_ordered_rows_alone():
    ordered = list(correction_candidates(normalised=True, level=True, ordered=True))
    assert {each["half_life"] for each in ordered if "half_life" in each} == {1.0, 2.0, 5.0, 20.0}
    assert any("level" in each and "recency" not in each for each in ordered), "none is tried too"
    assert not any("half_life" in each for each in correction_candidates(normalised=True, level=True, ordered=False))
    plain = residual_correction(mlp(), SPEC)
    assert not {"level", "recency", "half_life"} & set(plain.knobs)


def test_the_strongest_level_follows_one_choice_against_a_sure_initialisation():
    """With one interaction and the other class 4 logits ahead, as where everybody buys one brand and nothing else."""
    learner = residual_correction(mlp(), SPEC, level=True)
    meta, support, x = meta_of(learner), rows(1, 3), rows(30, 5).x
    last = [name for name in meta if name.endswith("bias")][-1]
    sure = {**meta, last: torch.tensor([4.0] + [0.0] * (SPEC.outputs - 1))}
    bought = Batch(support.x, torch.full_like(support.y, 1), support.mask)
    levels = sorted({(each["ridge"], each["level"]) for each in learner.calibration.candidates if each["level"]})
    share = {}
    for ridge, level in levels:
        knobs = {**learner.knobs, "ridge": ridge, "level": level, "weight": 1.0}
        state = learner.adapt(sure, bought, knobs, NO_NOISE)
        share[ridge, level] = float((learner.predict(sure, state, x).argmax(-1) == 1).float().mean())
    assert share.pop((0.3, 10.0)) == 1
    assert max(share.values()) < 1


def test_a_level_of_values_is_their_shrunk_mean_where_features_say_little():
    """With a ridge far above the features' kernel: `sum of residuals * level / (ridge + n level)`."""
    spec = Spec.regression((FEATURES,), 1)
    learner = residual_correction(mlp(1), spec, level=True)
    meta, support, x = meta_of(learner), rows(6, 2, padding=2), rows(30, 5).x
    start = learner.predict(meta, learner.adapt(meta, support, learner.unadapted, NO_NOISE), support.x)
    moved = Batch(support.x, start + torch.linspace(1, 3, 8).unsqueeze(-1), support.mask)
    knobs = {**learner.knobs, "ridge": 5000.0, "level": 2500.0, "weight": 1.0}
    before, after = (
        learner.predict(meta, learner.adapt(meta, moved, each, NO_NOISE), x) for each in (learner.unadapted, knobs)
    )
    expected = float(torch.linspace(1, 3, 8)[:6].sum()) * 2500 / (5000 + 6 * 2500)
    np.testing.assert_allclose(after - before, np.full((30, 1), expected), atol=5e-3)


def test_levels_of_values_have_larger_ridges_and_drift_only_with_an_order():
    def levels(**options):
        found = correction_candidates(normalised=True, level=True, **options)
        return {(each["ridge"], each["level"]) for each in found if "level" in each and "recency" not in each}

    values, labels = (levels(ordered=False, values=each) for each in (True, False))
    assert max(ridge / level for ridge, level in values) > 10 * max(ridge / level for ridge, level in labels)
    assert levels(ordered=True, values=True) == values | labels
    assert not any(
        "level" in each for each in correction_candidates(normalised=True, level=False, ordered=False, values=True)
    )
    candidates = residual_correction(mlp(1), Spec.regression((FEATURES,), 1), level=True).calibration.candidates
    assert values < {(each["ridge"], each["level"]) for each in candidates}

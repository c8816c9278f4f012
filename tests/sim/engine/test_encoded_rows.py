"""Rows that are encoded once: the same figures as with the learner's own graphs, and codes as plain torch has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.sim import people
from torch import nn

from tegu.compile import compile_learner
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, Measure
from tegu.core.data.spec import Spec
from tegu.core.metrics import METRICS
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners import Learner, mixture, reptile, residual_correction
from tegu.sim.data.cohort import Cohort, draw_cohort
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine, make_engine
from tegu.sim.federation.evaluation_round import evaluate_batched

pytestmark = pytest.mark.usefixtures("compiled_once")
SPECS = {
    "classification": Spec.classification((2,), 3),
    "multilabel": Spec.multilabel((2,), 3),
    "regression": Spec.regression((2,), 3),
}
KINDS = {"classification": "accuracy", "multilabel": "label_accuracy", "regression": "mse"}


def corrected(kind: str = "classification", normalised: bool = True) -> Learner:
    torch.manual_seed(1)
    return residual_correction(people.classifier(), SPECS[kind], normalise_features=normalised)


def users_of(kind: str) -> Population:
    everybody = people.people(9)
    if kind == "classification":
        return everybody
    bits = np.eye(3)[everybody.y].astype(np.int64 if kind == "multilabel" else np.float32)
    names = np.repeat(everybody.users, everybody.counts)
    return Population.from_arrays(everybody.x, bits, names, SPECS[kind])


def engine_of(learner: Learner, **options: int) -> Engine:
    """The learner's functions in torch, user by user: nothing is batched, and nothing is compiled."""
    return make_engine(learner, {}, "torch-loop", **options)


def compiled_engine(learner: Learner) -> Engine:
    return make_engine(learner, compile_learner(learner))


def sums(engine: Engine, learner: Learner, users: Population, metric: str, measure: Measure) -> list[np.ndarray]:
    knobs = [*learner.calibration.candidates[::3], learner.unadapted]
    knobs = [{**each, "guard": guard} for each in knobs for guard in (0.0, 2.0)]
    request = EvaluationRequest(metric, 0, 0.0, [CandidateSet(k, knobs, measure) for k in (1, 3)])
    found = evaluate_batched(engine, learner.init(0), lambda group: users, request, METRICS)
    return [np.asarray(each.sums) for each in found]


@pytest.mark.parametrize(
    ("kind", "normalised", "build"),
    [
        ("classification", True, compiled_engine),
        ("classification", True, engine_of),
        ("multilabel", True, engine_of),
        ("regression", True, engine_of),
        ("regression", False, engine_of),
    ],
)
def test_encoded_rows_give_the_figures_of_the_learners_own_functions(
    kind: str, normalised: bool, build: Callable[[Learner], Engine]
) -> None:
    learner, users = corrected(kind, normalised), users_of(kind)
    encoding = build(learner)
    assert encoding.encoder is not None
    for measure in ("scores", "lines", "gains", "strict"):
        ours = sums(encoding, learner, users, KINDS[kind], measure)
        plain = sums(replace(encoding, encoder=None), learner, users, KINDS[kind], measure)
        for found, expected in zip(ours, plain, strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_a_code_is_the_logits_and_the_direction_of_the_features() -> None:
    learner, users = corrected(), people.people(5)
    encoder, meta = engine_of(learner).encoder, learner.init(0)
    assert encoder is not None
    codes = encoder.encode(meta, users)
    assert codes is not None
    module = people.classifier()
    module.load_state_dict({name: torch.tensor(value) for name, value in meta.items()})
    for user, own in enumerate(codes):
        with torch.no_grad():
            hidden = module[:2](torch.tensor(users.rows(user)[0]))  # type: ignore[index] # a sequence of layers
            wanted = torch.cat([module[2](hidden), nn.functional.normalize(hidden)], -1)  # type: ignore[index] # the same
        np.testing.assert_allclose(own, wanted.numpy(), rtol=1e-5, atol=1e-6)


def cohort(users: Population) -> Cohort:
    return draw_cohort(users, np.arange(len(users)), EpisodeRule(4, 4), 0, 1)


class Viewed(nn.Module):
    """A convolution whose result is flattened by a view, which only channels in front allow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), -1)


@pytest.mark.parametrize(("flatten", "last"), [(nn.Flatten(), True), (Viewed(), False)])
def test_convolutions_have_their_channels_last_where_the_module_allows_it(flatten: nn.Module, last: bool) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), flatten, nn.Linear(36, 3))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 1, 8, 8)).astype(np.float32)
    users = Population.from_arrays(x, rng.integers(0, 3, 40), np.repeat(np.arange(4), 10), kind="classification")
    learner = residual_correction(module, users.spec)
    encoder = engine_of(learner).encoder
    assert encoder is not None
    assert encoder.channels_last == last
    updates = make_engine(learner, {}, "torch-vmap").sum_updates(learner.init(0), cohort(users), math.inf)
    plain = engine_of(learner).sum_updates(learner.init(0), cohort(users), math.inf)
    for name, value in plain.items():
        np.testing.assert_allclose(updates[name], value, rtol=1e-4, atol=1e-5)
    codes = encoder.encode(learner.init(0), users)
    assert codes is not None
    with torch.no_grad():
        np.testing.assert_allclose(np.concatenate(codes)[:, :3], module(torch.tensor(x)), rtol=1e-5, atol=1e-6)


def test_the_bits_do_not_depend_on_the_number_of_cores() -> None:
    learner, users = corrected(), people.people(90)
    engine = engine_of(learner)
    assert engine.encoder is not None
    alone = replace(engine.encoder, engine=replace(engine.encoder.engine, workers=1))
    both = replace(engine.encoder, engine=replace(engine.encoder.engine, workers=2))
    for measure in ("scores", "gains"):
        one, two = (sums(replace(engine, encoder=each), learner, users, "accuracy", measure) for each in (alone, both))
        assert [each.tobytes() for each in one] == [each.tobytes() for each in two]


def test_calls_have_few_rows_if_memory_is_short_and_codes_have_the_same_values() -> None:
    learner, users = corrected(), people.people(20)
    plenty, little = (engine_of(learner, memory=memory).encoder for memory in (1 << 30, 1 << 16))
    assert plenty is not None
    assert little is not None
    assert little.rows < plenty.rows
    for ours, theirs in zip(*(each.encode(learner.init(0), users) or [] for each in (plenty, little)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_codes_that_exceed_the_memory_limit_are_not_kept() -> None:
    learner, users = corrected(), people.people(20)
    rows, width = int(users.counts.sum()), 7
    engine = engine_of(learner)
    assert engine.encoder is not None
    for memory, fits in ((4 * width * rows, True), (4 * width * rows - 1, False)):
        limited = replace(engine.encoder, engine=replace(engine.encoder.engine, memory=memory))
        assert (limited.encode(learner.init(0), users) is not None) == fits


def test_a_learner_that_adapts_or_predicts_otherwise_is_not_encoded() -> None:
    learner = corrected()
    assert (
        engine_of(replace(learner, predict=lambda meta, state, x: 0 * learner.predict(meta, state, x))).encoder is None
    )
    assert engine_of(mixture(learner, 2)).encoder is None
    assert engine_of(reptile(people.classifier(), people.SPEC)).encoder is None


def test_rows_that_users_share_are_encoded_once_with_the_same_codes() -> None:
    learner, everybody = corrected(), people.people(9)
    encoder, meta, seen = engine_of(learner).encoder, learner.init(0), list[int]()
    assert encoder is not None

    def counted(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return encoder.function(parameters, x)

    backwards = np.arange(len(everybody.x))[::-1].copy()
    shared = replace(everybody, x=everybody.x[::-1].copy(), pool=backwards)
    found, own = encoder.encode(meta, shared), encoder.encode(meta, everybody)
    assert found is not None
    assert own is not None
    for codes, expected in zip(found, own, strict=True):
        np.testing.assert_allclose(codes, expected, rtol=1e-5, atol=1e-6)
    halved = replace(encoder, function=counted).encode(meta, replace(shared, pool=backwards // 2))
    assert sum(seen) == len(np.unique(backwards // 2)), "a row of the pool is encoded once"
    assert [len(codes) for codes in halved or ()] == everybody.counts.tolist()

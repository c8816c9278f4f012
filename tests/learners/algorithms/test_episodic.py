"""What all learners on embedded rows have in common: padding, empty supports, updates, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from tests.learners.algorithms.few_shot import (
    LABELS,
    NO_NOISE,
    SPEC,
    VALUES,
    answers,
    meta_of,
    network,
    rows,
    stacked,
    values,
    with_padding,
)
from tests.learners.toys import assert_trees_close

from tegu.core.data.spec import Spec
from tegu.core.errors import DataError, UnknownNameError
from tegu.learners import (
    Learner,
    find_learner,
    matching_networks,
    mixture,
    prototypical_networks,
    r2d2,
    relation_networks,
    snail,
)

METRIC = {
    "prototypical_networks": prototypical_networks(network(), SPEC),
    "matching_networks": matching_networks(network(), SPEC),
    "full_context": matching_networks(network(), SPEC, full_context=True, looks=2),
    "relation_networks": relation_networks(network(), SPEC),
}
LABELLED = {**METRIC, "r2d2": r2d2(network(), SPEC), "snail": snail(network(), SPEC, window=8, filters=3)}
OF_VALUES = {
    "r2d2 of values": r2d2(network(), VALUES),
    "snail of values": snail(network(), VALUES, window=8, filters=3),
}
WITH_PRIOR = {"prior": prototypical_networks(network(), SPEC, prior_count=2.0)}
ALL = {**LABELLED, **OF_VALUES, **WITH_PRIOR}


def episode(learner: Learner, seed: int) -> tuple[object, object]:
    if learner.spec.kind == "regression":
        return values(5, seed), values(3, seed + 50)
    return rows([0, 2, 2, 0, 1], seed), rows([2, 1, 3], seed + 50)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("at", [0, 2, 5])
def test_rows_of_weight_0_have_no_effect(name: str, at: int) -> None:
    learner = ALL[name]
    meta = meta_of(learner)
    support, query = episode(learner, 1)
    expected = answers(learner, meta, support, query.x)
    found = answers(learner, meta, with_padding(support, at), query.x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    padded = learner.update(meta, with_padding(support, at), with_padding(query, 1), NO_NOISE)
    assert_trees_close(padded, learner.update(meta, support, query, NO_NOISE), atol=1e-4)


@pytest.mark.parametrize("name", LABELLED)
def test_predictions_are_log_probabilities(name: str) -> None:
    learner = LABELLED[name]
    support, query = episode(learner, 1)
    found = answers(learner, meta_of(learner), support, query.x)
    assert found.shape == (3, LABELS)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3))


@pytest.mark.parametrize("name", [*METRIC, "r2d2"])
def test_without_interactions_a_prediction_is_uniform(name: str) -> None:
    learner = LABELLED[name]
    meta = meta_of(learner)
    support, query = episode(learner, 1)
    uniform = torch.full((3, LABELS), -math.log(LABELS))
    nothing = type(support)(*(part[:0] for part in support))
    for found in (
        answers(learner, meta, nothing, query.x),
        answers(learner, meta, support, query.x, **learner.unadapted),
    ):
        torch.testing.assert_close(found, uniform, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_unadapted_knobs_predict_as_an_empty_support(name: str) -> None:
    learner = ALL[name]
    meta = meta_of(learner)
    support, query = episode(learner, 1)
    nothing = type(support)(*(part[:0] for part in support))
    found = answers(learner, meta, support, query.x, **learner.unadapted)
    torch.testing.assert_close(found, answers(learner, meta, nothing, query.x))
    assert (answers(learner, meta, support, query.x) - found).abs().max() > 0.01


@pytest.mark.parametrize("name", METRIC)
def test_a_label_without_examples_gets_the_share_of_the_unseen(name: str) -> None:
    learner = METRIC[name]
    support, query = episode(learner, 1)
    found = answers(learner, meta_of(learner), support, query.x, unseen=0.2).exp()
    torch.testing.assert_close(found[:, 3], torch.full((3,), 0.2))


@pytest.mark.parametrize("name", ALL)
def test_the_summed_update_is_the_sum_of_updates(name: str) -> None:
    learner = ALL[name]
    meta = meta_of(learner)
    pairs = [episode(learner, seed) for seed in (1, 2, 3)]
    each = [learner.update(meta, support, query, NO_NOISE) for support, query in pairs]
    summed = learner.execution.summed_update
    assert summed is not None
    found = summed.compute(meta, *(stacked(list(side)) for side in zip(*pairs, strict=True)), NO_NOISE)
    assert_trees_close(found, {key: sum(one[key] for one in each) for key in each[0]}, atol=1e-5)
    assert found.keys() == meta.keys() - set(learner.fixed_parameters)
    assert all(value.abs().sum() > 0 for key, value in found.items() if key not in ("r2d2/bias", "relation/6.bias"))


@pytest.mark.parametrize("name", ALL)
def test_encoded_rows_give_the_same_predictions(name: str) -> None:
    learner = ALL[name]
    encoded, meta = learner.execution.encoded, meta_of(learner)
    assert encoded is not None
    support, query = episode(learner, 1)
    state = encoded.adapt(meta, support._replace(x=encoded.encode(meta, support.x)), learner.knobs, NO_NOISE)
    found = encoded.predict(meta, state, encoded.encode(meta, query.x))
    torch.testing.assert_close(found, answers(learner, meta, support, query.x))


@pytest.mark.parametrize("name", ["prototypical_networks", "matching_networks", "relation_networks"])
@pytest.mark.parametrize(
    ("spec", "nearest"),
    [
        (Spec.regression((5,)), "r2d2, snail or residual_correction"),
        (Spec.multilabel((5,), 3), "residual_correction"),
        (Spec.ranking(9), "implicit_als"),
    ],
)
def test_a_metric_learner_refuses_other_tasks_and_names_the_nearest(name: str, spec: Spec, nearest: str) -> None:
    with pytest.raises(DataError, match=f"{name} .*the spec is for {spec.kind}.*use {nearest}"):
        find_learner(name)(network(), spec)


@pytest.mark.parametrize("name", ["r2d2", "snail"])
def test_a_ranking_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"{name} .*expected classification or regression; use implicit_als"):
        find_learner(name)(network(), Spec.ranking(9))


def test_several_initialisations_are_refused_in_words() -> None:
    with pytest.raises(DataError, match=r"prototypical_networks is not iterated .*use a learner such as reptile"):
        mixture(METRIC["prototypical_networks"], 2)


def test_other_first_parameters_are_drawn_from_the_seed_and_start_fresh_if_asked() -> None:
    learner = relation_networks(network(), SPEC)
    first, again, other = learner.init(0), learner.init(0), learner.init(1)
    assert all((first[name] == again[name]).all() for name in first)
    assert (first["0.weight"] == other["0.weight"]).all()
    assert (first["relation/layers.0.weight"] != other["relation/layers.0.weight"]).any()
    assert (relation_networks(network(), SPEC, init="fresh").init(1)["0.weight"] != first["0.weight"]).any()
    with pytest.raises(UnknownNameError, match="initialisation"):
        relation_networks(network(), SPEC, init="freshly")  # type: ignore[arg-type]

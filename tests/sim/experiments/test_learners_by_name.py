"""`--learner` with learners that need an embedding: from an experiment's own model, or from a network made for it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.learners.algorithms.few_shot import SPEC, network
from torch import nn

from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners import find_learner, reptile
from tegu.learners.catalogue import NETWORK_FROM_SPEC
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.experiments import Experiment

OPTIONS = {"init": "fresh", "steps": 3, "lr": 0.1}


def experiment(model: nn.Module | None, spec: Spec) -> Experiment:
    rng = np.random.default_rng(0)
    user, x = np.repeat(np.arange(20), 4), rng.normal(size=(80, 5)).astype(np.float32)
    y = rng.integers(0, 4, 80) if spec.kind == "classification" else x[:, :1]
    people = Population.from_arrays(x, y, user, spec)
    learner = reptile(network(spec.outputs), spec, **OPTIONS)
    return Experiment("mine", people, model, learner, TrainingPlan(), options=OPTIONS)


@pytest.mark.parametrize("name", sorted(NETWORK_FROM_SPEC))
def test_a_classifiers_features_are_the_embedding(name: str) -> None:
    found = experiment(network(4), SPEC).with_learner(name).learner
    assert found.name == name
    assert found.paper.split(",")[0] in (find_learner(name).__doc__ or "")
    assert found.fixed_parameters == ("2.weight", "2.bias")
    assert (found.init(0)["0.weight"] != found.init(1)["0.weight"]).any(), "the option init is kept"
    assert found.source is not None


@pytest.mark.parametrize("name", sorted(NETWORK_FROM_SPEC))
def test_without_a_model_a_network_is_made(name: str) -> None:
    found = experiment(None, SPEC).with_learner(name).learner
    assert found.name == name
    assert found.source is None
    with pytest.raises(DataError, match="has no module, from which residual_correction"):
        experiment(None, SPEC).with_learner("residual_correction")


@pytest.mark.parametrize("name", ["r2d2", "snail"])
def test_values_are_for_those_that_predict_them(name: str) -> None:
    spec = Spec.regression((5,))
    assert experiment(network(1), spec).with_learner(name).learner.spec == spec
    with pytest.raises(DataError, match="use r2d2, snail or residual_correction"):
        experiment(network(1), spec).with_learner("matching_networks")


def test_names_with_commas_are_a_combination_of_the_experiments_learners() -> None:
    found = experiment(network(4), SPEC).with_learner("reptile,r2d2").learner
    assert found.name == "reptile,r2d2"
    assert (found.knobs["steps"], found.knobs["0.lr"]) == (3.0, 0.1), "the experiment's options are kept"
    assert (
        experiment(None, SPEC).with_learner("r2d2,prototypical_networks").learner.name == "r2d2,prototypical_networks"
    )
    with pytest.raises(DataError, match="has no module, from which reptile,r2d2"):
        experiment(None, SPEC).with_learner("reptile,r2d2")

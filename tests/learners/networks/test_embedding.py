"""Which part of a module is its embedding, what training leaves alone, and which modules are refused."""

from __future__ import annotations

import pytest
import torch
from tests.learners.algorithms.few_shot import LABELS, SPEC, WIDTH, meta_of, network, rows
from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.core.errors import CompileError, DataError, UnknownNameError
from tegu.learners import prototypical_networks
from tegu.learners.networks.embedding import embedding_of


@pytest.fixture(autouse=True)
def shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tegu")


def test_the_output_of_an_embedding_network_is_the_embedding() -> None:
    model = network()
    found = embedding_of(model, SPEC, None)
    assert (found.width, found.choice, found.fixed, found.classifier) == (WIDTH, "output", (), False)
    x = rows([0, 1]).x
    torch.testing.assert_close(found(dict(model.named_parameters()), x), model(x))


def test_what_a_classifiers_last_layer_is_given_is_the_embedding(caplog: pytest.LogCaptureFixture) -> None:
    model = network(LABELS)
    found = embedding_of(model, SPEC, None)
    assert (found.width, found.choice, found.fixed) == (7, "features", ("2.weight", "2.bias"))
    assert "7 numbers, is the embedding; embedding='output' takes its outputs" in caplog.text
    x = rows([0, 1]).x
    torch.testing.assert_close(found(dict(model.named_parameters()), x), model[:2](x))


def test_the_choice_is_the_callers() -> None:
    assert embedding_of(network(LABELS), SPEC, "output").width == LABELS
    assert embedding_of(network(), SPEC, "features").width == 7
    with pytest.raises(UnknownNameError, match="feature"):
        embedding_of(network(), SPEC, "feature")  # type: ignore[arg-type]


def test_a_model_of_one_layer_has_no_features_to_train() -> None:
    assert embedding_of(nn.Linear(5, LABELS), SPEC, None).choice == "output"
    with pytest.raises(DataError, match="depends on no parameter that can be trained"):
        embedding_of(nn.Linear(5, LABELS), SPEC, "features")


def test_parameters_that_do_not_train_are_in_no_update() -> None:
    model = network(LABELS)
    model[0].bias.requires_grad_(False)
    learner = prototypical_networks(model, SPEC)
    assert learner.fixed_parameters == ("0.bias", "2.weight", "2.bias")
    meta = meta_of(learner)
    assert learner.update(meta, rows([0, 1]), rows([1, 0], 1), torch.zeros(0)).keys() == {"0.weight"}


@pytest.mark.parametrize("spec", [SPEC, Spec.classification((8, 8), 3), Spec.regression((6,), tokens=9)])
def test_without_a_module_one_is_made_from_the_spec(spec: Spec, caplog: pytest.LogCaptureFixture) -> None:
    assert embedding_of(None, spec, None).width == 64
    assert "no module is given" in caplog.text


class Shaped(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.layer, self.shape = nn.Linear(5, 8), shape

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).reshape(-1, *self.shape)


def test_an_output_that_is_no_vector_is_refused_in_words() -> None:
    for module in (Shaped(2, 4), nn.Sequential(nn.Linear(5, 1), nn.Flatten(0))):
        with pytest.raises(DataError, match=r"an embedding network whose output is not a vector: .*Flatten"):
            embedding_of(module, SPEC, None)


def test_one_logit_for_two_labels_is_a_classifier() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1), nn.Flatten(0))
    assert embedding_of(model, Spec.classification((5,), 2), None).width == 7


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(5, 7), nn.Linear(7, LABELS)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = torch.tanh(self.body(x))
        return {"hidden": hidden, "logits": self.head(hidden)}


def test_a_module_of_several_outputs_gives_the_one_that_is_named() -> None:
    assert embedding_of(Several(), SPEC, None, "hidden").width == 7
    assert embedding_of(Several(), SPEC, None).choice == "features"


def test_a_module_that_fails_is_judged_as_for_other_learners() -> None:
    with pytest.raises(DataError, match="fails on x of shape"):
        embedding_of(nn.Linear(6, 3), SPEC, None)
    with pytest.raises(CompileError, match="has no parameters"):
        embedding_of(nn.Flatten(), SPEC, None)

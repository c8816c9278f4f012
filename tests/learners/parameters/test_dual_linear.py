"""Linear layers in dual form: which layers are found, and the same updates as by their weights."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.toys import NO_NOISE, assert_trees_close, meta_of, minus, trained
from torch import Tensor, nn

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners import fedavg, fedsgd, reptile
from tegu.learners.baselines.local_only import local_only
from tegu.learners.inner_loop.dual_steps import find_dual_layers
from tegu.learners.learner import Learner
from tegu.learners.modules.losses import find_loss

WIDTH, CLASSES = 20, 3
SPEC = Spec.classification((WIDTH,), CLASSES)


def deep() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 6), nn.Tanh(), nn.Linear(6, CLASSES))


class Calling(nn.Module):
    """A first layer that is called by a given function, and a second layer."""

    def __init__(self, use) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.use(self.first, x)))


ONCE = {
    "a layer": lambda first, x: first(x),
    "of a function of x": lambda first, x: first(torch.relu(x) + 1),
    "by its functional form": lambda first, x: F.linear(x, first.weight, first.bias),
    "its size besides": lambda first, x: first(x) * first.weight.shape[0],
}
OTHERWISE = {
    "twice": lambda first, x: first(x) + first(2 * x),
    "its weight besides": lambda first, x: first(x) + first.weight.sum(),
    "its bias besides": lambda first, x: first(x) + first.bias,
    "its bias for another": lambda first, x: first(x) + F.linear(x, torch.ones(WIDTH, WIDTH), first.bias),
    "of itself": lambda first, x: first(x * first.weight[0, 0]),
    "of its own output, squared": lambda first, x: first(first(x).square()),
    "on several vectors a row": lambda first, x: first(x.unsqueeze(1).expand(-1, 2, -1)).sum(1),
    "on another number of rows": lambda first, x: first(torch.ones(1, WIDTH)) + x,
    "on always as many rows": lambda first, x: first(torch.ones(3, WIDTH)).sum(0) + x,
}


def found(model: nn.Module, spec: Spec = SPEC) -> list[tuple[str, str | None, int]]:
    return [tuple(layer) for layer in find_dual_layers(model, find_loss(None, spec), spec)]


@pytest.mark.parametrize("use", ONCE)
def test_a_layer_whose_input_depends_on_no_parameter_is_found(use):
    assert found(Calling(ONCE[use])) == [("first.weight", "first.bias", WIDTH)]


@pytest.mark.parametrize("use", OTHERWISE)
def test_layers_with_other_uses_are_not_found(use):
    assert "first.weight" not in [name for name, *_ in found(Calling(OTHERWISE[use]))]


def test_a_narrow_layer_is_not_found():
    assert found(nn.Linear(16, 3), Spec.classification((16,), 3)) == [("weight", "bias", 16)]
    assert found(nn.Linear(15, 3), Spec.classification((15,), 3)) == []


def test_a_layer_without_a_bias_is_found():
    assert found(nn.Linear(WIDTH, CLASSES, bias=False)) == [("weight", None, WIDTH)]


def rows(count: int, seed: int, padding: int = 0) -> Batch[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count + padding, WIDTH, generator=generator, dtype=torch.float64)
    mask = torch.ones(count + padding, dtype=torch.float64)
    mask[count:] = 0
    return Batch(x, torch.randint(CLASSES, (count + padding,), generator=generator), mask)


def summed_update(
    learner: Learner, meta: dict[str, Tensor], *users: tuple[Batch[Tensor], Batch[Tensor]]
) -> dict[str, Tensor]:
    """The sum of the users' updates."""
    supports, queries = (Batch(*map(torch.stack, zip(*rows, strict=True))) for rows in zip(*users, strict=True))
    return learner.execution.summed_update.compute(meta, supports, queries, NO_NOISE)


def side_by_side() -> nn.Module:
    """Two layers that read the input, one of them without a bias."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(WIDTH, 5), nn.Linear(WIDTH, 5, bias=False)
            self.head = nn.Linear(5, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.left(x)) * torch.sigmoid(self.right(x.square())))

    return Both()


MODELS = {"deep": deep(), "linear": nn.Linear(WIDTH, CLASSES, bias=False), "side by side": side_by_side()}
EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.mark.parametrize("name", MODELS)
def test_the_update_is_that_of_plain_torch(name):
    learner = reptile(MODELS[name], SPEC, steps=5, lr=0.7, init="fresh")
    meta, support, query = meta_of(learner, dtype=torch.float64), rows(4, 0), rows(3, 1)
    everything = Batch(*(torch.cat(parts) for parts in zip(support, query, strict=True)))
    sgd = functools.partial(torch.optim.SGD, lr=0.7)
    expected = minus(meta, trained(MODELS[name], meta, sgd, [everything] * 5))
    assert_trees_close(summed_update(learner, meta, (support, query)), expected, **EXACT)


@pytest.mark.parametrize("options", [{"prior": 3.0}, {"minibatches": 2}], ids=["prior", "minibatches"])
@pytest.mark.parametrize("padding", [0, 3])
def test_the_summed_update_is_the_sum_of_updates(options, padding):
    learner = reptile(deep(), SPEC, steps=4, lr=0.5, **options, init="fresh")
    meta = meta_of(learner, dtype=torch.float64)
    users = [(rows(6, 2, padding), rows(0, 3)), (rows(6 + padding, 4), rows(0, 5))]
    updates = [learner.update(meta, *user, NO_NOISE) for user in users]
    expected = {name: updates[0][name] + updates[1][name] for name in meta}
    assert_trees_close(summed_update(learner, meta, *users), expected, **EXACT)


def test_users_without_a_real_row_change_nothing():
    learner = reptile(deep(), SPEC, steps=3, init="fresh")
    meta = meta_of(learner, dtype=torch.float64)
    update = summed_update(learner, meta, (rows(0, 4, padding=5), rows(0, 5)))
    assert all(not value.any() for value in update.values())


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"inner": "adam"}], ids=str)
def test_other_optimisers_have_no_dual_form(options):
    assert reptile(deep(), SPEC, **options, init="fresh").execution.summed_update is None


def test_it_is_used_for_up_to_one_and_a_half_times_as_many_rows_as_inputs():
    assert reptile(deep(), SPEC, init="fresh").execution.summed_update.max_rows == 1.5 * WIDTH


def test_baselines_have_their_own_summed_updates():
    like = reptile(deep(), SPEC, steps=3, lr=0.2, init="fresh")
    meta, support, query = meta_of(like, dtype=torch.float64), rows(4, 6), rows(3, 7)
    partial = fedavg(deep(), reptile(deep(), SPEC, adapted_parameters=["2"], steps=3, lr=0.2, init="fresh"))
    for learner in (fedavg(deep(), like), partial):
        expected = learner.update(meta, support, query, NO_NOISE)
        assert_trees_close(summed_update(learner, meta, (support, query)), expected, **EXACT)
    assert fedsgd(deep(), like).execution.summed_update is None
    assert local_only(deep(), like).execution.summed_update is None

"""Tables stored by rows, against plain torch that trains whole tables."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from tests.learners.toys import NO_NOISE, assert_trees_close, defaults, meta_of, minus
from torch import Tensor, nn
from torch.func import vmap

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners import fedavg, reptile
from tegu.learners.baselines.local_only import local_only

ITEMS = 200
EXACT = {"rtol": 0, "atol": 1e-9}  # of float64
SGD, ADAM = torch.optim.SGD, torch.optim.Adam
OPTIMISERS = [
    pytest.param({}, functools.partial(SGD, lr=0.1), id="sgd"),
    pytest.param({"momentum": 0.9}, functools.partial(SGD, lr=0.1, momentum=0.9), id="momentum"),
    pytest.param({"inner": "adam"}, functools.partial(ADAM, lr=0.1, eps=1e-4), id="adam"),
]


class Ratings(nn.Module):
    """Ratings of items by one user."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(ITEMS, 4)
        self.bias = nn.Embedding(ITEMS, 1)
        self.user = nn.Parameter(torch.linspace(-1, 1, 4))

    def forward(self, ids: Tensor) -> Tensor:
        return self.bias(ids) + (self.items(ids) @ self.user).unsqueeze(-1)


class Sentences(nn.Module):
    """One table looked up three times, with a token that is padding."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(ITEMS, 4, padding_idx=2)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, last = self.table(x[:, 0]), self.table(x[:, -1])
        return self.head(torch.tanh(self.table(x).mean(1) + first * last))


RATINGS, SENTENCES = (
    Spec.regression((), items=ITEMS),
    Spec("regression", Spec.classification((3,), 2, tokens=ITEMS).x, Spec.regression((1,)).y, 1),
)
MODELS = [pytest.param(Ratings(), RATINGS, id="ratings"), pytest.param(Sentences(), SENTENCES, id="sentences")]
TABLES = {"items.weight", "bias.weight", "table.weight"}


def rows(spec: Spec, count: int, seed: int = 0, padding: int = 0) -> Batch[Tensor]:
    """Repeated ids, among them 2; padding has ids that real rows never have."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(6, (count + padding, *spec.x.shape), generator=generator)
    x[count:] += 100
    mask = torch.ones(count + padding, dtype=torch.float64)
    mask[count:] = 0
    return Batch(x, torch.randn(count + padding, 1, generator=generator, dtype=torch.float64), mask)


def trained(model, meta, optimiser, batch, steps, adapted=("",)):
    """Whole parameters after `loss.backward()` and `optimiser.step()`, for names that begin with one of `adapted`."""
    module = copy.deepcopy(model).to(next(iter(meta.values())).dtype)
    module.load_state_dict(meta)
    moving = {name: p for name, p in module.named_parameters() if name.startswith(tuple(adapted))}
    steps_of = optimiser(list(moving.values()))
    for _ in range(steps):
        steps_of.zero_grad()
        error = (module(batch.x) - batch.y).square().mean(-1)
        ((error * batch.mask).sum() / batch.mask.sum().clamp(min=1)).backward()
        steps_of.step()
    return module, {name: p.detach() for name, p in moving.items()}


def whole(meta, state):
    """A state with whole tables, filled row by row."""
    result = {name: value for name, value in state.items() if "/" not in name}
    for name in [key.removesuffix("/ids") for key in state if key.endswith("/ids")]:
        result[name] = meta[name].clone()
        for row, value in reversed(list(zip(state[f"{name}/ids"], state[f"{name}/rows"], strict=True))):
            result[name][row] = value
    return result


@pytest.mark.parametrize("steps", [0, 1, 7])
@pytest.mark.parametrize(("options", "optimiser"), OPTIMISERS)
@pytest.mark.parametrize(("model", "spec"), MODELS)
def test_adapted_rows_equal_those_of_training_whole_tables(model, spec, options, optimiser, steps):
    learner = reptile(model, spec, lr=0.1, **options, init="fresh")
    meta, support = meta_of(learner, dtype=torch.float64), rows(spec, 9, padding=3)
    state = learner.adapt(meta, support, defaults(learner, steps=steps), NO_NOISE)
    module, expected = trained(model, meta, optimiser, support, steps)
    assert_trees_close(whole(meta, state), expected, **EXACT)
    assert not any(len(value) > 5 * len(support.x) for value in state.values())
    x = torch.arange(ITEMS) if spec is RATINGS else torch.arange(ITEMS - 2).unsqueeze(-1) + torch.arange(3)
    torch.testing.assert_close(learner.predict(meta, state, x), module(x), **EXACT)


def test_the_state_holds_the_rows_of_the_support():
    learner = reptile(Ratings(), RATINGS, adapted_parameters=["items", "user"], init="fresh")
    meta, support = meta_of(learner, dtype=torch.float64), rows(RATINGS, 5, padding=2)
    state = learner.adapt(meta, support, learner.knobs, NO_NOISE)
    assert set(state) == {"items.weight/ids", "items.weight/rows", "user"}
    assert set(learner.adapted_parameters) == {"items.weight", "user"}
    torch.testing.assert_close(state["items.weight/ids"], support.x)
    assert state["items.weight/rows"].shape == (7, 4)


@pytest.mark.parametrize(("model", "spec"), MODELS)
@pytest.mark.parametrize("count", [1, 6])
def test_without_real_rows_the_state_is_the_initialisation(model, spec, count):
    learner = reptile(model, spec, steps=3, init="fresh")
    meta, x = meta_of(learner, dtype=torch.float64), rows(spec, 8).x
    state = learner.adapt(meta, rows(spec, 0, padding=count), learner.knobs, NO_NOISE)
    torch.testing.assert_close(learner.predict(meta, state, x), learner.predict(meta, meta, x), rtol=0, atol=0)


def joined(a, b):
    return Batch(*(torch.cat(parts) for parts in zip(a, b, strict=True)))


@pytest.mark.parametrize(("options", "optimiser"), OPTIMISERS)
@pytest.mark.parametrize(("model", "spec"), MODELS)
def test_the_update_is_the_difference_of_whole_tables(model, spec, options, optimiser):
    learner = reptile(model, spec, steps=4, lr=0.1, **options, init="fresh")
    meta, support, query = meta_of(learner, dtype=torch.float64), rows(spec, 5, padding=2), rows(spec, 4, seed=1)
    _, expected = trained(model, meta, optimiser, joined(support, query), 4)
    assert_trees_close(
        whole_update(meta, learner.update(meta, support, query, NO_NOISE)), minus(meta, expected), **EXACT
    )


def whole_update(meta, update):
    result = {name: value for name, value in update.items() if "/" not in name}
    for name in [key.removesuffix("/ids") for key in update if key.endswith("/ids")]:
        result[name] = torch.zeros_like(meta[name]).index_add(0, update[f"{name}/ids"], update[f"{name}/rows"])
    return result


def test_fedavg_trains_whole_tables_by_rows():
    model = Ratings()
    learner = fedavg(model, reptile(model, RATINGS, adapted_parameters=["user"], steps=3, init="fresh"))
    meta, support, query = meta_of(learner, dtype=torch.float64), rows(RATINGS, 5), rows(RATINGS, 4, seed=1)
    update = learner.update(meta, support, query, NO_NOISE)
    _, expected = trained(model, meta, functools.partial(SGD, lr=0.1), joined(support, query), 3)
    assert_trees_close(whole_update(meta, update), minus(meta, expected), **EXACT)
    assert "items.weight/rows" in update


def test_local_only_keeps_the_rows_it_trained():
    model = Ratings()
    learner = local_only(model, reptile(model, RATINGS, adapted_parameters=["user"], steps=3, init="fresh"))
    meta, support = meta_of(learner, dtype=torch.float64), rows(RATINGS, 5)
    state = learner.adapt(meta, support, learner.knobs, NO_NOISE)
    module, _ = trained(model, meta, functools.partial(SGD, lr=0.1), support, 3)
    torch.testing.assert_close(learner.predict(meta, state, torch.arange(ITEMS)), module(torch.arange(ITEMS)), **EXACT)
    assert "items.weight/rows" in state


def test_rows_and_whole_parameters_adapt_together_and_the_rest_learns_through_adaptation():
    model = Ratings()
    learner = reptile(model, RATINGS, adapted_parameters=["bias", "user"], steps=3, lr=0.1, init="fresh")
    meta = meta_of(learner, dtype=torch.float64)
    support, query = rows(RATINGS, 5), rows(RATINGS, 4, seed=1)
    update = learner.update(meta, support, query, NO_NOISE)
    optimiser = functools.partial(SGD, lr=0.1)

    def query_loss(change):
        moved = {**meta, "items.weight": meta["items.weight"] + change}
        module, _ = trained(model, moved, optimiser, support, 3, ("bias", "user"))
        return (module(query.x) - query.y).square().mean().detach()

    for row, column in ((int(support.x[0]), 0), (int(query.x[1]), 3), (150, 1)):
        change = torch.zeros_like(meta["items.weight"])
        change[row, column] = 1e-5
        slope = (query_loss(change) - query_loss(-change)) / 2e-5
        torch.testing.assert_close(update["items.weight"][row, column], slope, rtol=1e-6, atol=1e-8)
    _, adapted = trained(model, meta, optimiser, support, 3, ("bias", "user"))
    found = whole_update(meta, update)
    assert_trees_close({name: found[name] for name in adapted}, {n: meta[n] - adapted[n] for n in adapted}, **EXACT)


@pytest.mark.parametrize(("model", "spec"), MODELS)
def test_batched_users_share_the_tables(model, spec):
    learner = reptile(model, spec, steps=3, momentum=0.5, init="fresh")
    meta = meta_of(learner, dtype=torch.float64)
    users = [rows(spec, 6, seed, padding=seed) for seed in range(3)]
    users = [Batch(*(part[:6] for part in user)) for user in users]
    stacked = Batch(*(torch.stack(parts) for parts in zip(*users, strict=True)))
    states = vmap(lambda *support: learner.adapt(meta, Batch(*support), learner.knobs, NO_NOISE))(*stacked)
    for number, user in enumerate(users):
        alone = learner.adapt(meta, user, learner.knobs, NO_NOISE)
        assert_trees_close({name: value[number] for name, value in states.items()}, alone)

"""Updates derived from an objective, and their sum over users, against plain automatic differentiation."""

from __future__ import annotations

import math

import pytest
import torch
from tests.learners.toys import ITEMS, NO_NOISE, SPEC, Factors, meta_of, mlp

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners import fedavg, fedsgd, reptile
from tegu.learners.baselines.local_only import local_only
from tegu.learners.inner_loop.query_gradient import update_of

STEPS, LR, PRIOR = 3, 0.7, 2.0


def clicks(real: int, seed: int, padding: int = 0) -> Batch[torch.Tensor]:
    """Distinct items, followed by padding that repeats some."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randperm(ITEMS, generator=generator)[:real]
    x = torch.cat([ids, torch.randint(ITEMS, (padding,), generator=generator)])
    y = 0.5 + torch.rand(real + padding, generator=generator, dtype=torch.float64)
    return Batch(x, y, torch.arange(real + padding).lt(real).double())


def counted(weights):
    """The loss counts a weight above 1 as 1 + ln(weight)."""
    return torch.where(weights > 1, 1 + weights.log(), weights)


def by_hand(meta, support, query):
    """The gradients of items and the change of the user, by a loop over steps and real rows only."""
    items, first = meta["items.weight"].clone().requires_grad_(), meta["user"].clone().requires_grad_()
    user, rows, queries = first, int(support.mask.sum()), int(query.mask.sum())
    for _ in range(STEPS):
        loss = -(torch.log_softmax(items @ user, 0)[support.x[:rows]] * counted(support.y[:rows])).sum() / max(rows, 1)
        (slope,) = torch.autograd.grad(loss, user, create_graph=True)
        user = user - LR * rows / (rows + PRIOR) * slope
    offered = torch.ones(ITEMS, dtype=torch.bool).index_fill(0, support.x[:rows], value=False)
    scores = torch.where(offered, items @ user, -torch.inf)
    wanted = torch.log_softmax(scores, 0)[query.x[:queries]] * counted(query.y[:queries])
    if not queries:
        return {"items.weight": torch.zeros_like(items), "user": (first - user).detach()}
    (gradient,) = torch.autograd.grad(-wanted.sum() / queries, items)
    return {"items.weight": gradient, "user": (first - user).detach()}


def without_support_items(support, query):
    """The query without items of the support, which would have an infinite loss."""
    seen = torch.isin(query.x, support.x[: int(support.mask.sum())])
    return query._replace(mask=query.mask * ~seen, x=torch.where(seen, 0, query.x))


def cohort(users: int) -> tuple[list[Batch[torch.Tensor]], list[Batch[torch.Tensor]]]:
    supports = [clicks(1 + user % 4, user, 3 - user % 4) for user in range(users)]
    queries = [clicks(user % 5, 50 + user, 4 - user % 5) for user in range(users)]  # the first has none
    remaining = [without_support_items(*pair) for pair in zip(supports, queries, strict=True)]
    order = [each.mask.argsort(descending=True, stable=True) for each in remaining]
    return supports, [Batch(*(part[by] for part in each)) for each, by in zip(remaining, order, strict=True)]


@pytest.mark.parametrize("rows_per_weight", [0.0, 2.5])
@pytest.mark.parametrize("users", [1, 7])
def test_one_gradient_of_the_sum_is_the_sum_of_gradients(users, rows_per_weight):
    learner = reptile(
        Factors(),
        Spec.ranking(ITEMS),
        adapted_parameters=["user"],
        steps=STEPS,
        lr=LR,
        prior=PRIOR,
        rows_per_weight=rows_per_weight,
        init="fresh",
    )
    meta, (supports, queries) = meta_of(learner, dtype=torch.float64), cohort(users)
    each = [by_hand(meta, *pair) for pair in zip(supports, queries, strict=True)]
    for found, query in zip(each, queries, strict=True):
        found["items.weight"] *= float(query.mask.sum()) / rows_per_weight if rows_per_weight else 1.0
    for expected, *pair in zip(each, supports, queries, strict=True):
        torch.testing.assert_close(learner.update(meta, *pair, NO_NOISE), expected)
    stacked = [Batch(*(torch.stack(parts) for parts in zip(*batches, strict=True))) for batches in (supports, queries)]
    found = learner.execution.summed_update.compute(meta, *stacked, NO_NOISE)
    for name in meta:
        torch.testing.assert_close(found[name], sum(one[name] for one in each))
    assert found["user"].abs().max() > 1e-3


def test_rows_per_weight_needs_parameters_that_do_not_adapt():
    for rows_per_weight, adapted_parameters, message in (
        (64.0, None, "and every parameter adapts"),
        (-1.0, ["2"], "rows_per_weight is -1.0"),
    ):
        with pytest.raises(DataError, match=message):
            reptile(mlp(), SPEC, adapted_parameters=adapted_parameters, rows_per_weight=rows_per_weight, init="fresh")


def test_an_update_is_the_gradient_for_parameters_that_do_not_adapt():
    def objective(meta, support, query, noise):
        return (meta["fixed"] * meta["adapted"] * query.x).sum() + noise.sum(), {"adapted": support.x}

    batch = Batch(torch.tensor([2.0, 3.0]), torch.zeros(2), torch.ones(2))
    meta = {"fixed": torch.tensor([1.0, 1.0]), "adapted": torch.tensor([5.0, 7.0])}
    found = update_of(objective, ("adapted",))(meta, batch, batch, NO_NOISE)
    assert {name: value.tolist() for name, value in found.items()} == {"fixed": [10.0, 21.0], "adapted": [2.0, 3.0]}


def test_it_is_used_for_any_number_of_rows_and_not_by_baselines():
    model = mlp()
    partial = reptile(model, SPEC, adapted_parameters=["2"], init="fresh")
    assert partial.execution.summed_update.max_rows == math.inf
    assert [
        one.name for build in (fedsgd, fedavg, local_only) if (one := build(model, partial)).execution.summed_update
    ] == []

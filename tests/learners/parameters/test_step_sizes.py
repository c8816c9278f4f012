"""Learned step sizes: against a plain loop in float64, and their effect on training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.toys import NO_NOISE, SPEC, assert_trees_close, concatenated, defaults, meta_of, minus, mlp, rows
from torch import nn
from torch.func import vmap

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError, UnknownNameError
from tegu.learners import fedavg, fedsgd, mixture, reptile, residual_correction
from tegu.learners.baselines.local_only import local_only

STEPS, LR, PRIOR = 3, 0.4, 2.0
SIZES = {"steps": STEPS, "lr": LR, "prior": PRIOR}
NAMES = ("0.weight", "0.bias", "2.weight", "2.bias")
SUPPORT, QUERY = (rows(6, padding=2, dtype=torch.float64), rows(5, seed=1, padding=1, dtype=torch.float64))
OPTIMISERS = {"sgd": {}, "momentum": {"momentum": 0.9}, "minibatches": {"minibatches": 2}, "adam": {"inner": "adam"}}


def random_meta(learner, seed=0):
    """Initial parameters, with random step sizes and prior."""
    generator = torch.Generator().manual_seed(seed)
    meta = meta_of(learner, dtype=torch.float64)
    drawn = {name: torch.randn(value.shape, generator=generator, dtype=torch.float64) for name, value in meta.items()}
    return {name: value + 0.5 * drawn[name] if "/" in name else value for name, value in meta.items()}


def loss_of(meta, batch):
    real = int(batch.mask.sum())
    hidden = torch.tanh(batch.x[:real] @ meta["0.weight"].T + meta["0.bias"])
    return F.cross_entropy(hidden @ meta["2.weight"].T + meta["2.bias"], batch.y[:real])


def adapted_by_hand(meta, batches, adapted_parameters, momentum=0.0, inner="sgd", **_):
    """One step per batch, differentiable, by the formulas of the papers."""
    now = dict(meta)
    first, second = ({name: torch.zeros_like(meta[name]) for name in adapted_parameters} for _ in range(2))
    for turn, batch in enumerate(batches, start=1):
        n = batch.mask.sum()
        rate = LR * n / (n + PRIOR * torch.exp(meta["/log_prior"]))
        slopes = torch.autograd.grad(loss_of(now, batch), [now[name] for name in adapted_parameters], create_graph=True)
        for name, slope in zip(adapted_parameters, slopes, strict=True):
            own = rate * torch.exp(meta[f"{name}/log_lr"])
            if inner == "adam":
                first[name] = 0.9 * first[name] + 0.1 * slope
                second[name] = 0.999 * second[name] + 0.001 * slope**2
                size = torch.sqrt(second[name] / (1 - 0.999**turn) + 1e-24) + 1e-4
                now[name] = now[name] - own * first[name] / (1 - 0.9**turn) / size
            else:
                first[name] = momentum * first[name] + own * slope
                now[name] = now[name] - first[name]
    return now


def updates_by_hand(meta, adapted_parameters, **options):
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    after = loss_of(adapted_by_hand(leaves, [SUPPORT] * STEPS, adapted_parameters, **options), QUERY)
    learned = [name for name in meta if "/" in name]
    losses = float(loss_of(meta, QUERY)) + float(after.detach())
    slopes = torch.autograd.grad(after, [leaves[name] for name in learned])
    return {
        name: 0.1 * math.sqrt(slope.numel()) * slope / (losses + slope.norm())
        for name, slope in zip(learned, slopes, strict=True)
    }


@pytest.mark.parametrize("learned", ["layers", "parameters"])
@pytest.mark.parametrize("adapted_parameters", [None, ["2"]], ids=["whole", "in part"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_step_sizes_follow_the_query_loss_through_adaptation(optimiser, adapted_parameters, learned):
    learner = reptile(
        mlp(),
        SPEC,
        adapted_parameters=adapted_parameters,
        learn_step_sizes=learned,
        **SIZES,
        **OPTIMISERS[optimiser],
        init="fresh",
    )
    meta = random_meta(learner)
    update = learner.update(meta, SUPPORT, QUERY, NO_NOISE)
    expected = updates_by_hand(meta, learner.adapted_parameters, **OPTIMISERS[optimiser])
    assert set(expected) == {*(f"{name}/log_lr" for name in learner.adapted_parameters), "/log_prior"}
    assert_trees_close({name: update[name] for name in expected}, expected, rtol=1e-8, atol=1e-11)
    assert all(value.abs().max() > 1e-5 for value in expected.values())


@pytest.mark.parametrize("learned", ["layers", "parameters"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_adapting_takes_the_learned_steps(optimiser, learned):
    learner = reptile(mlp(), SPEC, learn_step_sizes=learned, **SIZES, **OPTIMISERS[optimiser], init="fresh")
    meta = random_meta(learner)
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    expected = adapted_by_hand(leaves, [SUPPORT] * STEPS, NAMES, **OPTIMISERS[optimiser])
    found = learner.adapt(meta, SUPPORT, learner.knobs, NO_NOISE)
    assert_trees_close(found, {name: expected[name].detach() for name in NAMES}, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adam"])
def test_parameters_follow_reptile_with_learned_step_sizes(optimiser):
    learner = reptile(mlp(), SPEC, learn_step_sizes="layers", **SIZES, **OPTIMISERS[optimiser], init="fresh")
    meta = random_meta(learner)
    real = [
        batch._replace(**{k: v[: int(batch.mask.sum())] for k, v in batch._asdict().items()})
        for batch in (SUPPORT, QUERY)
    ]
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    expected = adapted_by_hand(leaves, [concatenated(*real)] * STEPS, NAMES, **OPTIMISERS[optimiser])
    update = learner.update(meta, SUPPORT, QUERY, NO_NOISE)
    adapted = {name: expected[name].detach() for name in NAMES}
    assert_trees_close({name: update[name] for name in NAMES}, minus({n: meta[n] for n in NAMES}, adapted), rtol=1e-8)


@pytest.mark.parametrize("learned", ["layers", "parameters"])
@pytest.mark.parametrize("adapted_parameters", [None, ["2"]], ids=["whole", "in part"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_training_begins_as_plain_reptile_to_the_bit(optimiser, adapted_parameters, learned):
    model, support, query = mlp(), rows(6), rows(5, seed=1)
    plain, learner = (
        reptile(
            model,
            SPEC,
            adapted_parameters=adapted_parameters,
            learn_step_sizes=kind,
            **SIZES,
            **OPTIMISERS[optimiser],
            init="fresh",
        )
        for kind in (None, learned)
    )
    meta, first = meta_of(learner), meta_of(plain)
    states = [one.adapt(tree, support, learner.knobs, NO_NOISE) for one, tree in ((learner, meta), (plain, first))]
    assert_trees_close(*states, rtol=0, atol=0)
    update, expected = learner.update(meta, support, query, NO_NOISE), plain.update(first, support, query, NO_NOISE)
    assert update.keys() == meta.keys()
    assert_trees_close({name: update[name] for name in expected}, expected, rtol=0, atol=0)


def test_step_sizes_are_learned_only_on_request():
    model = mlp()
    plain = reptile(model, SPEC, **SIZES, init="fresh")
    assert list(plain.init(0)) == list(NAMES)
    assert plain.execution.merges_query
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    by_kind = {
        kind: {
            n: v.shape
            for n, v in reptile(model, SPEC, learn_step_sizes=kind, **SIZES, init="fresh").init(0).items()
            if "/" in n
        }
        for kind in ("layers", "parameters")
    }
    assert by_kind["layers"] == {"/log_prior": (), **{f"{name}/log_lr": () for name in NAMES}}
    assert by_kind["parameters"] == {"/log_prior": (), **{f"{name}/log_lr": shapes[name] for name in NAMES}}


def test_only_adapted_parameters_have_step_sizes_and_a_prior_of_zero_is_not_learned():
    learner = reptile(mlp(), SPEC, adapted_parameters=["2"], learn_step_sizes="layers", init="fresh")
    meta = learner.init(0)
    assert [name for name in meta if "/" in name] == ["2.weight/log_lr", "2.bias/log_lr"]
    assert all(meta[name].dtype == np.float32 and meta[name].shape == () for name in meta if "/" in name)
    assert learner.adapted_parameters == ("2.weight", "2.bias")
    assert set(learner.adapt(meta_of(learner), rows(4), learner.knobs, NO_NOISE)) == {"2.weight", "2.bias"}


def test_knobs_multiply_learned_factors():
    model = mlp()
    learner, plain = (reptile(model, SPEC, learn_step_sizes=kind, **SIZES, init="fresh") for kind in ("layers", None))
    meta = meta_of(learner) | {f"{name}/log_lr": torch.tensor(math.log(3.0)) for name in NAMES}
    meta |= {"/log_prior": torch.tensor(math.log(0.5))}
    found = learner.adapt(meta, rows(6), defaults(learner, lr=0.1, prior=8.0), NO_NOISE)
    expected = plain.adapt(meta_of(plain), rows(6), defaults(plain, lr=0.3, prior=4.0), NO_NOISE)
    assert_trees_close(found, expected)


def test_support_and_query_are_not_merged_and_summed_updates_equal_single_ones():
    model = mlp()
    assert not reptile(model, SPEC, learn_step_sizes="layers", init="fresh").execution.merges_query
    wide, spec = nn.Sequential(nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, 3)), Spec.classification((16,), 3)
    assert reptile(wide, spec, init="fresh").execution.summed_update is not None
    assert reptile(wide, spec, learn_step_sizes="layers", init="fresh").execution.summed_update is None
    learner = reptile(model, SPEC, adapted_parameters=["2"], learn_step_sizes="layers", **SIZES, init="fresh")
    meta = random_meta(learner)
    supports, queries = ([rows(4, seed + user, dtype=torch.float64) for user in range(5)] for seed in (10, 50))
    each = [learner.update(meta, *pair, NO_NOISE) for pair in zip(supports, queries, strict=True)]
    many = [Batch(*(torch.stack(parts) for parts in zip(*batches, strict=True))) for batches in (supports, queries)]
    expected = {name: torch.stack([one[name] for one in each]).sum(0) for name in meta}
    assert_trees_close(learner.execution.summed_update.compute(meta, *many, NO_NOISE), expected, rtol=1e-9)


@pytest.mark.parametrize("learned", ["layers", "parameters"])
def test_no_user_moves_a_step_size_by_more_than_a_tenth(learned):
    learner = reptile(mlp(1), Spec.regression((4,)), learn_step_sizes=learned, steps=5, lr=3.0, init="fresh")
    support, query = (batch._replace(y=100 * batch.x[:, :1]) for batch in (rows(6), rows(5, seed=1)))
    update = learner.update(meta_of(learner), support, query, NO_NOISE)
    changes = {name: float(value.square().mean().sqrt()) for name, value in update.items() if "/" in name}
    assert max(changes.values()) <= 0.1 + 1e-6
    assert max(changes.values()) > 0.05


def test_the_unit_of_the_loss_does_not_matter():
    model, spec = mlp(1), Spec.regression((4,))
    support, query = (batch._replace(y=batch.x[:, :1]) for batch in (rows(6), rows(5, seed=1)))
    updates = []
    for unit in (1.0, 1000.0):
        learner = reptile(
            model,
            spec,
            loss=lambda output, y, u=unit: u * (output - y).square().mean(-1),
            lr=0.1 / unit,
            learn_step_sizes="layers",
            init="fresh",
        )
        update = learner.update(meta_of(learner), support, query, NO_NOISE)
        updates.append({name: value for name, value in update.items() if "/" in name})
    assert_trees_close(*updates, rtol=1e-3)
    assert all(value.abs() > 1e-4 for value in updates[0].values())


@pytest.mark.parametrize(("support", "query"), [(0, 5), (5, 0), (0, 0)])
def test_users_without_support_or_query_do_not_change_step_sizes(support, query):
    learner = reptile(mlp(), SPEC, learn_step_sizes="parameters", **SIZES, init="fresh")
    batches = rows(support, padding=3), rows(query, seed=1, padding=3)
    update = learner.update(meta_of(learner), *batches, NO_NOISE)
    assert not any(value.any() for name, value in update.items() if "/" in name)


# Synthetic users: linear targets with noise, a common slope, and an intercept that differs between users.
FEATURES, NOISE, USERS, SUPPORT_ROWS = 8, 0.7, 32, 5
LINEAR = Spec.regression((FEATURES,))


def users(seed, count=USERS, queries=15, sd=2.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, SUPPORT_ROWS + queries, FEATURES, generator=generator)
    intercept = sd * torch.randn(count, 1, 1, generator=generator)
    noise = NOISE * torch.randn(count, SUPPORT_ROWS + queries, 1, generator=generator)
    y = x.sum(-1, keepdim=True) / 2 + intercept + noise
    parts = (slice(None, SUPPORT_ROWS), slice(SUPPORT_ROWS, None))
    return tuple(Batch(x[:, part], y[:, part], torch.ones(count, x[:, part].shape[1])) for part in parts)


def trained_meta(learner, rounds, sd=2.0):
    """Trained with the server's default outer optimiser, SGD with rate 1."""
    meta = meta_of(learner)
    each = vmap(lambda support, query, own: learner.update(own, support, query, NO_NOISE), (0, 0, None))
    for turn in range(rounds):
        update = each(*users(turn, sd=sd), meta)
        meta = {name: value - update[name].mean(0) for name, value in meta.items()}
    return meta


def query_error(learner, meta, knobs):
    support, query = users(10**6, 400)

    def one(own, rows):
        output = learner.predict(meta, learner.adapt(meta, own, knobs, NO_NOISE), rows.x)
        return (output - rows.y).square().mean()

    return float(vmap(one)(support, query).mean())


@pytest.mark.parametrize("learned", ["layers", "parameters"])
def test_step_sizes_grow_for_what_differs_between_users_and_shrink_for_the_rest(learned):
    model = nn.Linear(FEATURES, 1)
    plain, learner = (
        reptile(model, LINEAR, steps=4, lr=0.05, learn_step_sizes=kind, init="fresh") for kind in (None, learned)
    )
    metas = trained_meta(plain, 150), trained_meta(learner, 150)
    sizes = {name: float(metas[1][f"{name}/log_lr"].mean().exp()) for name in ("weight", "bias")}
    assert sizes["bias"] > 2
    assert sizes["weight"] < 0.7
    # Plain Reptile is worse even with the best step size, chosen on the users it is evaluated on.
    best = min(query_error(plain, metas[0], knobs) for knobs in plain.calibration.candidates)
    assert query_error(learner, metas[1], learner.knobs) < 0.5 * best


def test_the_prior_grows_if_users_are_alike_and_shrinks_if_they_differ():
    learner = reptile(
        nn.Linear(FEATURES, 1), LINEAR, steps=4, lr=0.1, prior=5.0, learn_step_sizes="layers", init="fresh"
    )
    alike, different = (float(trained_meta(learner, 60, sd)["/log_prior"]) for sd in (0.0, 2.0))
    assert alike > 0.1
    assert different < -0.1


@pytest.mark.parametrize("build", [fedsgd, fedavg, local_only])
def test_baselines_do_not_change_step_sizes(build):
    model, support, query = mlp(), rows(6), rows(5, seed=1)
    plain, learner = (
        build(model, reptile(model, SPEC, learn_step_sizes=kind, **SIZES, init="fresh")) for kind in (None, "layers")
    )
    meta = meta_of(learner)
    update = learner.update(meta, support, query, NO_NOISE)
    expected = plain.update(meta_of(plain), support, query, NO_NOISE)
    assert update.keys() == meta.keys()
    assert_trees_close({name: update[name] for name in expected}, expected, rtol=0, atol=0)
    assert not any(value.any() for name, value in update.items() if name not in expected)


def test_several_initialisations_have_their_own_step_sizes():
    learner = mixture(reptile(mlp(), SPEC, learn_step_sizes="layers", **SIZES, init="fresh"), 2)
    meta = meta_of(learner)
    assert {"0/0.weight/log_lr", "1/2.bias/log_lr", "0//log_prior"} <= meta.keys()
    update = learner.update(meta, rows(6), rows(5, seed=1), NO_NOISE)
    assert update.keys() == meta.keys()
    assert update["1/0.weight/log_lr"].abs() > 1e-5
    state = learner.adapt(meta, rows(6), learner.knobs, NO_NOISE)
    changed = learner.adapt(meta | {"1/0.weight/log_lr": torch.tensor(1.0)}, rows(6), learner.knobs, NO_NOISE)
    different = {name for name in state if not torch.equal(state[name], changed[name])}
    assert {"1/0.weight"} <= different <= {f"1/{name}" for name in NAMES}
    assert learner.predict(meta, state, rows(3).x).shape == (3, 3)


def test_a_correction_trains_with_learned_step_sizes_and_adapts_without():
    model = mlp()
    learner, like = (
        residual_correction(model, SPEC, learn_step_sizes="layers", **SIZES, init="fresh"),
        reptile(model, SPEC, learn_step_sizes="layers", **SIZES, init="fresh"),
    )
    meta = meta_of(learner) | {"0.weight/log_lr": torch.tensor(1.0)}
    updates = [one.update(meta, rows(6), rows(5, seed=1), NO_NOISE) for one in (learner, like)]
    assert_trees_close(*updates, rtol=0, atol=0)
    states = [learner.adapt(tree, rows(6), learner.knobs, NO_NOISE) for tree in (meta, meta_of(learner))]
    assert_trees_close(*states, rtol=0, atol=0)


def test_invalid_options_are_refused():
    with pytest.raises(
        UnknownNameError, match=r"no way to learn step sizes is called 'layer'. Did you mean 'layers'\?"
    ):
        reptile(mlp(), SPEC, learn_step_sizes="layer", init="fresh")
    table = nn.Sequential(nn.Embedding(500, 4), nn.Linear(4, 1))
    spec = Spec.regression((), items=500)
    message = r"learn_step_sizes='parameters', but the table '0.weight' of shape \[500, 4\] adapts by rows, .*'layers'"
    with pytest.raises(DataError, match=message):
        reptile(table, spec, learn_step_sizes="parameters", init="fresh")
    assert "0.weight/log_lr" in reptile(table, spec, learn_step_sizes="layers", init="fresh").init(0)
    assert reptile(table, spec, adapted_parameters=["1"], learn_step_sizes="parameters", init="fresh").init(0)[
        "1.weight/log_lr"
    ].shape == (1, 4)

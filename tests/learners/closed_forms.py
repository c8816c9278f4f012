"""Toy learners unlike Reptile: adaptation in closed form, and noise for every user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from tests.learners.toys import CLASSES, FEATURES, SPEC, mlp
from torch import Tensor
from torch.func import grad, vmap

from tegu.core.data.tree import Tree
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.learners import Iterated, Learner, reptile
from tegu.learners.learner import CalibrationOptions, Execution, SummedUpdate, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.operators.exportable import one_hot

WIDTH = 2
NOISE = CLASSES * WIDTH
KNOBS = {"share": 0.75}


@cache
def prototypes(sigma: float = 0.0) -> Learner:
    """Distances to class means in a linear embedding (Snell et al. 2017).

    The means are a weighted mean, by the knob `share`, of the user's and of learned ones. With `sigma` above 0, noise
    is added to the user's means, in training and on devices.
    """

    def adapt(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        found = support.x @ meta["embedding"]
        one_hots = one_hot(support.y, CLASSES) * support.mask.unsqueeze(-1)
        means = (one_hots.T @ found) / one_hots.sum(0).clamp(min=1).unsqueeze(-1)
        noisy = means + sigma * noise.reshape(CLASSES, WIDTH) if sigma else means
        return {"means": meta["means"] + knobs["share"] * (noisy - meta["means"])}

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        differences = (x @ meta["embedding"]).unsqueeze(1) - state["means"]
        return -differences.square().sum(-1)

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        def loss(own: TorchTree) -> Tensor:
            logits = predict(own, adapt(own, support, KNOBS, noise), query.x)
            rows = -(torch.log_softmax(logits, -1) * one_hot(query.y, CLASSES)).sum(-1)
            return (rows * query.mask).sum() / query.mask.sum().clamp(min=1)

        found: TorchTree = grad(loss)(meta)
        return found

    return Learner(
        name="noisy prototypes" if sigma else "prototypes",
        paper="Snell et al. 2017",
        spec=SPEC,
        adapted_parameters=("means",),
        knobs=KNOBS,
        unadapted={"share": 0.0},
        init=_init,
        adapt=adapt,
        predict=predict,
        update=update,
        noise=NOISE if sigma else 0,
        calibration=CalibrationOptions(candidates=[{"share": share} for share in (0.25, 0.5, 1.0)]),
    )


@cache
def noisy_steps() -> Learner:
    """Gradient steps with noise; a summed update is available."""
    base = reptile(mlp(), SPEC, steps=2, lr=0.2, init="fresh")
    assert isinstance(base.adapt, Iterated)
    step, width = base.adapt.step, base.init(0)["2.bias"].shape[0]

    def noisy_step(
        meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor
    ) -> TorchTree:
        moved = step(meta, carry, support, knobs, noise)
        return {**moved, "2.bias": moved["2.bias"] + 0.1 * knobs["lr"] * noise}

    adapt = replace(base.adapt, step=noisy_step)

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        del query
        carry = adapt.begin(meta, support)
        for _ in range(2):
            carry = noisy_step(meta, carry, support, base.knobs, noise)
        return {name: meta[name] - value for name, value in adapt.finish(carry).items()}

    def summed(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        each = vmap(lambda *user: update(meta, *user))(support, query, noise)
        return {name: value.sum(0) for name, value in each.items()}

    execution = Execution(summed_update=SummedUpdate(1000.0, summed))
    return replace(base, name="noisy steps", adapt=adapt, update=update, noise=width, execution=execution)


def _init(seed: int) -> Tree:
    rng = keyed_rng("prototypes", seed)
    shapes = {"embedding": (FEATURES, WIDTH), "means": (CLASSES, WIDTH)}
    return {name: rng.standard_normal(shape).astype("float32") for name, shape in shapes.items()}


TOYS: dict[str, Callable[[], Learner]] = {
    "closed form": prototypes,
    "noisy closed form": lambda: prototypes(0.3),
    "noisy steps": noisy_steps,
}

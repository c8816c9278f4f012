"""Learners that take gradient steps on the support, each from its paper's equations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor
from torch.func import grad, vmap

from tegu.bench.peers.torch_learners.task import Rows, TorchTree, outputs

__all__ = ["NAMES", "bayesian_maml", "fomaml", "lstm_meta_learner", "maml", "meta_sgd", "platipus", "reptile", "t_net"]

NAMES = tuple(f"{number}.{part}" for number in (0, 2, 4) for part in ("weight", "bias"))
_STEPS, _LR = 5, 0.1
_PARTICLES, _KL = 5, 1e-4


def _loss(tree: TorchTree, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(outputs(tree, x), y)


def _descended(tree: TorchTree, x: Tensor, y: Tensor, steps: int = _STEPS) -> TorchTree:
    for _ in range(steps):
        slopes = grad(_loss)(tree, x, y)
        tree = {name: tree[name] - _LR * slopes[name] for name in NAMES}
    return tree


def _own(meta: TorchTree) -> TorchTree:
    return {name: meta[name] for name in NAMES}


def maml(meta: TorchTree, rows: Rows) -> Tensor:
    """The query's loss after gradient steps, of which all derivatives count."""
    return _loss(_descended(_own(meta), rows.x, rows.y), rows.query_x, rows.query_y)


def fomaml(meta: TorchTree, rows: Rows) -> Tensor:
    """The query's loss after gradient steps that count as constants."""
    adapted = _descended({name: meta[name].detach() for name in NAMES}, rows.x, rows.y)
    kept = {name: meta[name] + (adapted[name] - meta[name]).detach() for name in NAMES}
    return _loss(kept, rows.query_x, rows.query_y)


def reptile(meta: TorchTree, rows: Rows) -> TorchTree:
    """Minus the change of the parameters by gradient steps on all rows. This is an update, and no loss."""
    x, y = torch.cat([rows.x, rows.query_x]), torch.cat([rows.y, rows.query_y])
    adapted = _descended(_own(meta), x, y)
    return {name: meta[name] - adapted[name] for name in NAMES}


def meta_sgd(meta: TorchTree, rows: Rows) -> Tensor:
    """One step with a learned size for every entry."""
    slopes = grad(_loss)(_own(meta), rows.x, rows.y)
    tree = {name: meta[name] - _LR * meta[f"{name}/lr_factor"] * slopes[name] for name in NAMES}
    return _loss(tree, rows.query_x, rows.query_y)


def t_net(meta: TorchTree, rows: Rows) -> Tensor:
    """Steps of layers T (W x + b), of which T does not adapt."""

    def loss(own: TorchTree, x: Tensor, y: Tensor) -> Tensor:
        for number in (0, 2, 4):
            x = (x @ own[f"{number}.weight"].T + own[f"{number}.bias"]) @ meta[f"{number}.weight/transform"].T
            x = x if number == 4 else torch.relu(x)  # the last layer
        return F.cross_entropy(x, y)

    tree = _own(meta)
    for _ in range(_STEPS):
        slopes = grad(loss)(tree, rows.x, rows.y)
        tree = {name: tree[name] - _LR * slopes[name] for name in NAMES}
    return loss(tree, rows.query_x, rows.query_y)


def lstm_meta_learner(meta: TorchTree, rows: Rows) -> Tensor:
    """Steps of an LSTM whose cell state is the parameters; gradients and losses are constants."""
    shapes = {name: meta[name].shape for name in NAMES}
    sizes = [shape.numel() for shape in shapes.values()]

    def tree(theta: Tensor) -> TorchTree:
        parts = torch.split(theta, sizes)
        return {name: part.reshape(shapes[name]) for name, part in zip(NAMES, parts, strict=True)}

    gates = ("input", "forget", "cell", "output")
    seen, recurrent, bias = (
        torch.cat([meta[f"/lstm/{gate}/{part}"] for gate in gates]) for part in ("seen", "recurrent", "bias")
    )
    theta = torch.cat([meta[name].flatten() for name in NAMES])
    before = {"forget": torch.zeros_like(theta), "input": torch.zeros_like(theta)}
    h = c = theta.new_zeros(len(theta), recurrent.shape[1])
    for _ in range(_STEPS):
        held = theta.detach()
        loss = _loss(tree(held), rows.x, rows.y).detach()
        slope = grad(lambda own: _loss(tree(own), rows.x, rows.y))(held)
        inputs = torch.stack([*_preprocessed(slope), *(part.expand_as(slope) for part in _preprocessed(loss))], 1)
        taken, kept, new, shown = (inputs @ seen.T + h @ recurrent.T + bias).chunk(4, 1)
        c = kept.sigmoid() * c + taken.sigmoid() * new.tanh()
        h = shown.sigmoid() * c.tanh()
        before = {gate: _gate(meta, gate, h, theta, value) for gate, value in before.items()}
        theta = before["forget"] * theta - before["input"] * slope
    return _loss(tree(theta), rows.query_x, rows.query_y)


def _preprocessed(x: Tensor) -> tuple[Tensor, Tensor]:
    small = x.abs() < math.exp(-10)
    size = x.abs().clamp(min=math.exp(-10)).log() / 10
    return torch.where(small, -1.0, size), torch.where(small, math.exp(10) * x, x.sign())


def _gate(meta: TorchTree, gate: str, h: Tensor, theta: Tensor, before: Tensor) -> Tensor:
    weights = {part: meta[f"/{gate}/{part}"] for part in ("hidden", "theta", "before", "bias")}
    return (h @ weights["hidden"] + theta * weights["theta"] + before * weights["before"] + weights["bias"]).sigmoid()


def platipus(meta: TorchTree, rows: Rows) -> Tensor:
    """A draw of the posterior takes the steps; its divergence from the prior is penalised."""
    own = _own(meta)
    means, log_widths = {}, {}
    for which, end, x, y in (
        ("p", "log_sigma", rows.x, rows.y),
        ("q", "log_v", rows.query_x, rows.query_y),
    ):
        slopes, gamma = grad(_loss)(own, x, y), meta[f"/log_gamma_{which}"].exp()
        means[which] = torch.cat([(own[name] - gamma * slopes[name]).flatten() for name in NAMES])
        log_widths[which] = torch.cat([meta[f"{name}/{end}"].flatten() for name in NAMES])
    drawn = means["q"] + log_widths["q"].exp() * rows.noise[: len(means["q"])]
    parts = torch.split(drawn, [own[name].numel() for name in NAMES])
    tree = {name: part.reshape(own[name].shape) for name, part in zip(NAMES, parts, strict=True)}
    ratio = log_widths["q"] - log_widths["p"]
    distance = (means["q"] - means["p"]).square() * (-2 * log_widths["p"]).exp()
    divergence = 0.5 * ((2 * ratio).exp() + distance - 1 - 2 * ratio).sum()
    return _loss(_descended(tree, rows.x, rows.y), rows.query_x, rows.query_y) + _KL * divergence


def bayesian_maml(meta: TorchTree, rows: Rows) -> Tensor:
    """The distance of particles that took steps on the support from those that took one more on all rows."""
    chaser = torch.cat([(meta[name] + meta[f"{name}/offsets"]).flatten(1) for name in NAMES], 1)
    shapes = [meta[name].shape for name in NAMES]
    for _ in range(_STEPS):
        chaser = _stein_step(chaser, shapes, rows.x, rows.y)
    x, y = torch.cat([rows.x, rows.query_x]), torch.cat([rows.y, rows.query_y])
    leader = _stein_step(chaser.detach(), shapes, x, y)
    return (chaser - leader.detach()).square().sum()


def _stein_step(particles: Tensor, shapes: Sequence[torch.Size], x: Tensor, y: Tensor) -> Tensor:
    """One step of Stein variational gradient descent for particles `[particles, entries]`."""

    def log_likelihood(particle: Tensor) -> Tensor:
        parts = torch.split(particle, [shape.numel() for shape in shapes])
        tree = {name: part.reshape(shape) for name, part, shape in zip(NAMES, parts, shapes, strict=True)}
        return -_loss(tree, x, y)

    apart = (particles[:, None] - particles[None]).square().sum(-1)
    first, second = torch.tril_indices(_PARTICLES, _PARTICLES, -1)
    bandwidth = apart.detach()[first, second].median() / math.log(_PARTICLES)
    kernel = torch.exp(-apart / bandwidth)
    drawn = kernel @ vmap(grad(log_likelihood))(particles)
    repulsion = (kernel.sum(1, keepdim=True) * particles - kernel @ particles) * 2 / (bandwidth * len(x))
    moved: Tensor = particles + _LR / _PARTICLES * (drawn + repulsion)
    return moved

"""T-Net: layers that transform, learned by all users, around layers that adapt; MT-Net also learns which units adapt.

Lee, Choi, "Gradient-Based Meta-Learning with Learned Layerwise Metric and Subspace", 2018, arXiv:1801.05558.

    a layer   T (W x + b) in place of W x + b, for linear and convolutional layers; T starts as the identity
    adapt     K steps of gradient descent on the support, in W and b alone
    update    the gradient of the query's loss after adapting, for W, b and T

T changes no function that the network can represent, but it changes the gradient of W, and with it the metric in which
the steps are steepest. It mixes the channels of a convolution, as a convolution of size 1 would.

MT-Net (section 3.2) multiplies gradients by a mask: unit j of a layer, which is row j of W and b, takes part in a
user's adaptation with probability sigmoid(zeta_j). The mask is drawn once a user, and relaxed as in Gumbel-softmax
(Jang et al. 2017, arXiv:1611.01144), so that zeta follows the gradient of the query's loss too. zeta starts at 0.

Entries of `meta`: `name/transform` `[out, out]` and `name/zeta` `[out]`, where `name` is the layer's weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.learners.algorithms.by_steps import learner_by_steps, step_size_candidates
from tegu.learners.algorithms.learned_optimiser.transforms import (
    Layer,
    find_layers,
    loss_with_transforms,
    transform_entry,
    with_transforms,
)
from tegu.learners.inner_loop.adaptable import adaptable
from tegu.learners.inner_loop.gradient_steps import inner_loop, run_steps
from tegu.learners.inner_loop.untrained import with_untrained
from tegu.learners.learner import (
    Iterated,
    Learner,
    TorchBatch,
    TorchKnobs,
    TorchTree,
)
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.losses import OutputLoss
from tegu.learners.modules.named_output import OutputName
from tegu.learners.parameters.step_sizes import factor_entry

__all__ = ["PAPER", "t_net"]

PAPER = "Lee and Choi 2018, Gradient-Based Meta-Learning with Learned Layerwise Metric and Subspace, arXiv:1801.05558"
_MIN_SHARE = 1e-6  # keeps the logarithms of a uniform number finite


def t_net(
    model: nn.Module,
    spec: Spec,
    *,
    loss: str | OutputLoss | None = None,
    adapted_parameters: Sequence[str] | None = None,
    steps: int = 5,
    lr: float = 0.1,
    prior: float = 0.0,
    mask: bool = False,
    untrained_parameters: Sequence[str] = (),
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """T-Net (Lee and Choi 2018, arXiv:1801.05558), or MT-Net with `mask`: layers that adapt between learned transforms.

    It takes a module with linear or convolutional layers.

    Layers whose weight does not adapt have no transform, nor have grouped and transposed convolutions. The module with
    the trained W and b, without T, is another function, so that `Run.state_dict` refuses this learner.

    Args:
        model: as in `maml`; some of its layers are `torch.nn.Linear` or convolutions.
        spec: the model's inputs and outputs.
        loss: as in `maml`.
        adapted_parameters: as in `maml`.
        steps: number of inner steps in training, and the default on devices.
        lr: step size of the inner steps.
        prior: as in `reptile`.
        mask: whether a mask chooses the units that adapt, as in MT-Net. The learner then draws noise.
        untrained_parameters: as in `reptile`.
        init: as in `reptile`.
        output: as in `reptile`.

    Raises:
        CompileError: as `maml`.
        DataError: no layer with a transform adapts; or as `maml`.
        UnknownNameError: as `maml`.
    """
    plain = adaptable(model, spec, loss, adapted_parameters, init, output)
    layers = find_layers(plain.module, plain.adapted)
    if not layers:
        raise DataError(
            f"of the parameters that adapt, {', '.join(plain.adapted)}, none is the weight of a linear layer or of a "
            "convolution without groups, so that there is nothing to transform: let such a layer adapt, or use "
            "meta_sgd, which learns a step size for every entry of any parameter"
        )
    ready = plain._replace(loss=loss_with_transforms(plain.loss, layers))
    knobs = {"steps": float(steps), "lr": lr, "prior": prior}
    unmasked = inner_loop(ready.module, ready.loss, ready.adapted, "sgd")
    adapt = _masked(unmasked, layers) if mask else unmasked

    def objective(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        return ready.mean_loss(meta | run_steps(adapt, meta, support, knobs, noise=noise), query, support), {}

    learner = replace(
        learner_by_steps("t_net", PAPER, spec, ready, knobs, adapt, objective, step_size_candidates(ready, knobs)),
        init=lambda seed: {**ready.init(seed), **_first_entries(layers, mask=mask)},
        predict=lambda meta, state, x: ready.output(with_transforms(layers, meta | state), x),
        noise=sum(layer.out for layer in layers) if mask else 0,
        source=None,  # with these parameters, the module is not what was trained
    )
    return with_untrained(learner, ready.module, untrained_parameters)


def _zeta(layer: Layer) -> str:
    return f"{layer.weight}/zeta"


def _first_entries(layers: Sequence[Layer], *, mask: bool) -> Tree:
    transforms = {transform_entry(layer): np.eye(layer.out, dtype=np.float32) for layer in layers}
    return {**transforms, **({_zeta(layer): np.zeros(layer.out, np.float32) for layer in layers} if mask else {})}


def _masked(adapt: Iterated, layers: Sequence[Layer]) -> Iterated:
    """`adapt` whose steps are multiplied by the user's mask."""

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        return adapt.step(meta | _masks(layers, meta, noise), carry, support, knobs, noise)

    return Iterated(adapt.begin, step, adapt.finish)


def _masks(layers: Sequence[Layer], meta: TorchTree, noise: Tensor) -> TorchTree:
    """The factors of the layers' step sizes, for standard normal noise `[units]`."""
    found, start = {}, 0
    for layer in layers:
        share = (0.5 * (1 + torch.erf(noise[start : start + layer.out] / math.sqrt(2)))).clamp(
            _MIN_SHARE, 1 - _MIN_SHARE
        )
        kept = torch.sigmoid(meta[_zeta(layer)] + share.log() - (1 - share).log())
        weight = meta[layer.weight]
        found[factor_entry(layer.weight)] = kept.reshape(-1, *[1] * (weight.dim() - 1)).expand(weight.shape)
        if layer.bias:
            found[factor_entry(layer.bias)] = kept
        start += layer.out
    return found

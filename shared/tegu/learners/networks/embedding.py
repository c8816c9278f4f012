"""A module as an embedding network: a function from rows to vectors of any width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from tegu.core.data.field import Field
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError, UnknownNameError
from tegu.core.notes import note
from tegu.learners.default_dtype import float32_by_default
from tegu.learners.learner import TorchTree
from tegu.learners.modules.checks import checked_module, example_rows
from tegu.learners.modules.features import forward_with_features
from tegu.learners.modules.functional import call
from tegu.learners.modules.initial_values import fixed_parameter_names
from tegu.learners.modules.named_inputs import unpacking
from tegu.learners.modules.named_output import OutputName
from tegu.learners.modules.plain_module import plain_module
from tegu.learners.networks.module_of_spec import default_module

__all__ = ["Embedding", "EmbeddingChoice", "embedding_of"]

EmbeddingChoice: TypeAlias = Literal["output", "features"]
"""What a module embeds a row as: its output, or what its last linear layer is given."""

_WIDTH = 64  # of the network that is made from a spec: the paper's Omniglot network (Snell et al. 2017) has as many
_ROWS = 3


@dataclass(frozen=True)
class Embedding:
    """An embedding network.

    Attributes:
        module: the module, as `checked_module` returns it.
        width: length of an embedding.
        choice: what of the module is the embedding.
        fixed: names of the parameters that training does not change: those without `requires_grad`, and those that the
            embedding does not depend on, such as a classifier's last layer.
        classifier: whether the module's output is that of the spec, so that it can serve other learners too.
    """

    module: nn.Module
    width: int
    choice: EmbeddingChoice
    fixed: tuple[str, ...]
    classifier: bool

    def __call__(self, meta: TorchTree, x: Tensor) -> Tensor:
        """The embeddings `[rows, width]` of `x` `[rows, ...]`. Entries of `meta` that are no parameters are ignored."""
        return _embed(self.module, self.choice, meta, x)


@float32_by_default()
def embedding_of(
    model: nn.Module | None, spec: Spec, choice: EmbeddingChoice | None, output: OutputName | None = None
) -> Embedding:
    """The embedding network that `model` is, or contains. A note says which, unless `choice` does.

    Args:
        model: a module from rows `[rows, *spec.x.shape]` to vectors `[rows, width]`. None makes one from the spec. It
            is not changed.
        spec: its inputs, and the outputs of a classifier or regressor.
        choice: "output" takes the module's output, "features" the input of its last linear layer. None takes the
            features of a module whose output has the spec's shape, and the output of any other.
        output: name or position of the output to take, if the module returns several.

    Raises:
        CompileError: as `checked_module`.
        DataError: the output is not a vector for each row, or the features depend on no parameter that can be trained;
            or as `checked_module`.
        UnknownNameError: no such choice.
    """
    if choice not in (None, *get_args(EmbeddingChoice)):
        raise UnknownNameError("embedding", str(choice), get_args(EmbeddingChoice))
    if model is None:
        made = default_module(spec, _WIDTH)
        note(f"no module is given: {made.text} embeds rows in {_WIDTH} numbers; pass a torch module for another one")
        return _embedding(checked_module(made.module, _vectors(spec, _WIDTH)), spec, "output", classifier=False)
    width = _embedding_width(model, spec, output)
    classifier = width is None
    module = checked_module(model, spec if width is None else _vectors(spec, width), output)
    if choice is not None:
        return _trainable(_embedding(module, spec, choice, classifier))
    features = _embedding(module, spec, "features", classifier)
    if not classifier or _whole_module(features):
        return _embedding(module, spec, "output", classifier)
    note(
        f"the model gives {spec.outputs} numbers a row, as many as the spec's outputs: what its last linear layer is "
        f"given, {features.width} numbers, is the embedding; embedding='output' takes its outputs"
    )
    return features


def _embed(module: nn.Module, choice: EmbeddingChoice, meta: TorchTree, x: Tensor) -> Tensor:
    return call(module, meta, x) if choice == "output" else forward_with_features(module, meta, x).features


def _vectors(spec: Spec, width: int) -> Spec:
    """The spec of a module whose outputs are vectors of this width."""
    return Spec("regression", spec.x, Field((width,), "float32"), width, spec.inputs)


def _embedding_width(model: nn.Module, spec: Spec, output: OutputName | None) -> int | None:
    """The length of the module's output; None if it is that of the spec, or if `checked_module` is to judge it.

    Raises:
        DataError: the output is not a vector for each row.
    """
    copied = unpacking(plain_module(model, output), spec)
    parameters = {name: value.detach() for name, value in copied.named_parameters()}
    try:
        found: object = call(copied, parameters, example_rows(spec.x, _ROWS))
    except Exception:  # `checked_module` says in words what is wrong
        return None
    if not isinstance(found, Tensor) or tuple(found.shape) in _shapes_of(spec):
        return None
    if found.dim() != 2 or len(found) != _ROWS:
        raise DataError(
            f"an embedding network whose output is not a vector: it returns shape {tuple(found.shape)} for {_ROWS} "
            f"rows, and ({_ROWS}, width) is expected; end it with nn.Flatten(), or pool over the other axes"
        )
    return found.shape[1]


def _shapes_of(spec: Spec) -> tuple[tuple[int, ...], ...]:
    """Shapes of an output that mean the spec's outputs; see `fit_output_shape`."""
    one_logit = spec.kind == "classification" and spec.outputs == 2
    short = ((_ROWS,), (_ROWS, 1)) if one_logit or spec.outputs == 1 else ()
    return (_ROWS, spec.outputs), *short


def _embedding(module: nn.Module, spec: Spec, choice: EmbeddingChoice, classifier: bool) -> Embedding:
    parameters = {name: value.detach().requires_grad_() for name, value in module.named_parameters()}
    with torch.enable_grad():
        found = _embed(module, choice, parameters, example_rows(spec.x, _ROWS))
    slopes = _slopes(found, parameters)
    unused = {name for name, slope in slopes.items() if slope is None}
    fixed = unused | set(fixed_parameter_names(module))
    return Embedding(module, found.shape[1], choice, tuple(name for name in parameters if name in fixed), classifier)


def _slopes(found: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    if not found.requires_grad:
        return dict.fromkeys(parameters)
    slopes = torch.autograd.grad(found.sum(), list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, slopes, strict=True))


def _whole_module(features: Embedding) -> bool:
    """Whether the module has no embedding but its output: no last linear layer, or nothing to train before it."""
    every = [name for name, _ in features.module.named_parameters()]
    unused = set(features.fixed) - set(fixed_parameter_names(features.module))
    return not unused or set(features.fixed) == set(every)


def _trainable(embedding: Embedding) -> Embedding:
    if len(embedding.fixed) == len(list(embedding.module.parameters())):
        raise DataError(
            "the embedding depends on no parameter that can be trained: the features of this module are its inputs, or "
            "the layers before its last one are fixed; use embedding='output', or a network with a hidden layer"
        )
    return embedding

"""A module with other tensors in place of its parameters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from tegu.learners.learner import TorchTree

__all__ = ["substituted"]


def substituted(module: nn.Module, parameters: TorchTree) -> nn.Module:
    """A shallow copy of `module` that has `parameters`; the module itself is not touched.

    `torch.func.functional_call` puts them into the module while the call lasts, where another thread would see them.
    A parameter that is used in two places is replaced in both.
    """
    places = {id(value): parameters[name] for name, value in module.named_parameters() if name in parameters}
    return _copied(module, places)


def _copied(module: nn.Module, places: Mapping[int, Tensor]) -> nn.Module:
    copied: nn.Module = module.__new__(type(module))
    own = dict(vars(module))
    own["_parameters"] = {name: places.get(id(value), value) for name, value in module._parameters.items()}
    own["_modules"] = {name: child and _copied(child, places) for name, child in module._modules.items()}
    vars(copied).update(own)
    return copied

"""Replacing a module's parameters by other tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from tegu.learners.learner import TorchTree
from tegu.learners.module_calls import watched

__all__ = ["substituted"]


def substituted(module: nn.Module, parameters: TorchTree) -> nn.Module:
    """A shallow copy of `module` with `parameters`; the module itself does not change.

    `torch.func.functional_call` would change the module during the call, visibly to other threads. A parameter that is
    used in two places is replaced in both.
    """
    replacements = {id(value): parameters[name] for name, value in module.named_parameters() if name in parameters}
    return _copied(module, replacements, "")


def _copied(module: nn.Module, replacements: Mapping[int, Tensor], path: str) -> nn.Module:
    copied: nn.Module = module.__new__(type(module))
    own = dict(vars(module))
    own["_parameters"] = {name: replacements.get(id(value), value) for name, value in module._parameters.items()}
    own["_modules"] = {
        name: child and _copied(child, replacements, f"{path}.{name}" if path else name)
        for name, child in module._modules.items()
    }
    vars(copied).update(own)
    forward = watched(path, module, copied)
    if forward is not None:
        vars(copied)["forward"] = forward
    return copied

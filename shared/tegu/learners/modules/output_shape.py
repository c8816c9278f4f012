"""Outputs in the shape that a spec asks for, where the module's own shape means the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tegu.core.data.spec import Spec

__all__ = ["fit_output_shape"]


def fit_output_shape(model: nn.Module, spec: Spec, output: Tensor) -> None:
    """Change `model` so that its outputs have the spec's shape, where its own shape means the same.

    One output for two classes is the logit of class 1. The logits become 0 and that output, whose softmax
    cross-entropy is the binary cross-entropy. A single target may be `[rows]`. Other shapes stay as they are.

    Args:
        model: the module.
        spec: its outputs.
        output: the module's output for some rows.
    """
    rows = output.shape[0] if output.dim() else 0
    if spec.kind == "classification" and spec.outputs == 2 and output.shape in ((rows,), (rows, 1)):
        model.register_forward_hook(_two_logits)
    elif spec.kind in ("regression", "multilabel") and spec.outputs == 1 and output.shape == (rows,):
        model.register_forward_hook(_column)


def _two_logits(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    del module, args
    return output.reshape(-1, 1) * torch.arange(2, dtype=output.dtype, device=output.device)


def _column(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    del module, args
    return output.unsqueeze(-1)

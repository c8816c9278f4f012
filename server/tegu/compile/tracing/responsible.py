"""Which module of the user's model is responsible when a graph cannot be compiled, or disagrees with torch."""

from __future__ import annotations

import importlib.util
import os
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from tegu.compile.check import check_graph
from tegu.compile.named_tensors import Function, Named
from tegu.compile.tracing.trace import GraphSource, trace
from tegu.learners.module_calls import ModuleCall, described, observe_modules
from tegu.learners.operators.exportable import PlainOperators
from tegu.learners.parameters.substitute import substituted

__all__ = ["responsible_module", "user_line"]

_PACKAGES = ("tegu", "torch", "onnx", "onnxscript", "onnx_ir", "onnxruntime")
_FOLDERS = (
    sysconfig.get_path("stdlib"),
    *(
        folder
        for package in _PACKAGES
        if (spec := importlib.util.find_spec(package)) is not None
        for folder in spec.submodule_search_locations or ()
    ),
)
_LIBRARIES = tuple(f"{folder}{os.sep}" for folder in _FOLDERS)


def responsible_module(predict: Function, inputs: Named) -> str | None:
    """The innermost module that does not compile by itself, gradients included, in words; None if all of them do.

    Args:
        predict: a learner's `predict`, of named tensors.
        inputs: its inputs; `x` has the rows.
    """
    with observe_modules() as calls, torch.no_grad():
        predict(inputs)
    passed = set[str]()
    for call in calls.finished:
        error = None if _key(call) in passed else _failure(call, inputs["x"].shape[0])
        if error is not None:
            return described(call.name, call.module) + _at(user_line(error))
        passed.add(_key(call))
    return None


def user_line(error: BaseException | None) -> str | None:
    """The last line of the user's code that an error went through, as `model.py, line 12: x = ...`."""
    found = None
    for one in _chain(error):
        for frame in traceback.extract_tb(one.__traceback__):
            if not frame.filename.startswith((*_LIBRARIES, "<")) and "site-packages" not in frame.filename:
                found = f"{Path(frame.filename).name}, line {frame.lineno}: {frame.line}"
    return found


def _at(line: str | None) -> str:
    return "" if line is None else f" at {line}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _key(call: ModuleCall) -> str:
    shapes = [tuple(leaf.shape) for leaf in tree_leaves((call.inputs, call.options)) if isinstance(leaf, Tensor)]
    return f"{call.module!r} {shapes}"


def _failure(call: ModuleCall, rows: int) -> Exception | None:
    """The error of compiling one module with its gradients, and of running the graph; None if there is none."""
    function, inputs = _with_gradients(call)
    dynamic = {
        name: [axis for axis, size in enumerate(value.shape) if size and size % rows == 0]
        for name, value in inputs.items()
        if name.startswith("input.")
    }
    try:
        model = trace({"module": GraphSource(function, inputs, dynamic)})["module"]
        check_graph(model, function, [inputs], "module")
    except Exception as error:  # a user's module may raise anything
        return error
    return None


def _with_gradients(call: ModuleCall) -> tuple[Function, dict[str, Tensor]]:
    """A module's outputs and their gradients as a function of named tensors, and its inputs."""
    leaves, structure = tree_flatten((call.inputs, call.options))
    tensors = {f"input.{i}": leaf.detach() for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
    parameters = {f"parameter.{name}": value.detach() for name, value in call.parameters.items()}
    inputs = {**parameters, **tensors}

    def outputs(variables: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> list[Tensor]:
        values: dict[str, Any] = {**others, **variables}
        args, options = tree_unflatten([values.get(f"input.{i}", leaf) for i, leaf in enumerate(leaves)], structure)
        own = {name.removeprefix("parameter."): values[name] for name in parameters}
        with PlainOperators():
            result = substituted(call.module, own)(*args, **options)
        return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor) and leaf.is_floating_point()]

    def function(values: Named) -> Named:
        variables = {name: value for name, value in values.items() if value.is_floating_point()}
        others = {name: value for name, value in values.items() if name not in variables}
        pair: Any = vjp(lambda own: outputs(own, others), variables)
        found, backward = pair
        (gradients,) = backward([torch.ones_like(each) for each in found])
        results = {f"output.{i}": each for i, each in enumerate(found)} | {f"grad.{n}": g for n, g in gradients.items()}
        return {name: value.clone() for name, value in results.items()}

    return function, inputs

"""The three graphs of a bundle, for one user and any number of rows."""

from __future__ import annotations

import torch

from tegu.compile.examples import Sizes, example_inputs
from tegu.compile.functions import functions, step_identity
from tegu.compile.graphs import PREDICT_FEW, Plan, compile_graphs
from tegu.compile.lock import compiling
from tegu.compile.named_tensors import Function, Named
from tegu.compile.operators.convolution.sliding import has_replaced_convolutions, sliding
from tegu.compile.tracing.naming import knob_tensors, under_prefix, with_prefix
from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Manifest
from tegu.core.data.tree import Tree
from tegu.learners.default_dtype import float32_by_default
from tegu.learners.learner import Learner

__all__ = ["compile_learner", "device_plan", "make_bundle", "manifest_of"]

# Sizes to trace with, which differ from graph to graph and rarely occur in models.
_TRACED = {"adapt": Sizes(13, 1), "predict": Sizes(23, 11), "update": Sizes(17, 19)}
# Sizes to check with.
_CHECKED = (Sizes(1, 2), Sizes(4, 1, 1), Sizes(10, 7), Sizes(19, 23, 5))


@float32_by_default()
def compile_learner(learner: Learner) -> dict[str, bytes]:
    """Compile `adapt`, `predict` and `update`, and check them against torch at several numbers of rows.

    Returns:
        Serialised ONNX by graph.

    Raises:
        CompileError: the model cannot be compiled, or a graph disagrees with torch.
        DataError: the loss does not give one value per row.
    """
    with compiling():
        return compile_graphs(device_plan(learner))


def device_plan(learner: Learner) -> Plan:
    """What `compile_learner` compiles.

    Raises:
        DataError: the loss does not give one value per row.
    """
    examples = {graph: example_inputs(learner, sizes, seed=0) for graph, sizes in _TRACED.items()}
    cases = [example_inputs(learner, sizes, seed=1 + i) for i, sizes in enumerate(_CHECKED)]
    of_one_user = functions(learner)
    of_one_user["predict"] = predict = _with_members(learner, of_one_user["predict"])
    few = {PREDICT_FEW: sliding(predict)} if has_replaced_convolutions(predict, examples["predict"]) else {}
    return Plan(
        {**of_one_user, **few},
        of_one_user,
        examples,
        cases,
        with_prefix("knob", knob_tensors(learner.unadapted)),
        step_identity=step_identity(learner),
    )


def _with_members(learner: Learner, predict: Function) -> Function:
    """`predict` with the members' outputs as a further result, `members` `[members, rows, ...]`, if there are any."""
    if (members := learner.members) is None:
        return predict

    def with_members(values: Named) -> Named:
        meta, state = under_prefix("meta", values), under_prefix("state", values)
        return {**predict(values), "members": torch.stack(members.outputs(meta, state, values["x"]))}

    return with_members


def make_bundle(learner: Learner, meta: Tree, graphs: dict[str, bytes] | None = None) -> Bundle:
    """A bundle of `meta` and the learner's graphs.

    Args:
        learner: what the bundle runs.
        meta: its meta-parameters, float32 arrays by name.
        graphs: the result of `compile_learner`. None means to compile them now.

    Raises:
        CompileError: as `compile_learner`.
        DataError: as `compile_learner`.
    """
    return Bundle(manifest_of(learner), meta, compile_learner(learner) if graphs is None else graphs)


def manifest_of(learner: Learner) -> Manifest:
    """The manifest of a bundle of this learner, without any record of training."""
    return Manifest(
        learner.name,
        learner.paper,
        learner.spec,
        learner.adapted_parameters,
        learner.knobs,
        learner.unadapted,
        candidates=tuple(learner.calibration.candidates),
        guarded=learner.calibration.guarded,
        window=learner.calibration.window,
        noise=learner.noise,
        fixed_parameters=learner.fixed_parameters,
        untrained_parameters=learner.untrained_parameters,
        state_members=0 if learner.members is None else learner.members.number,
    )

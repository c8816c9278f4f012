"""The three graphs of a bundle: one user, any number of rows."""

from __future__ import annotations

from tegu.compile.examples import Sizes, example_inputs
from tegu.compile.functions import functions
from tegu.compile.graphs import PREDICT_FEW, Plan, compile_graphs
from tegu.compile.operators.convolution.sliding import replaces_convolutions, sliding
from tegu.compile.tracing.naming import knob_tensors, named
from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Manifest
from tegu.core.data.tree import Tree
from tegu.learners.learner import Learner
from tegu.learners.threads import one_thread

__all__ = ["compile_learner", "device_plan", "make_bundle", "manifest_of"]

# To trace with: sizes that models rarely have, others for each graph. Then to check with.
_TRACED = {"adapt": Sizes(13, 1), "predict": Sizes(23, 11), "update": Sizes(17, 19)}
_CHECKED = (Sizes(1, 2), Sizes(4, 1, 1), Sizes(10, 7), Sizes(19, 23, 5))


def compile_learner(learner: Learner) -> dict[str, bytes]:
    """`adapt`, `predict` and `update` as serialised ONNX, checked against torch at several numbers of rows.

    Raises:
        CompileError: the model cannot be compiled, or a graph disagrees with torch.
        DataError: the loss is not one value a row.
    """
    with one_thread():
        return compile_graphs(device_plan(learner))


def device_plan(learner: Learner) -> Plan:
    """What `compile_learner` compiles.

    Raises:
        DataError: the loss is not one value a row.
    """
    examples = {graph: example_inputs(learner, sizes, seed=0) for graph, sizes in _TRACED.items()}
    cases = [example_inputs(learner, sizes, seed=1 + i) for i, sizes in enumerate(_CHECKED)]
    one = functions(learner)
    predict = one["predict"]
    few = {PREDICT_FEW: sliding(predict)} if replaces_convolutions(predict, examples["predict"]) else {}
    return Plan({**one, **few}, one, examples, cases, named("knob", knob_tensors(learner.unadapted)))


def make_bundle(learner: Learner, meta: Tree, graphs: dict[str, bytes] | None = None) -> Bundle:
    """A bundle of `meta` and the learner's graphs, which are compiled here where they are not given.

    Raises:
        CompileError: as `compile_learner`.
    """
    return Bundle(manifest_of(learner), meta, compile_learner(learner) if graphs is None else graphs)


def manifest_of(learner: Learner) -> Manifest:
    """What a bundle says of the learner; nothing is said of training yet."""
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
    )

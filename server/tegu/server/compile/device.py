"""The three graphs of a bundle: one user, any number of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

from tegu.core.bundle import Bundle
from tegu.core.manifest import Manifest
from tegu.core.tree import Tree
from tegu.learners.learner import Iterated, Learner
from tegu.server.compile.check import check_graph
from tegu.server.compile.examples import example_batch, example_meta
from tegu.server.compile.loop import CARRY, NEXT, loop_model
from tegu.server.compile.naming import flat_batch, knob_tensors, named, pick, pick_batch
from tegu.server.compile.trace import Function, Named, trace

__all__ = ["BATCH_AXES", "Functions", "compile_learner", "functions", "make_bundle"]

# Support rows, query rows, padded rows: to trace with (sizes that models rarely have), then to check with.
_TRACED = (13, 11, 0)
_CHECKED = ((1, 2, 0), (4, 3, 1), (10, 7, 0), (19, 23, 5))

BATCH_AXES = {f"{part}.{field}": (0,) for part in ("support", "query") for field in ("x", "y", "mask")}


@dataclass(frozen=True)
class Functions:
    """A learner's functions from named tensors to named tensors, as graphs see them."""

    adapt: Function
    predict: Function
    update: Function


def functions(learner: Learner) -> Functions:
    """The learner's `adapt`, `predict` and `update` for one user, over named tensors."""

    def noise(inputs: Named) -> Tensor:
        return inputs.get("noise", torch.zeros(0))

    def adapt(inputs: Named) -> Named:
        state = learner.adapt(pick("meta", inputs), pick_batch("support", inputs), pick("knob", inputs), noise(inputs))
        return named("state", state)

    def predict(inputs: Named) -> Named:
        return {"output": learner.predict(pick("meta", inputs), pick("state", inputs), inputs["x"])}

    def update(inputs: Named) -> Named:
        support, query = pick_batch("support", inputs), pick_batch("query", inputs)
        return named("update", learner.update(pick("meta", inputs), support, query, noise(inputs)))

    return Functions(adapt, predict, update)


def compile_learner(learner: Learner) -> dict[str, bytes]:
    """`adapt`, `predict` and `update` as serialised ONNX, checked against torch at several numbers of rows.

    Raises:
        CompileError: the model cannot be compiled, or a graph disagrees with torch.
    """
    whole = functions(learner)
    traced = _inputs(learner, _TRACED, seed=0)
    cases = [_inputs(learner, sizes, seed=1 + i) for i, sizes in enumerate(_CHECKED)]

    def part(case: Named, *prefixes: str) -> Named:
        return {name: value for name, value in case.items() if name.split(".")[0] in prefixes}

    adapt_in, predict_in, update_in = (
        ("meta", "support", "knob", "noise"),
        ("meta", "state", "x"),
        ("meta", "support", "query", "noise"),
    )
    adapt = _adapt_model(learner, whole.adapt, part(traced, *adapt_in))
    predict = trace(whole.predict, part(traced, *predict_in), {"x": (0,)}, "predict")
    update = trace(whole.update, part(traced, *update_in), BATCH_AXES, "update")
    return {
        "adapt": check_graph(adapt, whole.adapt, _with_steps(cases), "adapt"),
        "predict": check_graph(predict, whole.predict, cases, "predict"),
        "update": check_graph(update, whole.update, cases, "update"),
    }


def make_bundle(learner: Learner, meta: Tree, graphs: dict[str, bytes] | None = None) -> Bundle:
    """A bundle of `meta` and the learner's graphs, which are compiled here where they are not given.

    Raises:
        CompileError: as `compile_learner`.
    """
    manifest = Manifest(learner.name, learner.paper, learner.spec, learner.fast, learner.knobs)
    return Bundle(manifest, meta, compile_learner(learner) if graphs is None else graphs)


def _adapt_model(learner: Learner, whole: Function, inputs: Named) -> onnx.ModelProto:
    adapt = learner.adapt
    if not isinstance(adapt, Iterated):
        return trace(whole, inputs, BATCH_AXES, "adapt")

    def begin(values: Named) -> Named:
        return named("carry", {name: tensor.clone() for name, tensor in adapt.begin(pick("meta", values)).items()})

    def step(values: Named) -> Named:
        moved = adapt.step(
            pick("meta", values),
            pick("carry", values),
            pick_batch("support", values),
            pick("knob", values),
            values.get("noise", torch.zeros(0)),
        )
        return named("next", moved)

    meta = {name: value for name, value in inputs.items() if name.startswith("meta.")}
    carry = begin(meta)
    names = [name[len(CARRY) :] for name in carry]
    assert CARRY == "carry." and NEXT == "next."  # noqa: S101, PT018 # the prefixes written above
    return loop_model(
        trace(begin, meta, {}, "adapt"),
        trace(step, {**inputs, **carry}, BATCH_AXES, "adapt"),
        names,
        list(adapt.finish(dict.fromkeys(names, torch.zeros(())) | pick("carry", carry))),
    )


def _inputs(learner: Learner, sizes: tuple[int, int, int], seed: int) -> dict[str, Tensor]:
    support, query, padding = sizes
    rng = np.random.default_rng(seed)
    meta = example_meta(learner, rng)
    noise = {"noise": torch.from_numpy(rng.standard_normal(learner.noise).astype(np.float32))} if learner.noise else {}
    batch = example_batch(learner.spec, support, rng, padding)
    state = learner.adapt(meta, batch, knob_tensors(learner.knobs), noise.get("noise", torch.zeros(0)))
    return {
        **named("meta", meta),
        **named("state", state),
        **flat_batch("support", batch),
        **flat_batch("query", example_batch(learner.spec, query, rng)),
        **named("knob", knob_tensors(learner.knobs)),
        "x": example_batch(learner.spec, query, rng).x,
        **noise,
    }


def _with_steps(cases: list[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """The cases with 0, 1, 2, ... steps, so that the loop's trip count is checked too."""
    for steps, case in enumerate(cases):
        yield {**case, "knob.steps": torch.tensor(steps)}

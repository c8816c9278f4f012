"""A learner is four pure functions; the server, the device and the simulator know nothing else of it.

    init(seed)                           -> meta     what the server learns
    adapt(meta, support, knobs, noise)   -> state    what becomes personal
    predict(meta, state, x)              -> output
    update(meta, support, query, noise)  -> a tree shaped like meta: the direction the server subtracts

In a state and in an update, the rows that were touched may stand for a whole table: see `parameters.table_rows`.

The server's round is always `meta = outer(meta, mean over users(clip(update)))`. All four are written in torch without
side effects, so that they can be compiled into ONNX graphs, batched over users, and differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from torch import Tensor

from tegu.core.data.batch import Batch
from tegu.core.data.scaling import Scaling
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree

__all__ = ["Adapt", "Iterated", "Learner", "Losses", "Together", "TorchBatch", "TorchKnobs", "TorchTree", "Update"]

TorchTree: TypeAlias = dict[str, Tensor]
TorchBatch: TypeAlias = Batch[Tensor]
TorchKnobs: TypeAlias = Mapping[str, Tensor] | Mapping[str, float]
Adapt: TypeAlias = Callable[[TorchTree, TorchBatch, TorchKnobs, Tensor], TorchTree]
Predict: TypeAlias = Callable[[TorchTree, TorchTree, Tensor], Tensor]
Update: TypeAlias = Callable[[TorchTree, TorchBatch, TorchBatch, Tensor], TorchTree]
Losses: TypeAlias = Callable[[TorchTree, TorchBatch], Tensor]


@dataclass(frozen=True)
class Iterated:
    """An `adapt` that repeats one step; compiled into an ONNX `Loop` whose trip count is the knob `steps`.

    Attributes:
        begin: (meta, support) -> carry, what the first step starts from.
        step: (meta, carry, support, knobs, noise) -> carry, of the same layout. It must not use the knob `steps`.
        finish: carry -> state; it selects and may not compute.
    """

    begin: Callable[[TorchTree, TorchBatch], TorchTree]
    step: Callable[[TorchTree, TorchTree, TorchBatch, TorchKnobs, Tensor], TorchTree]
    finish: Callable[[TorchTree], TorchTree]

    def __call__(self, meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        """The state after `knobs["steps"]` steps."""
        carry = self.begin(meta, support)
        for _ in range(int(knobs["steps"])):
            carry = self.step(meta, carry, support, knobs, noise)
        return self.finish(carry)


class Together(NamedTuple):
    """The sum of many users' updates, for less than the updates take.

    Attributes:
        rows: of support and query together, up to which it takes less; infinite where it always does.
        total: (meta, supports `[users, ...]`, queries `[users, ...]`, noise) -> the sum of what `Learner.update` gives
            for them, to rounding; of tables by rows each user's own, `[users, ...]`.
    """

    rows: float
    total: Update


@dataclass(frozen=True)
class Learner:
    """One meta-learning method applied to one model. Build one with a function of this package, such as `reptile`.

    Attributes:
        name: as in `LEARNERS`.
        paper: the publication it follows.
        spec: what the model takes and gives.
        fast: names of the parameters that adapt; they are the entries of `state`, tables perhaps by rows.
        knobs: default knobs; a graph has an input for each. `steps` is a whole number.
        init: seed -> meta, float32 numpy arrays.
        adapt: see the module's text; often an `Iterated`.
        predict: outputs `[rows, outputs]`, or scores `[rows]` for ranking.
        update: see the module's text.
        noise: length of the `noise` vector; 0 for a learner that draws nothing.
        pools: `update` takes support and query as one set of rows, so that either may be empty.
        any_order: `update` does not tell in which order rows come, rounding apart.
        together: the sum of many users' updates for less than the updates take, where there is such a way.
        most: so many of a user's newest rows a device adapts on; 0 for all.
        candidates: knobs to try on calibration users, besides not adapting.
        trained_as: the learner by gradient steps whose updates these are, where this one adapts otherwise.
        losses: (meta, batch) -> the loss of each row `[rows]` under the initialisation; None where none is told.
        initialisations: how many of them `meta` holds; see `mixture`.
        units: what inputs and targets are like, for rows to try graphs on; None for numbers around 0, as large as 1.
    """

    name: str
    paper: str
    spec: Spec
    fast: tuple[str, ...]
    knobs: Mapping[str, float]
    init: Callable[[int], Tree]
    adapt: Adapt
    predict: Predict
    update: Update = field(repr=False)
    noise: int = 0
    pools: bool = False
    any_order: bool = False
    together: Together | None = field(default=None, repr=False)
    most: int = 0
    candidates: Sequence[Mapping[str, float]] = field(default=(), repr=False)
    trained_as: Learner | None = field(default=None, repr=False)
    losses: Losses | None = field(default=None, repr=False)
    initialisations: int = 1
    units: tuple[Scaling | None, Scaling | None] = field(default=(None, None), repr=False)

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

from tegu.core.bundle.manifest import STEPS
from tegu.core.data.batch import Batch
from tegu.core.data.scaling import Scaling
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError

__all__ = [
    "Adapt",
    "CalibrationOptions",
    "Execution",
    "Iterated",
    "Learner",
    "RowLosses",
    "SummedUpdate",
    "TorchBatch",
    "TorchKnobs",
    "TorchTree",
    "Update",
]

TorchTree: TypeAlias = dict[str, Tensor]
TorchBatch: TypeAlias = Batch[Tensor]
TorchKnobs: TypeAlias = Mapping[str, Tensor] | Mapping[str, float]
Adapt: TypeAlias = Callable[[TorchTree, TorchBatch, TorchKnobs, Tensor], TorchTree]
Predict: TypeAlias = Callable[[TorchTree, TorchTree, Tensor], Tensor]
Update: TypeAlias = Callable[[TorchTree, TorchBatch, TorchBatch, Tensor], TorchTree]
RowLosses: TypeAlias = Callable[[TorchTree, TorchBatch], Tensor]


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


class SummedUpdate(NamedTuple):
    """The sum of many users' updates, computed for less than the updates take.

    Attributes:
        max_rows: of support and query together, up to which it takes less; infinite where it always does.
        compute: (meta, supports `[users, ...]`, queries `[users, ...]`, noise `[users, noise]`, or `[0]` where none is
            drawn) -> the sum of what `Learner.update` gives for them, to rounding; of tables by rows each user's own,
            `[users, ...]`.
    """

    max_rows: float
    compute: Update


@dataclass(frozen=True)
class CalibrationOptions:
    """What calibration may try, and what devices need for it.

    Attributes:
        candidates: knobs to try on calibration users, besides `Learner.unadapted`; the gentler ones first.
        guarded: the candidates are corrections under a guard: their knobs include those of
            `tegu.core.calibration.guard.Guard`, and the state holds the scalars `LOO_IMPROVEMENT` and `SHRINKAGE`.
        window: so many of a user's newest rows a device adapts on; 0 for all.
        row_losses: (meta, batch) -> the loss of each row `[rows]` under the initialisation; None where none is told.
    """

    candidates: Sequence[Mapping[str, float]] = ()
    guarded: bool = False
    window: int = 0
    row_losses: RowLosses | None = None


@dataclass(frozen=True)
class Execution:
    """How the four functions may be executed faster, or checked. Leaving all of it out changes no result.

    Attributes:
        summed_update: the sum of many users' updates for less than the updates take, where there is such a way.
        order_invariant: `update` does not tell in which order rows come, rounding apart.
        merges_query: `update` takes support and query as one set of rows, so that either may be empty.
        example_scaling: of inputs and of targets, for rows to try graphs on; None for numbers around 0, as large as 1.
    """

    summed_update: SummedUpdate | None = None
    order_invariant: bool = False
    merges_query: bool = False
    example_scaling: tuple[Scaling | None, Scaling | None] = (None, None)


@dataclass(frozen=True)
class Learner:
    """One meta-learning method applied to one model. Build one with a function of this package, such as `reptile`.

    Attributes:
        name: as in `LEARNERS`.
        paper: the publication it follows.
        spec: what the model takes and gives.
        adapted_parameters: names of the parameters that adapt; they are the entries of `state`, tables perhaps by rows.
        knobs: default knobs; a graph has an input for each. `steps` is a whole number, and says how often an `Iterated`
            repeats its step; other learners have no such knob.
        unadapted: the same knobs with values by which nobody adapts. The state is then the initialisation's, whatever
            the support and the noise.
        init: seed -> meta, float32 numpy arrays.
        adapt: see the module's text; often an `Iterated`.
        predict: outputs `[rows, outputs]`, or scores `[rows]` for ranking.
        update: see the module's text.
        noise: length of the `noise` vector, standard normal, of each user; 0 for a learner that draws none.
        calibration: what calibration may try.
        execution: how the functions may be executed faster.
        gradient_learner: the learner by gradient steps whose updates these are, where this one adapts otherwise.

    Raises:
        DataError: `unadapted` has other knobs than `knobs`, or an `Iterated` comes without `steps`.
    """

    name: str
    paper: str
    spec: Spec
    adapted_parameters: tuple[str, ...]
    knobs: Mapping[str, float]
    unadapted: Mapping[str, float]
    init: Callable[[int], Tree]
    adapt: Adapt
    predict: Predict
    update: Update = field(repr=False)
    noise: int = 0
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions, repr=False)
    execution: Execution = field(default_factory=Execution, repr=False)
    gradient_learner: Learner | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if set(self.unadapted) != set(self.knobs):
            raise DataError(
                f"unadapted has the knobs {sorted(self.unadapted)} and the learner {sorted(self.knobs)}: "
                "expected a value for each of them; write {**knobs, ...}"
            )
        if isinstance(self.adapt, Iterated) and STEPS not in self.knobs:
            raise DataError(
                f"{self.name} repeats a step and has the knobs {sorted(self.knobs)}: expected {STEPS!r} among them, "
                "the number of steps; name it, or give adapt as a plain function"
            )

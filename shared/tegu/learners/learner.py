"""A learner is four pure functions. The server, the device and the simulator use nothing else of it.

    init(seed)                           -> meta     what the server trains
    adapt(meta, support, knobs, noise)   -> state    the personal part, computed on the device
    predict(meta, state, x)              -> output
    update(meta, support, query, noise)  -> the direction the server subtracts: a tree shaped like the trained part of
                                            meta, which is meta without `fixed_parameters`

A state or an update may hold only the changed rows of a table in place of the whole table: see `parameters.table_rows`.

The server's round is always `meta = outer(meta, mean over users(clip(update)))`. All four functions are written in
torch without side effects, so that they can be compiled into ONNX graphs, batched over users, and differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, TypeAlias

from torch import Tensor, nn

from tegu.core.bundle.manifest import STEPS
from tegu.core.data.batch import Batch
from tegu.core.data.scaling import Scaling
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError

__all__ = [
    "Adapt",
    "CalibrationOptions",
    "Encoded",
    "Execution",
    "Iterated",
    "Learner",
    "Members",
    "RecommendedTraining",
    "RowLosses",
    "Source",
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
        begin: (meta, support) -> carry, the values before the first step.
        step: (meta, carry, support, knobs, noise) -> carry, with the same names, shapes and dtypes. It must not use
            the knob `steps`.
        finish: carry -> state. It may select entries, but not compute.
        step_identity: names what `step` computes, for a step that reads only the carry, the support's mask and the
            knobs. Two steps with one identity give the same results for the same tensors, so that one compilation
            serves the learners of all models. Empty for a step that reads more, or that calls a user's code.
    """

    begin: Callable[[TorchTree, TorchBatch], TorchTree]
    step: Callable[[TorchTree, TorchTree, TorchBatch, TorchKnobs, Tensor], TorchTree]
    finish: Callable[[TorchTree], TorchTree]
    step_identity: str = ""

    def __call__(self, meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        """The state after `knobs["steps"]` steps."""
        carry = self.begin(meta, support)
        for _ in range(int(knobs["steps"])):
            carry = self.step(meta, carry, support, knobs, noise)
        return self.finish(carry)


class SummedUpdate(NamedTuple):
    """The sum of many users' updates, at a lower cost than computing each update.

    Attributes:
        max_rows: largest number of rows, support and query together, for which the cost is lower; infinite if it always
            is.
        compute: (meta, supports `[users, ...]`, queries `[users, ...]`, noise `[users, noise]`, or `[0]` for a learner
            without noise) -> the sum of the users' `Learner.update`, up to rounding. Tables stored by rows are not
            summed: their entries stay separate for each user, `[users, ...]`.
    """

    max_rows: float
    compute: Update


class Encoded(NamedTuple):
    """Adaptation and prediction on encoded rows, for a learner that sees a row through what `encode` gives alone.

    A row is then encoded once, however many supports, queries and knobs are tried on it.

    Attributes:
        encode: (meta, x `[rows, ...]`) -> codes `[rows, width]`, each the function of its row alone.
        adapt: as `Learner.adapt`, with codes in place of the support's `x`.
        predict: as `Learner.predict`, with codes in place of `x`.
        plain: the learner's `adapt` and `predict` that these two equal. A learner made from it with another of either
            has no encoded ones.
    """

    encode: Callable[[TorchTree, Tensor], Tensor]
    adapt: Adapt
    predict: Predict
    plain: tuple[Adapt, Predict]


@dataclass(frozen=True)
class CalibrationOptions:
    """Which knobs calibration may try, and what devices need for it.

    Attributes:
        candidates: knobs to try on calibration users, besides `Learner.unadapted`; the more cautious ones first.
        guarded: True if the candidates are guarded corrections. Their knobs then include those of
            `tegu.core.calibration.guard.Guard`, and the state holds the scalars `LOO_IMPROVEMENT` and `SHRINKAGE`.
        window: number of a user's newest rows that a device adapts on; 0 means all.
        row_losses: (meta, batch) -> the loss of each row `[rows]` under the initialisation; None if the learner does
            not provide it.
    """

    candidates: Sequence[Mapping[str, float]] = ()
    guarded: bool = False
    window: int = 0
    row_losses: RowLosses | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Execution:
    """How the four functions can be executed faster or checked. Omitting any of it changes no result.

    Attributes:
        summed_update: a cheaper way to compute the sum of many users' updates; None if there is none.
        order_invariant: True if `update` does not depend on the order of rows, up to rounding.
        merges_query: True if `update` uses support and query as one set of rows, so that either may be empty.
        example_scaling: scaling of inputs and of targets for the example rows on which graphs are checked; None means
            mean 0 and standard deviation 1.
        encoded: the functions on rows that are encoded once; None if nothing of a row can be computed in advance.
    """

    summed_update: SummedUpdate | None = None
    order_invariant: bool = False
    merges_query: bool = False
    example_scaling: tuple[Scaling | None, Scaling | None] = (None, None)
    encoded: Encoded | None = None


class Members(NamedTuple):
    """The sets of parameters that a user's state holds, for a learner that draws or moves several.

    Attributes:
        number: how many.
        outputs: (meta, state, x) -> the output of each, a list of tensors like those of `Learner.predict`.
    """

    number: int
    outputs: Callable[[TorchTree, TorchTree, Tensor], list[Tensor]]


class RecommendedTraining(NamedTuple):
    """How the server best trains a learner, where a plan does not say otherwise.

    Attributes:
        optimiser: name of the outer optimiser.
        lr: its step size.
        options: further options of it.
        decay: whether the step size decays over the run.
        rounds: number of rounds; None for the plan's own default.
        cohort: users per round; None for the plan's own default.
        rows: rows per round. Where the users' numbers of rows are known, an automatic cohort is as many users as have
            so many, and no more than `cohort` or the plan's own default. None for no such rule.
        averaged: whether an average of the parameters over rounds is kept.
        until_flat: whether training ends once the validation figures no longer rise.
    """

    optimiser: str = "SGD"
    lr: float = 1.0
    options: Mapping[str, float] = MappingProxyType({})
    decay: bool = False
    rounds: int | None = None
    cohort: int | None = None
    rows: int | None = None
    averaged: bool = False
    until_flat: bool = False


class Source(NamedTuple):
    """What a learner was built from.

    Attributes:
        module: a copy of the module, in evaluation mode and with its values as given. The entries of `meta` without a
            `/` in their names are its parameters.
        loss: as given: a name, a callable `(output, y) -> [rows]`, or None for the default loss.
    """

    module: nn.Module
    loss: str | Callable[[Tensor, Tensor], Tensor] | None = None

    def __repr__(self) -> str:
        return f"Source({type(self.module).__name__})"


@dataclass(frozen=True, repr=False)
class Learner:
    """One meta-learning method applied to one model. Build one with a function of this package, such as `reptile`.

    Attributes:
        name: the name in `LEARNERS`.
        paper: the publication it follows.
        spec: the model's inputs and outputs.
        adapted_parameters: names of the parameters that adapt. They are the entries of `state`; tables may be stored by
            rows.
        knobs: default knobs; a graph has an input for each. An `Iterated` learner has the knob `steps`, the number of
            repetitions of its step as a whole number. Other learners do not have it.
        unadapted: the same knobs, with values for which the state equals the initialisation for every support and
            noise.
        init: seed -> meta, float32 numpy arrays.
        adapt: (meta, support, knobs, noise) -> state; often an `Iterated`.
        predict: (meta, state, x) -> outputs `[rows, outputs]`, or scores `[rows]` for ranking.
        update: (meta, support, query, noise) -> update, shaped like meta without `fixed_parameters`.
        noise: length of each user's `noise` vector of standard normal numbers; 0 for a learner without noise.
        calibration: which knobs calibration may try.
        execution: how the functions can be executed faster.
        gradient_learner: for a learner that does not adapt by gradient steps but trains as one that does, the latter;
            otherwise None.
        fixed_parameters: names of the entries of `meta` that nothing changes, neither training nor a device. No update
            holds them.
        untrained_parameters: names of parameters that adapt, and whose update is always zero: training leaves their
            first values as they are. See `inner_loop.untrained`.
        recommended: how the server best trains it; None for the plan's defaults.
        members: the members of a state, whose spread is the uncertainty; None for a learner with one set of parameters.
        source: the module and the loss it was built from. Baselines and `Run.state_dict` need it; None if not known.

    Raises:
        DataError: a parameter is both adapted and fixed, `unadapted` does not have the same knobs as `knobs`, or
            `adapt` is an `Iterated` and there is no knob `steps`.
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
    update: Update
    noise: int = 0
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    execution: Execution = field(default_factory=Execution)
    gradient_learner: Learner | None = None
    fixed_parameters: tuple[str, ...] = ()
    untrained_parameters: tuple[str, ...] = ()
    source: Source | None = None
    recommended: RecommendedTraining | None = None
    members: Members | None = None

    def __post_init__(self) -> None:
        if both := sorted(set(self.adapted_parameters) & set(self.fixed_parameters)):
            raise DataError(
                f"{both[0]!r} is among adapted_parameters and among fixed_parameters: expected it in one of them; "
                "leave it out of one"
            )
        if set(self.unadapted) != set(self.knobs):
            raise DataError(
                f"unadapted has the knobs {sorted(self.unadapted)} and the learner {sorted(self.knobs)}: "
                "expected the same names; write {**knobs, ...} with the values that change"
            )
        if isinstance(self.adapt, Iterated) and STEPS not in self.knobs:
            raise DataError(
                f"{self.name} repeats a step and has the knobs {sorted(self.knobs)}: expected {STEPS!r} among them, "
                "the number of steps; add this knob, or pass adapt as a plain function"
            )

    def __reduce__(self) -> NoReturn:
        raise DataError(
            f"the learner {self.name!r} cannot be pickled, for it holds functions: build it again in the other "
            "process, or hand over a bundle (tegu.compile.make_bundle), which holds its graphs"
        )

    def __copy__(self) -> Learner:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Learner:
        return self

    def __repr__(self) -> str:
        knobs = ", ".join(f"{name}={value:g}" for name, value in self.knobs.items())
        return f"Learner({self.name!r}, {self.spec.kind}, {len(self.adapted_parameters)} adapted parameters, {knobs})"

"""Baselines of any module: what its initialisation, its features or its joint training give without a limit on harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from tegu.compile import compile_learner
from tegu.core.data.spec import Kind
from tegu.core.data.tree import Tree
from tegu.core.errors import UnknownNameError
from tegu.learners.baselines.local_only import local_only
from tegu.learners.learner import Learner, Source
from tegu.learners.modules.checks import checked_module
from tegu.server.progress import Progress
from tegu.server.training.automatic import settled
from tegu.sim.engine import Engine, make_engine
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.feature_methods import Features, adapted_by_features, module_features
from tegu.sim.evaluation.baselines.gradient_steps import adapted_by_steps, gradient_learner
from tegu.sim.evaluation.baselines.heads import HEADS, RIDGE_HEADS, head_outputs
from tegu.sim.evaluation.baselines.joint import Joint, examples_seen, train_jointly, unadapted
from tegu.sim.evaluation.baselines.neighbours import NEIGHBOURS, neighbour_outputs
from tegu.sim.evaluation.baselines.tuning import for_every_k
from tegu.sim.run_result import RunResult
from tegu.sim.training.cross_fitting import Evaluator

__all__ = ["GENERIC", "Start", "generic_baselines"]

_CLASSES: frozenset[Kind] = frozenset({"classification", "multilabel"})
_NUMBERS: frozenset[Kind] = frozenset({"regression"})
_ALL: frozenset[Kind] = frozenset({"classification", "multilabel", "regression", "ranking"})


@dataclass(frozen=True)
class Start:
    """What the baselines of a module start from.

    Attributes:
        run: the run.
        learner: its learner, with one initialisation.
        engine: runs `learner`.
        meta: the initialisation.
        evaluators: initialisations, with users that had no part in training them.
    """

    run: RunResult
    learner: Learner
    engine: Engine
    meta: Tree
    evaluators: Sequence[Evaluator]

    @cached_property
    def gradient_engine(self) -> Engine | None:
        """An engine that adapts the module by gradient steps; None if no module is known."""
        steps = gradient_learner(self.learner)
        if steps is None or steps is self.learner:
            return None if steps is None else self.engine
        return make_engine(steps, compile_learner(steps))

    @cached_property
    def source(self) -> Source | None:
        """The module, as checked, and its loss; None if not known."""
        given = self.learner.source
        return None if given is None else Source(checked_module(given.module, self.learner.spec), given.loss)

    @cached_property
    def features(self) -> Features | None:
        """The module's features; None if no module is known."""
        return self.source and module_features(self.source.module, self.meta, self.evaluators)

    @cached_property
    def joint(self) -> Joint | None:
        """The module trained in one place on as many examples; None if no module is known."""
        run, split = self.run, self.run.split
        examples = examples_seen(split.train, run.plan, _user_rounds(run))
        return self.source and train_jointly(
            self.source,
            self.learner.init(run.plan.seed),
            split.train,
            split.calibration,
            examples,
            run.metric,
            run.plan.seed,
        )


def _user_rounds(run: RunResult) -> int:
    """Users' updates in the training that was kept, by the plan: a resumed run has counted those of its last call."""
    rounds, cohort, _ = settled(run.plan)
    users, nodes, of_each = len(run.split.train), run.plan.cohort.nodes, run.plan.cohort.users_per_node
    in_round = cohort if nodes is None else cohort * (of_each or -(-users // nodes))
    return rounds * min(in_round, users)


class _Generic(NamedTuple):
    """A generic baseline: what it is, for which kinds of tasks, and how it is made; None if it cannot be made."""

    text: str
    kinds: frozenset[Kind]
    build: Callable[[Start], Callable[[int], Method] | None]


def _finetuned(start: Start) -> Callable[[int], Method] | None:
    engine = start.gradient_engine
    return None if engine is None else adapted_by_steps(engine, start.meta, start.evaluators, start.run.metric)


def _logistic_head(start: Start) -> Callable[[int], Method] | None:
    return start.features and adapted_by_features(start.features, HEADS, head_outputs, start.run.metric)


def _ridge_head(start: Start) -> Callable[[int], Method] | None:
    return start.features and adapted_by_features(start.features, RIDGE_HEADS, head_outputs, start.run.metric)


def _nearest_neighbours(start: Start) -> Callable[[int], Method] | None:
    return start.features and adapted_by_features(start.features, NEIGHBOURS, neighbour_outputs, start.run.metric)


def _joint(start: Start) -> Callable[[int], Method] | None:
    if start.source is None or start.joint is None:
        return None
    return for_every_k(unadapted(start.source.module, start.joint.meta))


def _joint_finetuned(start: Start) -> Callable[[int], Method] | None:
    if start.gradient_engine is None or start.joint is None:
        return None
    return adapted_by_steps(start.gradient_engine, start.joint.meta, [start.joint.evaluator], start.run.metric)


def _local_only(start: Start) -> Callable[[int], Method] | None:
    like = gradient_learner(start.learner)
    if like is None or start.source is None:
        return None
    learner = local_only(start.source.module, like, loss=start.source.loss)
    meta, calibration = learner.init(start.run.plan.seed), start.run.split.calibration
    engine = make_engine(learner, compile_learner(learner))
    return adapted_by_steps(engine, meta, [Evaluator(meta, calibration)], start.run.metric)


GENERIC: Mapping[str, _Generic] = MappingProxyType(
    {
        "finetuned": _Generic("gradient steps from the initialisation", _ALL, _finetuned),
        "logistic_head": _Generic("logistic regression on the module's features", _CLASSES, _logistic_head),
        "ridge_head": _Generic("ridge regression on the module's features", _NUMBERS, _ridge_head),
        "nearest_neighbours": _Generic("in the module's features", _CLASSES | _NUMBERS, _nearest_neighbours),
        "joint": _Generic("the module trained in one place", _CLASSES | _NUMBERS, _joint),
        "joint_finetuned": _Generic("gradient steps from joint training", _CLASSES | _NUMBERS, _joint_finetuned),
        "local_only": _Generic("each user trains alone", _CLASSES | _NUMBERS, _local_only),
    }
)


def generic_baselines(
    start: Start, names: Sequence[str] | None, progress: Progress
) -> dict[str, Callable[[int], Method]]:
    """Make the baselines that suit the run's kind of task; tune them at each of its ks.

    Args:
        start: what they start from.
        names: names in `GENERIC`; None for all.
        progress: receives a stage for each.

    Raises:
        UnknownNameError: no such baseline.
    """
    for name in names or ():
        if name not in GENERIC:
            raise UnknownNameError("baseline", name, GENERIC)
    chosen = GENERIC if names is None else {name: GENERIC[name] for name in GENERIC if name in names}
    found: dict[str, Callable[[int], Method]] = {}
    for name, generic in chosen.items():
        if start.learner.spec.kind not in generic.kinds:
            continue
        progress.stage(f"{name}: {generic.text}")
        if (method := generic.build(start)) is None:
            progress.stage(f"{name} left out: the learner does not know its module")
            continue
        found[name] = method
        for k in start.run.ks:
            method(k)
    return found

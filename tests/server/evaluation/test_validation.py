"""Validation during training: when it is due, its figures, which round is kept, and when patience runs out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from flwr.app import Message
from tests.core.samples import refused
from tests.server.fake import Recorded, random_tree, run_rounds, same_bits

from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.evaluation_request import EvaluationRequest, MetricSums
from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.server.evaluation.early_stopping import ValidationHistory, ValidationRule, Validations
from tegu.server.evaluation.validation import Validation, mean_validation, mean_validations, validation_candidates
from tegu.server.training.calibration_plan import LeftOut
from tegu.server.training.checkpoint import latest_checkpoint, read_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.server.training.strategy import MetaStrategy
from tegu.sim.federation.grid import InProcessGrid
from tegu.wire import (
    Reply,
    evaluation_reply_content,
    read_evaluation_request,
    read_training_request,
    training_reply_content,
)

KNOBS = {"steps": 2.0, "lr": 0.1}
MANIFEST = Manifest("reptile", "", Spec.ranking(3), (), KNOBS, {**KNOBS, "steps": 0.0})
REQUEST = EvaluationRequest("accuracy", 3, 0.2, validation_candidates(5, MANIFEST))
META = random_tree(0)
PLAN = TrainingPlan(rounds=6, cohort=CohortPlan(3))


def sums(figures: Sequence[float] | Array) -> list[float]:
    each = np.asarray(figures, float)
    return [each.sum(), np.square(each).sum()]


def answers(unadapted: Sequence[float], adapted: Sequence[float], training: Sequence[float]) -> list[MetricSums]:
    return [
        MetricSums(len(unadapted), np.asarray([sums(unadapted), sums(adapted)])),
        MetricSums(len(training), np.asarray([sums(training)])),
    ]


def make_validations(
    every: int = 1, patience: int = 0, rounds: int = 9, higher: bool = True, history: ValidationHistory | None = None
) -> Validations:
    return Validations(ValidationRule(every, patience, higher), REQUEST, rounds, history)


def record_scores(found: Validations, scores: Sequence[float], first: int = 1) -> None:
    """Record one validation per round. The parameters of a round hold its number."""
    for number, score in enumerate(scores, first):
        assert found.is_due(number)
        found.record(number, answers([0.0] * 3, [score] * 3, [score] * 3), {"n": np.float32(number)})


def test_validations_of_several_trainings_are_averaged() -> None:
    first, second = Validation(3, 0.1, 0.4, 0.5, 0.1, 0.03, 0.04), Validation(3, 0.3, 0.6, 0.9, 0.3, 0.04, 0.03)
    both = Validation(3, *(pytest.approx(figure) for figure in (0.2, 0.5, 0.7, 0.2, 0.025, 0.025)))
    assert mean_validation([first, second]) == both
    assert mean_validation([]) is None
    assert mean_validations([[Validation(1, 0.0, 0.0), first], [second, Validation(9, 0.0, 0.0)]]) == (both,), (
        "only the third round is in both"
    )
    assert mean_validations([]) == ()
    assert mean_validations([[first], []]) == (first,), "a training that was not validated is left out"
    assert mean_validations([[], []]) == ()


# --- request and figures -------------------------------------------------------------------------------------------


def test_candidates_are_the_learners_own_knobs_and_not_adapting() -> None:
    calibration, training = validation_candidates(5, MANIFEST)
    assert [calibration.options, training.options] == [[MANIFEST.unadapted, KNOBS], [KNOBS]]
    assert [(q.k, q.measure, q.who, q.draws) for q in (calibration, training)] == [
        (5, "scores", "calibration", 1),
        (5, "scores", "comparison", 1),
    ]


@pytest.mark.parametrize("higher", [True, False])
def test_validation_equals_a_calculation_by_hand(higher: bool) -> None:
    unadapted, adapted, training = [0.1, 0.3, 0.5], [0.2, 0.4, 0.9], [0.7, 0.8, 0.6, 0.9]
    validation = make_validations(higher=higher).record(1, answers(unadapted, adapted, training), META)
    assert validation is not None
    gap = 0.75 - 0.5 if higher else 0.5 - 0.75
    error = math.sqrt(np.var(adapted, ddof=1) / 3 + np.var(training, ddof=1) / 4)
    own = math.sqrt(np.var(adapted, ddof=1) / 3)
    assert validation == pytest.approx((1, 0.3, 0.5, 0.75, gap, error, own))


def test_without_calibration_users_no_validation_and_without_comparison_users_no_gap() -> None:
    found = make_validations(patience=1)
    assert found.record(1, [MetricSums(0, np.zeros((2, 2))), MetricSums(0, np.zeros((1, 2)))], META) is None
    assert (found.found, found.kept, found.decline) == ([], None, None)
    validation = found.record(2, [answers([0.1], [0.2], [0.3])[0], MetricSums(0, np.zeros((1, 2)))], META)
    assert validation is not None
    assert validation[:3] == pytest.approx((2, 0.1, 0.2))
    missing = dict.fromkeys(["training", "gap", "error", "personalised_error"])
    assert validation.as_json() == {"round": 2, "initialisation": 0.1, "personalised": 0.2, **missing}


def test_a_growing_rule_asks_the_comparison_group_now_and_then() -> None:
    found = Validations(ValidationRule("growing"), REQUEST, 100)
    assert [[one.who for one in found.request(number).questions] for number in (50, 55)] == [
        ["calibration", "comparison"],
        ["calibration"],
    ]
    assert found.request(50) == make_validations().request(55) == REQUEST
    all_of_them, *others = (found.record(55, answers([0.1], [0.2], [0.3])[:end], META) for end in (2, 1))
    assert all_of_them is not None
    assert others == [all_of_them._replace(training=pytest.approx(math.nan, nan_ok=True), gap=ANY, error=ANY)]
    assert found.found[-1].as_json()["gap"] is None


# --- rounds that are validated -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "rounds", "expected"),
    [(3, 7, [1, 3, 6, 7]), (1, 3, [1, 2, 3]), (9, 4, [1, 4]), (0, 4, [])],
)
def test_validated_rounds(every: int, rounds: int, expected: list[int]) -> None:
    found = make_validations(every, rounds=rounds)
    validated = []
    for number in range(1, rounds + 1):
        if found.is_due(number):
            found.record(number, answers([0.1], [0.1], [0.1]), META)
            validated.append(number)
    assert validated == expected


def test_patience_set_on_resuming_ignores_earlier_validations() -> None:
    """The parameters of the best earlier round were not stored."""
    before = make_validations()
    record_scores(before, [0.9])
    found = make_validations(patience=1, history=before.history)
    assert (before.history.best, found.found) == (None, [])
    record_scores(found, [0.5, 0.1], first=2)
    assert found.kept is not None
    assert found.kept.round == 2


@pytest.mark.parametrize(("every", "patience"), [(-1, 0), (1, -1), (0, 1)])
def test_invalid_rules_are_refused(every: int, patience: int) -> None:
    with refused(DataError, f"{every} rounds apart", f"patience is {patience}"):
        ValidationRule(every, patience)


# --- the kept round -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("higher", [True, False])
def test_after_a_clear_decline_the_best_round_is_kept_and_patience_runs_out(higher: bool) -> None:
    scores = [0.1, 0.4, 0.5, 0.4, 0.1]  # means of three: 0.1, 0.25, 0.33, 0.43, 0.33
    found = make_validations(patience=1, higher=higher)
    for number, score in enumerate(scores, 1):
        record_scores(found, [score if higher else -score], number)
        assert found.stopped == (number == 5)
        assert (found.kept is None) == (number < 5)
    assert found.kept is not None
    assert (found.kept.round, found.kept.meta["n"]) == (4, 4)


def test_the_first_round_can_be_the_best() -> None:
    found = make_validations(every=3, patience=1)
    record_scores(found, [0.9])
    record_scores(found, [0.1], first=3)
    assert found.kept is not None
    assert (found.kept.round, found.stopped) == (1, True)


def test_patience_counts_validations_since_the_best() -> None:
    found = make_validations(patience=3)
    for number, score in enumerate([0.9, 0.5, 0.4, 0.3], 1):
        record_scores(found, [score], number)
        assert found.stopped == (number == 4)


def test_a_figure_within_noise_of_its_best_neither_stops_nor_keeps_an_earlier_round() -> None:
    """The differences between users are much larger than the decline."""
    found = make_validations(patience=1)
    for number, score in enumerate([0.5, 0.45, 0.44, 0.43], 1):
        users = [score - 0.4, score, score + 0.4]
        found.record(number, answers([0.0] * 3, users, users), META)
    assert found.decline is not None
    assert (found.decline.since, found.decline.points) == (1, 3)
    assert (found.kept, found.stopped) == (None, False)


def test_without_patience_no_earlier_round_is_kept() -> None:
    found = make_validations()
    record_scores(found, [0.3, 0.2, 0.1, 0.0])
    assert (found.kept, found.stopped) == (None, False)
    assert found.decline is not None
    assert found.decline.clear


def test_a_figure_that_is_not_finite_is_never_kept() -> None:
    found = make_validations(patience=2)
    record_scores(found, [math.nan, 0.2, math.nan])
    assert not found.stopped
    record_scores(found, [math.inf], first=4)
    assert found.kept is not None
    assert (found.kept.round, found.stopped) == (2, True)


# --- in a run -----------------------------------------------------------------------------------------------------

SCORES = [0.1, 0.5, 0.0, 0.0, 0.9, 0.9]  # means of three: 0.1, 0.3, 0.2, 0.17, ...


class Nodes:
    """Three nodes whose validation after round n gives the n-th of `SCORES`. Stores the message types in order."""

    def __init__(self, done: int = 0) -> None:
        self.round, self.message_types = done, list[str]()

    def __call__(self, messages: Sequence[Message]) -> list[Message]:
        self.message_types.append(messages[0].metadata.message_type)
        if messages[0].metadata.message_type == "evaluate":
            assert read_evaluation_request(messages[0].content)[1] == REQUEST
            score = SCORES[self.round - 1]
            content = evaluation_reply_content(answers([0.0] * 2, [score] * 2, [score] * 2))
            return [Message(content, reply_to=message) for message in messages]
        meta, config = read_training_request(messages[0].content)
        self.round = config.round
        update = {name: np.asarray(value * np.float32(0.1)) for name, value in meta.items()}
        return [Message(training_reply_content(Reply(update, 1)), reply_to=message) for message in messages]


def run(nodes: Nodes, found: Validations, rounds: int, folder: Path | None = None) -> tuple[MetaStrategy, list[int]]:
    """The strategy after `rounds` further rounds, and the rounds of which progress was notified."""
    checkpoint = None if folder is None else latest_checkpoint(folder)
    outer = OuterOptimiser(checkpoint.meta if checkpoint else META, OuterRule("Adam", 0.1), 6)
    if checkpoint:
        outer.restore(checkpoint.outer)
    notified = Recorded()
    strategy = MetaStrategy(
        outer,
        PLAN,
        left_out=LeftOut(0.2),
        checkpoints=folder,
        done=checkpoint.round if checkpoint else 0,
        progress=notified,
        validations=found,
    )
    run_rounds(strategy, InProcessGrid(3, nodes), outer.meta, rounds)
    return strategy, [progress.round for progress in notified.rounds]


def metas_without_validation() -> list[Tree]:
    """The parameters after each round of a run without validation."""
    notified = Recorded()
    outer = OuterOptimiser(META, OuterRule("Adam", 0.1), 6)
    strategy = MetaStrategy(outer, PLAN, progress=notified)
    run_rounds(strategy, InProcessGrid(3, Nodes()), META, 6)
    return [progress.meta for progress in notified.rounds]


def test_validation_does_not_change_what_is_learned() -> None:
    strategy, notified = run(Nodes(), make_validations(rounds=6), 6)
    assert notified == [1, 2, 3, 4, 5, 6]
    number, meta = strategy.kept
    assert number == 6
    assert same_bits(meta, metas_without_validation()[-1])


def test_patience_ends_the_run_with_the_best_round() -> None:
    """Round 2 is best, rounds 3 and 4 are worse. No messages are sent for later rounds."""
    nodes = Nodes()
    strategy, notified = run(nodes, make_validations(patience=2, rounds=6), 6)
    assert notified == [1, 2, 3, 4]
    assert nodes.message_types == ["train", "evaluate"] * 4
    number, meta = strategy.kept
    assert number == 2
    assert same_bits(meta, metas_without_validation()[1])


@pytest.mark.parametrize("stopped_at", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("every", [1, 2])
def test_a_resumed_run_keeps_what_the_uninterrupted_one_keeps(stopped_at: int, every: int, tmp_path: Path) -> None:
    before = make_validations(every, 2, rounds=6)
    whole, _ = run(Nodes(), before, 6)
    run(Nodes(), make_validations(every, 2, rounds=6), stopped_at, tmp_path)
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    again = make_validations(every, 2, rounds=6, history=checkpoint.history)
    resumed, _ = run(Nodes(checkpoint.round), again, 6 - checkpoint.round, tmp_path)
    assert again.found == before.found
    assert resumed.kept[0] == whole.kept[0]
    assert same_bits(resumed.kept[1], whole.kept[1])


def test_a_checkpoint_holds_the_best_round(tmp_path: Path) -> None:
    run(Nodes(), make_validations(patience=9, rounds=6), 4, tmp_path)
    checkpoint = read_checkpoint(tmp_path / "round-000004.safetensors")
    found, best = checkpoint.history
    assert best is not None
    assert [(one.round, one.personalised) for one in found] == [
        (number, pytest.approx(score)) for number, score in enumerate(SCORES[:4], 1)
    ]
    assert best.round == 2
    assert same_bits(best.meta, metas_without_validation()[1])
    assert same_bits(checkpoint.meta, metas_without_validation()[3])
    assert not same_bits(best.meta, checkpoint.meta)


def test_a_validation_without_replies_is_skipped() -> None:
    class SilentInRoundThree(Nodes):
        def __call__(self, messages: Sequence[Message]) -> list[Message]:
            found = super().__call__(messages)
            return [] if messages[0].metadata.message_type == "evaluate" and self.round == 3 else found

    found = make_validations(patience=2, rounds=6)
    strategy, notified = run(SilentInRoundThree(), found, 6)
    assert [one.round for one in found.found] == [1, 2, 4, 5, 6]
    assert notified == [1, 2, 3, 4, 5, 6]
    assert strategy.kept[0] == 6

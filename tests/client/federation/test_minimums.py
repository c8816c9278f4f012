"""A run configuration that asks for single people or rows gets a reason, whatever it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from tests.core.samples import refused
from tests.federation.tiny import bundle, learner

from tegu.client.federation.client_app import app
from tegu.client.federation.minimums import Minimums, check_training, read_minimums
from tegu.core.bundle.file import write_bundle
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest
from tegu.core.data.users import LocalUser, write_users
from tegu.core.errors import DataError, UnknownNameError
from tegu.core.sampling.episode import EpisodeRule
from tegu.sim.federation.grid import flower_identity
from tegu.wire import (
    RoundConfig,
    evaluation_request_content,
    read_evaluation_reply,
    read_training_reply,
    to_record,
    training_request_content,
)

PEOPLE = 30
SINGLE = EpisodeRule(1, 1, 1)  # one row to adapt on, one to compare with
BELOW = {"least-people": 1, "least-rows": 1, "least-evaluated": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node of thirty people, and a phone of one."""
    made, rng = tmp_path_factory.mktemp("node"), np.random.default_rng(0)
    write_bundle(made / "init.tegu", bundle())
    people = [
        LocalUser(f"user-{n}", rng.normal(size=(20, 4)).astype(np.float32), rng.integers(0, 3, 20))
        for n in range(PEOPLE)
    ]
    write_users(made / "node.npz", people)
    write_users(made / "phone.npz", people[:1])
    return made


def asked(folder: Path, kind: str, content: RecordDict, who: str = "node", **node: Any) -> Message:
    """The reply, whatever the run's configuration says about minimums."""
    config = {"data": f"{folder}/{who}.npz", "bundle": f"{folder}/init.tegu", **node}
    with flower_identity():
        message = Message(content, dst_node_id=1, message_type=kind)
        return app(message, Context(1, 1, config, RecordDict(), dict(BELOW)))


def training(round_: int, users: int, episodes: EpisodeRule, share: float = 0.0) -> RecordDict:
    config = RoundConfig(round_, 7, 1.0, episodes, users, calibration_share=share)
    return training_request_content(to_record(bundle().meta), config)


@pytest.mark.parametrize("round_", range(1, 6))
def test_gradients_of_single_rows_are_refused(folder: Path, round_: int) -> None:
    """users=1 max-support=1 max-query=1: such updates give back most rows of a node."""
    reply = asked(folder, "train", training(round_, 1, SINGLE))
    assert reply.error.reason == "FederationError: few-people"
    phone = asked(folder, "train", training(round_, 1, SINGLE), "phone")
    assert phone.error.reason == "FederationError: few-rows"
    whole = asked(folder, "train", training(round_, 0, EpisodeRule()), "phone")
    assert read_training_reply(whole, bundle().meta).users == 1, "a phone answers for its one person, with many rows"


def test_a_share_that_leaves_single_people_to_train_is_refused(folder: Path) -> None:
    reply = asked(folder, "train", training(1, 0, EpisodeRule(), share=0.97))
    assert reply.error.reason == "FederationError: large-share"


def test_a_nodes_own_minimum_is_kept(folder: Path) -> None:
    assert asked(folder, "train", training(1, 8, EpisodeRule()), **{"least-people": 8}).has_content()
    reply = asked(folder, "train", training(1, 7, EpisodeRule()), **{"least-people": 8})
    assert reply.error.reason == "FederationError: few-people"


@pytest.mark.parametrize("share", [0.004, 0.02, 0.05])
def test_tiny_shares_and_many_folds_ask_nobody_alone(folder: Path, share: float) -> None:
    """Over all folds, every person would be asked alone. No answer stands for a single person."""
    questions = [CandidateSet(k, [learner().knobs], "scores") for k in (1, 5)]
    answered, refusals = list[int](), 0
    for fold in range(int(1 / share)):
        request = EvaluationRequest("accuracy", 7, share, questions, fold)
        reply = asked(folder, "evaluate", evaluation_request_content(to_record(bundle().meta), request))
        if reply.has_error():
            assert reply.error.reason == "FederationError: few-people"
            refusals += 1
        else:
            answers = read_evaluation_reply(reply, request)
            assert all(not answer.sums.any() for answer in answers if answer.users == 0)
            answered.extend(answer.users for answer in answers)
    assert refusals, "the attack would have asked people alone"
    assert 1 not in answered


def test_a_question_for_too_few_people_is_left_unanswered(folder: Path) -> None:
    """Others in the same round are answered: few users may have rows for a large k."""
    rng = np.random.default_rng(1)
    rows = (12, *[4] * 11)
    people = [LocalUser(f"p-{n}", rng.normal(size=(r, 4)).astype(np.float32), rng.integers(0, 3, r)) for n, r in
              enumerate(rows)]  # fmt: skip
    write_users(folder / "uneven.npz", people)
    questions = [CandidateSet(k, [learner().knobs], "scores", "calibration") for k in (2, 10)]
    found = []
    for seed in range(20):
        request = EvaluationRequest("accuracy", seed, 0.5, questions)
        reply = asked(folder, "evaluate", evaluation_request_content(to_record(bundle().meta), request), "uneven")
        found.append([answer.users for answer in read_evaluation_reply(reply, request)])
    assert all(large == 0 for _, large in found)
    assert all(small >= 2 for small, _ in found)


def test_minimums_out_of_range_are_refused() -> None:
    with refused(DataError, "least_people is -1"):
        read_minimums({"data": "x", "least-people": -1})
    with refused(UnknownNameError, "least-peple", "Did you mean 'least-people'"):
        read_minimums({"data": "x", "least-peple": 9})
    with refused(DataError, "trains is 'no'"):
        read_minimums({"data": "x", "trains": "no"})
    with refused(DataError, "largest_clip"):
        Minimums(largest_clip=float("nan"))
    check_training(read_minimums({"partition-id": 3}), float("inf"), 0.5)  # a simulated node

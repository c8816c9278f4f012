"""Mutated replies of devices, as messages: refused with one kind of error, or finite and within what was asked.

TEGU_FUZZ=20000 pytest tests/fuzz            the long form, so many of each
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from tests.fuzz.mutations import mutated_bytes
from tests.fuzz.test_fuzz import TIMES, outcomes
from tests.server.fake import random_tree

from tegu.core.calibration.evaluation_request import COLUMNS, CandidateSet, EvaluationRequest, MetricSums
from tegu.core.compression.error_feedback import pack_with_feedback
from tegu.core.data.tree import norm
from tegu.server.replies.bounds import bound_norms
from tegu.server.replies.evaluation import checked_answers
from tegu.server.replies.training import Asked, checked_reply
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule
from tegu.sim.federation.grid import flower_identity
from tegu.wire import Reply, evaluation_reply_content, packed_reply_content, training_reply_content

META = random_tree(0)
ASKED = Asked(clip=1.0, users=5)
NUMBERS: list[Any] = [0, -1, 6, 10**9, 2**63 - 1, float("nan"), float("inf"), 1e308, -1e308, 1.5, [], [1.0, 2.0]]


def mutated(content: RecordDict, rng: random.Random) -> RecordDict:
    """The content with other bytes in its arrays, other figures, or without some of its parts."""
    changed = RecordDict()
    for name, record in content.items():
        if rng.random() < 0.05:
            continue
        changed[name if rng.random() < 0.95 else "other"] = _mutated_record(record, rng)
    return changed


def _mutated_record(record: Any, rng: random.Random) -> Any:
    if isinstance(record, MetricRecord):
        return MetricRecord(
            {name: rng.choice(NUMBERS) if rng.random() < 0.3 else value for name, value in record.items()}
        )
    assert isinstance(record, ArrayRecord)
    return ArrayRecord({name: _mutated_array(array, rng) for name, array in record.items() if rng.random() < 0.95})


def _mutated_array(array: FlowerArray, rng: random.Random) -> FlowerArray:
    data = mutated_bytes(array.data, rng) if rng.random() < 0.5 else array.data
    if rng.random() < 0.3:  # numbers alone, so that the array stays readable
        numbers = np.frombuffer(array.data[-8:], np.uint8).copy()
        numbers[:] = rng.choice([0, 0x7F, 0xFF, rng.randrange(256)])
        data = array.data[:-8] + numbers.tobytes()
    return FlowerArray(dtype=array.dtype, shape=array.shape, stype=array.stype, data=data)


def reply_to(kind: str, content: RecordDict) -> Message:
    with flower_identity():
        return Message(content, reply_to=Message(RecordDict(), dst_node_id=1, message_type=kind, group_id="1"))


def test_training_replies_never_bring_a_number_that_is_not_finite_into_the_parameters() -> None:
    update = {name: np.asarray(0.1 * array, np.float32) for name, array in random_tree(1).items()}
    sent = [training_reply_content(Reply(update, 2, 1))]
    packed = [pack_with_feedback(update, None, precision)[0] for precision in ("int8", "float16")]
    sent += [packed_reply_content(each, 2, 1) for each in packed]
    outer = OuterOptimiser(META, OuterRule("Adam", 0.1), TIMES)

    def attempt(rng: random.Random) -> None:
        reply = checked_reply(reply_to("train", mutated(rng.choice(sent), rng)), META, ASKED)
        if not reply.users:
            return
        bounded = bound_norms({1: reply}, ASKED.clip, adaptive=False).replies[1]
        assert 1 <= bounded.users <= ASKED.users
        assert norm(bounded.update) <= bounded.users * ASKED.clip * 1.001
        outer.step(bounded.update, rng.randint(1, TIMES))
        assert all(np.isfinite(array).all() for array in outer.meta.values())

    found = outcomes(attempt)
    assert found["sound"] > 0
    assert found["RefusedReplyError"] > 0.3 * TIMES


def test_evaluation_replies_are_refused_or_possible() -> None:
    question = CandidateSet(k=3, draws=2, options=[{"steps": 1.0}, {"steps": 2.0}], measure="scores")
    request = EvaluationRequest("accuracy", 0, 0.5, [question])
    sums = np.array([[3.0, 2.5], [4.0, 3.7]])
    assert sums.shape == (2, COLUMNS["scores"])
    content = evaluation_reply_content([MetricSums(5, sums)])

    def attempt(rng: random.Random) -> None:
        (answer,) = checked_answers(reply_to("evaluate", mutated(content, rng)), request)
        known = answer.sums[~np.isnan(answer.sums).any(1)]
        assert np.isfinite(known).all()
        assert answer.users >= 0
        if answer.users and len(known):
            assert (np.abs(known[:, 0]) <= 1.001 * answer.users).all()

    assert outcomes(attempt)["RefusedReplyError"] > 0.1 * TIMES

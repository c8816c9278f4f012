"""Trees and rounds as Flower records, there and back; and what is no message of ours."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import reduce
from typing import Any

import numpy as np
import pytest
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as Proto
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import alike, refused, same_tree, trees

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, add
from tegu.core.errors import FederationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.sim.federation.grid import flower_identity
from tegu.wire import (
    Reply,
    RoundConfig,
    read_training_reply,
    read_training_request,
    to_record,
    to_tree,
    training_reply_content,
    training_request_content,
)

META: Tree = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "scalar": np.array(2.5, np.float32)}
CONFIG = RoundConfig(round=3, seed=7, clip=0.4, episodes=EpisodeRule(2, 6, 4), calibration_share=0.25, fold=3)
whole = st.integers(0, 2**63 - 1)
sizes = st.integers(1, 2**40)
rules = st.builds(lambda a, b, most: EpisodeRule(min(a, b), max(a, b), most), sizes, sizes, sizes)
configs = st.builds(RoundConfig, whole, whole, st.floats(0, exclude_min=True), rules, whole)


@pytest.fixture(autouse=True, scope="module")
def _identity() -> Iterator[None]:
    with flower_identity():
        yield


def request(content: RecordDict | None = None) -> Message:
    content = training_request_content(to_record(META), CONFIG) if content is None else content
    return Message(content, dst_node_id=1, message_type="train", group_id="3")


def reply(content: RecordDict) -> Message:
    return Message(content, reply_to=request())


def carried(content: RecordDict) -> RecordDict:
    """What arrives of it on the other side."""
    return recorddict_from_proto(Proto.FromString(recorddict_to_proto(content).SerializeToString()))


def numpy_bytes(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


# --- there and back -----------------------------------------------------------------------------------------------


@given(trees)
@settings(deadline=None)
def test_a_record_holds_every_name_and_bit(tree: Tree) -> None:
    assert same_tree(to_tree(to_record(tree)), tree)


@given(trees, configs)
@settings(deadline=None)
def test_a_request_arrives_as_it_was_sent(tree: Tree, config: RoundConfig) -> None:
    meta, found = read_training_request(carried(training_request_content(to_record(tree), config)))
    assert same_tree(meta, tree)
    assert found == config


def test_no_clipping_arrives_as_no_clipping() -> None:
    endless = RoundConfig(1, 0, float("inf"), EpisodeRule())
    assert read_training_request(carried(training_request_content(to_record(META), endless)))[1] == endless


@given(trees, whole)
@settings(deadline=None)
def test_a_reply_arrives_as_it_was_sent(tree: Tree, users: int) -> None:
    found = read_training_reply(reply(carried(training_reply_content(Reply(tree, users)))), tree)
    assert same_tree(found.update, tree)
    assert found.users == users


@given(alike(3), st.lists(st.integers(0, 1000), min_size=3, max_size=3))
@settings(deadline=None)
def test_sums_are_the_same_on_either_side(updates: list[Tree], counts: list[int]) -> None:
    """One reply for all users, or one for each: the server adds up to the same."""
    sent = list(map(Reply, updates, counts))
    together = read_training_reply(
        reply(carried(training_reply_content(Reply(reduce(add, updates), sum(counts))))), updates[0]
    )
    apart = [read_training_reply(reply(carried(training_reply_content(each))), updates[0]) for each in sent]
    assert same_tree(together.update, reduce(add, [each.update for each in apart]))
    assert together.users == sum(each.users for each in apart)


# --- what is shared is left alone ---------------------------------------------------------------------------------


def test_reading_leaves_the_shared_content_alone() -> None:
    """All messages of a round hold one content: what one participant does with it, the others must not see."""
    content = training_request_content(to_record(META), CONFIG)
    before = recorddict_to_proto(content).SerializeToString(deterministic=True)
    first, _ = read_training_request(request(content).content)
    for array in first.values():
        array[...] = 99
    Message(training_reply_content(Reply(first, 1)), reply_to=request(content))
    assert recorddict_to_proto(content).SerializeToString(deterministic=True) == before
    assert same_tree(read_training_request(request(content).content)[0], META)


def test_a_record_is_a_copy() -> None:
    tree = {name: array.copy() for name, array in META.items()}
    record = to_record(tree)
    for array in tree.values():
        array[...] = 99
    assert same_tree(to_tree(record), META)


# --- what is no message of ours -----------------------------------------------------------------------------------

Spoil = Callable[[RecordDict], Any]
FIELDS = sorted(training_request_content(to_record(META), CONFIG).config_records["config"])


def without(name: str) -> Spoil:
    return lambda content: content.pop(name)


def put(record: str, field: str, value: Any) -> Spoil:
    return lambda content: content[record].update({field: value})


@pytest.mark.parametrize(
    ("spoil", "holds"),
    [
        (without("meta"), "['config']"),
        (without("config"), "['meta']"),
        (lambda content: content.clear(), "[]"),
        (lambda content: content.update({"meta": ConfigRecord({"w": 1})}), "['config', 'meta']"),
        (lambda content: content.update({"config": MetricRecord({"round": 1})}), "['config', 'meta']"),
        (put("config", "round", "third"), "'third'"),
        (put("config", "seed", 0.5), "'0.5'"),
        (put("config", "clip", b"\x00"), r"\\x00"),
        (put("config", "max-query", [4]), "'[4]'"),
        (put("config", "min-support", 9), "min_support=9"),
        (put("config", "max-query", 0), "max_query=0"),
        *[(lambda content, field=field: content["config"].pop(field), f"KeyError('{field}')") for field in FIELDS],
    ],
)
def test_a_request_of_another_server_is_refused(spoil: Spoil, holds: str) -> None:
    content = training_request_content(to_record(META), CONFIG)
    spoil(content)
    with refused(FederationError, "the message holds [", holds, "is the server a Tegu server?"):
        read_training_request(content)


@pytest.mark.parametrize(
    ("spoil", "holds"),
    [
        (without("update"), "['metrics']"),
        (without("metrics"), "['update']"),
        (lambda content: content.clear(), "[]"),
        (lambda content: content["metrics"].pop("users"), "['metrics', 'update']"),
        (put("metrics", "users", 1.5), "['metrics', 'update']"),
        (put("metrics", "users", [1, 2]), "['metrics', 'update']"),
        (lambda content: content.update({"update": MetricRecord({"w": 1})}), "['metrics', 'update']"),
    ],
)
def test_a_reply_of_another_client_is_refused(spoil: Spoil, holds: str) -> None:
    content = training_reply_content(Reply(META, 2))
    spoil(content)
    message = reply(content)
    with refused(
        FederationError, f"node {message.metadata.src_node_id} replied {holds}", "expected update and metrics"
    ):
        read_training_reply(message, META)


def test_a_nodes_error_is_passed_on() -> None:
    message = Message(Error(2, "<class 'DataError'>:<'cannot read users.npz'>"), reply_to=request())
    with refused(FederationError, "the participant failed: <class 'DataError'>:<'cannot read users.npz'>"):
        read_training_reply(message, META)


ARCHIVE = io.BytesIO()
np.savez(ARCHIVE, w=np.ones(2))
NO_ARRAYS = {
    "nothing": b"",
    "words": b"these are no numbers",
    "a pickle": b"\x80\x04K\x01.",
    "cut off": numpy_bytes(META["w"])[:-3],
    "cut off early": numpy_bytes(META["w"])[:20],
    "a broken header": b"\x93NUMPY\x01\x00\x05\x00{'a':" + bytes(99),
    "an unclosed header": numpy_bytes(META["w"]).replace(b"}", b" "),
    "far too large": numpy_bytes(META["w"]).replace(b"(2, 3), }           ", b"(99999999999999,), }"),
    "a broken archive": b"PK\x03\x04 and no more",
    "a whole archive": ARCHIVE.getvalue(),
}


def spoilt(data: bytes, kind: str = "numpy.ndarray") -> ArrayRecord:
    return ArrayRecord({"spoilt": FlowerArray(dtype="float32", shape=(2, 3), stype=kind, data=data)})


@pytest.mark.parametrize("name", NO_ARRAYS)
def test_bytes_that_are_no_array_are_refused(name: str) -> None:
    record = spoilt(NO_ARRAYS[name])
    for read, content in (
        (
            lambda content: read_training_reply(reply(content), META),
            RecordDict({"update": record, "metrics": MetricRecord({"users": 1})}),
        ),
        (read_training_request, training_request_content(record, CONFIG)),
    ):
        with refused(FederationError, "the array 'spoilt' is", "expected", "as to_record writes it"):
            read(content)


def test_another_kind_of_array_is_refused() -> None:
    with refused(FederationError, "'spoilt'", "torch.Tensor", "numpy's format"):
        to_tree(spoilt(numpy_bytes(META["w"]), "torch.Tensor"))


@given(st.data())
@settings(deadline=None)
def test_damaged_bytes_are_an_array_or_refused(data: st.DataObject) -> None:
    """Never anything that would end the run for all the others."""
    damaged = bytearray(numpy_bytes(META["w"]))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FederationError):
        assert all(type(array) is np.ndarray for array in to_tree(spoilt(bytes(damaged))).values())

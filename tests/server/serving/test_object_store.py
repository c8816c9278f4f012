"""The store of objects: a false announcement holds up nobody, and contents decide what an object's children are."""

from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.object_store import object_store_factory

from tegu.server.serving.object_store import VerifiedObjectStore, use_verified_store
from tegu.sim.federation.grid import flower_identity

FALSE, RUN = "f" * 64, 5


@pytest.fixture
def store() -> VerifiedObjectStore:
    made = VerifiedObjectStore(":memory:")
    made.initialize()
    return made


def reply(node: int) -> Message:
    """One user counted, which everybody can guess, and something of the node's own."""
    with flower_identity():
        content = RecordDict({"metrics": MetricRecord({"users": 1}), "own": ConfigRecord({"node": node})})
        return Message(content, dst_node_id=node, message_type=MessageType.TRAIN, group_id="1")


def contents(message: Message) -> dict[str, bytes]:
    return {name: each.deflate() for name, each in get_all_nested_objects(message).items()}


GUESSED = next(name for name, data in contents(reply(1)).items() if data.startswith(b"MetricRecord "))


def false_tree(name: str = GUESSED, top: str = "e" * 64) -> ObjectTree:
    """A message with an object that has a false child."""
    return ObjectTree(object_id=top, children=[ObjectTree(object_id=name, children=[ObjectTree(object_id=FALSE)])])


def upload(store: VerifiedObjectStore, message: Message) -> None:
    for name, data in contents(message).items():
        store.put(name, data)


def ids(tree: ObjectTree) -> set[str]:
    return {each.object_id for each in iterate_object_tree(tree)}


def test_what_is_announced_and_uploaded_is_there(store: VerifiedObjectStore) -> None:
    sent = reply(1)
    assert set(store.preregister(RUN, get_object_tree(sent))) == contents(sent).keys()
    upload(store, sent)
    assert store.preregister(RUN, get_object_tree(sent)) == []
    assert ids(store.get_object_tree(sent.object_id)) == contents(sent).keys()
    assert {name: store.get(name) for name in contents(sent)} == contents(sent)


def test_a_false_announcement_refuses_nobody(store: VerifiedObjectStore) -> None:
    """Flower would refuse the second announcement, and so the replies of all devices that count one user."""
    store.preregister(RUN, false_tree())
    sent = reply(1)
    assert set(store.preregister(RUN, get_object_tree(sent))) == contents(sent).keys()
    assert ids(store.get_object_tree(sent.object_id)) == contents(sent).keys()


def test_the_content_decides_over_a_later_false_announcement(store: VerifiedObjectStore) -> None:
    sent = reply(1)
    store.preregister(RUN, get_object_tree(sent))
    store.preregister(RUN, false_tree())
    assert FALSE in ids(store.get_object_tree(sent.object_id))
    upload(store, sent)
    assert ids(store.get_object_tree(sent.object_id)) == contents(sent).keys()


def test_a_false_announcement_of_what_is_there_is_refused(store: VerifiedObjectStore) -> None:
    sent = reply(1)
    store.preregister(RUN, get_object_tree(sent))
    upload(store, sent)
    with pytest.raises(ValueError, match="is known, and has other children"):
        store.preregister(RUN, false_tree())
    assert FALSE not in store
    assert "e" * 64 not in store, "nothing of it is noted"


def test_what_others_need_outlives_a_false_announcement(store: VerifiedObjectStore) -> None:
    """References are counted anew with the children: what is deleted is what nobody else has announced."""
    first, second = reply(1), reply(2)
    for sent in (first, second):
        store.preregister(RUN, get_object_tree(sent))
    store.preregister(RUN, false_tree())
    for sent in (first, second):
        upload(store, sent)
    store.delete("e" * 64)
    assert contents(first)[GUESSED] == store.get(GUESSED)
    store.delete(first.object_id)
    assert contents(second).keys() == ids(store.get_object_tree(second.object_id))
    store.delete(second.object_id)
    assert GUESSED not in store
    store.delete_objects_in_run(RUN)
    assert len(store) == 0


def test_a_tree_that_contradicts_itself_is_refused(store: VerifiedObjectStore) -> None:
    tree = false_tree()
    tree.children.add().object_id = GUESSED
    with pytest.raises(ValueError, match="different children"):
        store.preregister(RUN, tree)
    with pytest.raises(ValueError, match="is not a sha256"):
        store.preregister(RUN, ObjectTree(object_id="no id"))
    assert len(store) == 0


def test_a_superlink_takes_this_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store_factory, "SqlObjectStore", object_store_factory.SqlObjectStore)
    use_verified_store()
    made = object_store_factory.ObjectStoreFactory(":memory:").store()
    assert isinstance(made, VerifiedObjectStore)

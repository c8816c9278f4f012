"""The SuperLink's store of objects, in which no device can hold up the messages of others by what it announces.

A message is announced as a tree of ids, and its objects are uploaded later. An id is the sha256 of an object's content,
and the content names the object's children. Flower 1.42 keeps the children that the first announcement has given, and
refuses every later one that gives others. Some objects are easy to guess, such as the record that counts one user. A
device that announces such an id with a false child would have all later messages with that object refused: the other
devices' replies, and the server's own questions.

Here an announcement counts until another one follows or the object is there. Then its content decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from flwr.supercore.inflatable.inflatable_object import (
    get_object_children_ids_from_object_content,
    is_valid_sha256_hash,
    iterate_object_tree,
)
from flwr.supercore.object_store import object_store_factory
from flwr.supercore.object_store.sql_object_store import SqlObjectStore
from flwr.supercore.state.schema.objectstore_models import ObjectChild, RunObject, StoredObject
from flwr.supercore.utils import uint64_to_int64
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from tegu.server.replies.reply_size import MOST_OBJECTS, check_size

__all__ = ["VerifiedObjectStore", "use_verified_store"]


class VerifiedObjectStore(SqlObjectStore):
    """A store whose objects have the children that their contents name."""

    def preregister(self, run_id: int, object_tree: Any) -> list[str]:
        """Note an announced tree.

        Args:
            run_id: Flower's id of the run.
            object_tree: protobuf `ObjectTree`.

        Returns:
            The ids of the objects that have to be uploaded.

        Raises:
            ValueError: an id is not a sha256, the tree gives an object children that it does not have, or it is too
                large.
        """
        announced = _children(object_tree)
        with self._mutation_session() as session:
            missing = [name for name in announced if self._announce(session, name, announced[name])]
            known = [{"run_id": uint64_to_int64(run_id), "object_id": name} for name in announced]
            session.execute(self._insert_new(RunObject, known))
        return missing

    def put(self, object_id: str, object_content: bytes) -> None:
        """Store an object, with the children that it names.

        Raises:
            ValueError: the content has another id, or is no object.
            NoObjectInStoreError: nobody has announced the object.
        """
        super().put(object_id, object_content)
        children = get_object_children_ids_from_object_content(object_content)
        with self.session() as session:
            if _children_of(session, object_id) != set(children):
                with self._mutation_session():
                    _set_children(session, object_id, children)

    def _announce(self, session: Session, name: str, children: Collection[str]) -> bool:
        """Note an object. Whether it has to be uploaded."""
        new = {"object_id": name, "content": b"", "is_available": 0, "ref_count": 0}
        session.execute(self._insert_new(StoredObject, [new]))
        if not session.scalar(select(StoredObject.is_available).where(StoredObject.object_id == name)):
            _set_children(session, name, children)
            return True
        if _children_of(session, name) != set(children):
            raise ValueError(f"the object {name} is known, and has other children")
        return False

    def _insert_new(self, table: type, rows: list[dict[str, Any]]) -> Any:
        """The statement that inserts the rows that are not there."""
        made: Any = self.dialect_insert(table)
        return made.values(rows).on_conflict_do_nothing()


def use_verified_store() -> None:
    """Let the SuperLink of this process have an `VerifiedObjectStore`: Flower has no option for it."""
    object_store_factory.SqlObjectStore = VerifiedObjectStore  # type: ignore[attr-defined]


def _children(tree: Any) -> Mapping[str, frozenset[str]]:
    """The children that a tree gives each of its objects; children come before their parents.

    Raises:
        ValueError: an id is not a sha256, an object has different children in different places, or there are too many.
    """
    found: dict[str, frozenset[str]] = {}
    nodes = list(iterate_object_tree(tree))
    check_size(len(nodes), MOST_OBJECTS, "objects")
    for node in nodes:
        children = frozenset(child.object_id for child in node.children)
        if not is_valid_sha256_hash(node.object_id):
            raise ValueError(f"the id {node.object_id[:80]!r} is not a sha256")
        if found.setdefault(node.object_id, children) != children:
            raise ValueError(f"the tree gives the object {node.object_id} different children")
    return found


def _children_of(session: Session, name: str) -> set[str]:
    return set(session.scalars(select(ObjectChild.child_id).where(ObjectChild.parent_id == name)))


def _set_children(session: Session, name: str, children: Collection[str]) -> None:
    """Give an object these children, and count the references to the old and the new ones."""
    before, after = _children_of(session, name), set(children)
    for child in before - after:
        session.execute(delete(ObjectChild).where(ObjectChild.parent_id == name, ObjectChild.child_id == child))
    for child in after - before:
        session.execute(insert(ObjectChild).values(parent_id=name, child_id=child))
    for changed, more in ((before - after, -1), (after - before, 1)):
        counted = update(StoredObject).where(StoredObject.object_id.in_(changed))
        session.execute(counted.values(ref_count=StoredObject.ref_count + more))

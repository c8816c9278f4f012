"""New rows and the stored ones that have their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tegu.client.store.interactions import OnRepeat
from tegu.client.store.records import Row

__all__ = ["Merged", "merge_rows"]


class Merged(NamedTuple):
    """What to write.

    Attributes:
        rows: to insert, or to put in the place of the row with the same number.
        outdated: checksums of stored rows that are replaced.
        added: number of new rows.
        replaced: number of rows that replaced an earlier one.
        ignored: number of rows that were left out.
    """

    rows: list[Row]
    outdated: list[bytes]
    added: int
    replaced: int
    ignored: int


def merge_rows(new: Sequence[Row], known: Mapping[str, Row], last: int, on_repeat: OnRepeat) -> Merged:
    """Number new rows, and let those with a known id replace the known row, or leave them out.

    A row that replaces another keeps its number and its time, so observing the same rows again changes nothing.

    Args:
        new: rows without number and checksum.
        known: stored rows by id.
        last: largest number in use.
        on_repeat: what to do with a known id, which may also come earlier in `new`.
    """
    written: dict[int, Row] = {}
    by_id, outdated = dict(known), []
    replaced = ignored = 0
    for row in new:
        before = None if row.id is None else by_id.get(row.id)
        if before is None:
            last += 1
            numbered = row.at(last, row.observed_at)
        elif on_repeat == "ignore":
            ignored += 1
            continue
        else:
            numbered = row.at(before.number, before.observed_at)
            replaced += 1
            if before.number not in written:
                outdated.append(before.checksum)
        written[numbered.number] = numbered
        if row.id is not None:
            by_id[row.id] = numbered
    return Merged([*written.values()], outdated, len(written) - len(outdated), replaced, ignored)

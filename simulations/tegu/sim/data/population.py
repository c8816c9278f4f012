"""Many users' rows, and their split by *user* into training, calibration and held-out people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.batch import Array
from tegu.core.data.codes import ordinal_codes
from tegu.core.data.spec import Spec, check_rows
from tegu.core.data.users import LocalUser
from tegu.core.errors import DataError, PopulationError
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.sampling.leakage import RowUnits, find_row_units

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Population", "Split"]

_CALIBRATION = 30  # users: with fewer, one who is hurt is most of a twentieth


class Split(NamedTuple):
    """Sets of people: disjoint, unless those who train are those who calibrate, too (cross-fitting)."""

    train: Population
    calibration: Population
    heldout: Population


@dataclass(frozen=True, eq=False)
class Population:
    """Rows grouped by user; within a user they keep the order they came in.

    Rows stay where they are: a subset shares them, and `open` leaves them in their files until they are asked for.

    Attributes:
        spec: what a model for these rows takes and gives.
        x: `[rows, *spec.x.shape]`, inputs of these users and perhaps of others.
        y: `[rows, *spec.y.shape]`.
        begins: int64 `[users]`; user i has the rows from `begins[i]` up to `begins[i] + counts[i]`.
        counts: int64 `[users]`, rows of each user.
        users: `[users]`, their names.
        most: int64 `[users]`, rows of the largest support that leaves one to judge by.
        tied: bool `[users]`, whether a user has rows that belong together, or an order; see `leakage`.
        group: int64 `[rows]`, whose equal entries within a user keep rows on one side of an episode; None without any.
        order: int64 `[rows]`, when each row was; None without an order.
        read: from begins and counts to the rows there, one user after the other, where `x` and `y` are files mapped
            into memory: whatever is read through the mapping stays in memory.
    """

    spec: Spec
    x: Array
    y: Array
    begins: Array
    counts: Array
    users: Array
    most: Array
    tied: Array
    group: Array | None = None
    order: Array | None = None
    read: Callable[[Array, Array], tuple[Array, Array]] | None = None

    @classmethod
    def from_arrays(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        user: ArrayLike,
        spec: Spec | None = None,
        *,
        group: ArrayLike | None = None,
        order: ArrayLike | None = None,
    ) -> Population:
        """Group rows by user.

        Args:
            x: inputs, rows first.
            y: targets, rows first.
            user: `[rows]`, whose row it is.
            spec: what a model takes and gives; told from the arrays where it is None (whole numbers in `y` are
                labels, whole numbers in `x` are ids). Ranking is never guessed: pass `Spec.ranking(items)`.
            group: `[rows]`, numbers, dates or words: a user's rows with the same entry (a session, a day) never stand
                on both sides of an episode.
            order: `[rows]`, numbers, dates or words: a user's support comes strictly before its query.

        Raises:
            DataError: rows that do not fit `spec`, lengths that differ, or a row without a user, group or order.
            PopulationError: no rows.
        """
        names = np.asarray(user)
        spec = spec or _guess_spec(x, y)
        inputs, targets = check_rows(spec, x, y)
        if names.shape != (len(inputs),):
            raise DataError(f"user has shape {names.shape}: expected one entry a row, ({len(inputs)},)")
        if not len(names):
            raise PopulationError("there are no rows: expected at least one user")
        found, counts, place = _by_user(names)
        groups, times = (
            None if given is None else ordinal_codes(name, given, len(inputs))[place]
            for name, given in (("group", group), ("order", order))
        )
        inputs, targets = inputs[place], targets[place]
        most, tied, *_ = find_row_units(inputs, counts, groups, times)
        begins = np.cumsum(counts) - counts
        return cls(spec, inputs, targets, begins, counts, found, most, tied, groups, times)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        user: str,
        features: str | Sequence[str],
        target: str,
        spec: Spec | None = None,
        group: str | None = None,
        order: str | None = None,
    ) -> Population:
        """Group a data frame's rows by the column `user`.

        Args:
            frame: one row an interaction.
            user: column of the user's name.
            features: one column of ids or numbers, or several columns of numbers.
            target: column of the target.
            spec: as in `from_arrays`.
            group: column of the group, where rows have one.
            order: column of the order, where rows have one.

        Raises:
            DataError: a column that is absent, or rows that do not fit.
        """
        ties = {name: column for name, column in (("group", group), ("order", order)) if column is not None}
        wanted = [user, target, *([features] if isinstance(features, str) else features), *ties.values()]
        missing = [column for column in wanted if column not in frame.columns]
        if missing:
            raise DataError(f"the frame has no column {missing}: expected some of {list(frame.columns)}")
        try:
            x = frame[features].to_numpy() if isinstance(features, str) else frame[list(features)].to_numpy(np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"the columns {list(features)} are not all numbers ({error}): encode them first") from error
        given = {name: frame[column].to_numpy() for name, column in ties.items()}
        return cls.from_arrays(x, frame[target].to_numpy(), frame[user].to_numpy(), spec, **given)

    def __len__(self) -> int:
        return len(self.users)

    def rows(self, index: int) -> tuple[Array, Array]:
        """`x` and `y` of the user at `index`, without a copy."""
        begin = int(self.begins[index])
        chosen = slice(begin, begin + int(self.counts[index]))
        return self.x[chosen], self.y[chosen]

    def all_rows(self) -> tuple[Array, Array]:
        """`x` and `y` of these users alone, one after the other, copied."""
        chosen = _places(self.begins, self.counts)
        return self.x[chosen], self.y[chosen]

    def local(self, index: int) -> LocalUser:
        """The user at `index` as a device has it."""
        own = _places(self.begins[[index]], self.counts[[index]])
        ties = (None if rows is None else rows[own] for rows in (self.group, self.order))
        return LocalUser(str(self.users[index]), *self.rows(index), *ties)

    def ties(self, indices: Array) -> RowUnits:
        """What belongs together in the rows of the users at `indices`, one user after the other."""
        x, _, begins = self.fetch(indices)
        counts = self.counts[indices]
        own = _places(self.begins[indices], counts)
        ties = (None if rows is None else rows[own] for rows in (self.group, self.order))
        return find_row_units(x[_places(begins, counts)], counts, *ties)

    def fetch(self, indices: Array) -> tuple[Array, Array, Array]:
        """`x` and `y` that hold the rows of the users at `indices`, and where each of them begins there."""
        if self.read is None:
            return self.x, self.y, self.begins[indices]
        counts = self.counts[indices]
        return *self.read(self.begins[indices], counts), np.cumsum(counts) - counts

    def subset(self, indices: ArrayLike) -> Population:
        """The users at `indices`, in that order; rows are shared, not copied.

        Raises:
            DataError: no indices from 0 to the last user's.
        """
        asked = np.asarray(indices)
        chosen = asked.astype(np.int64)
        if asked.dtype == bool or ((chosen < 0) | (chosen >= len(self))).any():
            raise DataError(f"indices are {asked}: expected whole numbers from 0 to {len(self) - 1}")
        each = ("begins", "counts", "users", "most", "tied")
        return replace(self, **{name: getattr(self, name)[chosen] for name in each})

    def with_rows(self, least: int) -> Population:
        """The users with at least so many rows, who can adapt on all but one of so many and be judged by another."""
        return self.subset(np.flatnonzero(self.most >= least - 1))

    def split(
        self, seed: int, heldout: float = 0.2, calibration: float | None = None, *, crossed: bool = False
    ) -> Split:
        """Draw held-out and calibration users; the rest train.

        Args:
            seed: decides who is where.
            heldout: share of all users never seen in training nor in calibration.
            calibration: share of all users that decide how hard to adapt; by default a tenth, and of fewer than 300
                users up to a fifth, 30 at most: a handful of people cannot show whom adapting hurts.
            crossed: set nobody apart for calibration; all who train are named for it as well. For cross-fitting alone.

        Raises:
            PopulationError: a share that leaves one of the three without users.
        """
        total = len(self)
        share = max(0.1, min(0.2, _CALIBRATION / total)) if calibration is None else calibration
        held, kept = round(heldout * total), round(share * total)
        if min(held, kept, total - held - kept) < 1:
            raise PopulationError(
                f"{total} users cannot be split into {heldout:.0%} held out, {share:.0%} for calibration and "
                "some to train on: expected at least one in each; bring more users or change the shares"
            )
        order = keyed_rng("split", seed).permutation(total)
        apart = (order[held + kept :], order[held : held + kept])
        parts = (*(2 * (order[held:],) if crossed else apart), order[:held])
        return Split(*(self.subset(np.sort(part)) for part in parts))


def _places(begins: Array, counts: Array) -> Array:
    """Users' rows, one user after the other."""
    return np.repeat(begins - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))


def _by_user(names: Array) -> tuple[Array, Array, Array]:
    """Users, their counts, and the order that groups rows by user."""
    try:
        absent = bool((names != names).any())  # noqa: PLR0124 # NaN alone differs from itself
        order = np.argsort(names, kind="stable")
    except TypeError as error:
        raise DataError(f"user holds entries that cannot be sorted ({error}): give every row a name") from error
    if absent:
        raise DataError("user is NaN in some row: give every row a name, or drop it")
    return *np.unique(names, return_counts=True), order


def _guess_spec(inputs: ArrayLike, outputs: ArrayLike) -> Spec:
    try:
        x, y = np.asarray(inputs), np.asarray(outputs)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"x or y is not an array ({error}): give every row the same shape") from error
    ids = x.dtype.kind in "iub"
    highest = int(x.max(initial=0)) + 1 if ids else 0
    if y.dtype.kind in "iub":
        return Spec.classification(x.shape[1:], int(y.max(initial=0)) + 1, tokens=highest)
    targets = y.shape[1] if y.ndim > 1 else 1
    if ids and x.ndim > 1:
        raise DataError(f"x holds whole numbers of shape {x.shape[1:]} and y real ones: pass spec, or make x float32")
    return Spec.regression(x.shape[1:], targets, items=highest)

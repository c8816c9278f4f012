"""The rows of many users, and their split by user into training, calibration and held-out users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.batch import Array
from tegu.core.data.codes import ordinal_codes
from tegu.core.data.spec import Kind, RawInputs, Spec, check_rows
from tegu.core.data.users import LocalUser
from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.fit import Role
from tegu.core.encoding.values import raw_cells
from tegu.core.errors import DataError, PopulationError
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.sampling.leakage import RowUnits, find_row_units
from tegu.sim.data.given_names import frame_names, with_names
from tegu.sim.data.guess_rows import guess_rows
from tegu.sim.data.row_groups import given_order, group_by_user, row_indices
from tegu.sim.data.table import as_list, read_columns, table_rows
from tegu.sim.data.table_file import read_table_file

__all__ = ["Population", "Split"]

_MIN_CALIBRATION_USERS = 30  # with fewer, one user made worse is most of the default 5% risk


class Split(NamedTuple):
    """Three sets of users. They are disjoint, except that in cross-fitting training users are calibration users too."""

    train: Population
    calibration: Population
    heldout: Population


@dataclass(frozen=True, eq=False)
class Population:
    """Rows grouped by user; the rows of a user keep the order in which they were given.

    Rows are never moved. A subset shares them, and `read_population` leaves them in their files until they are read.

    Attributes:
        spec: inputs and outputs of a model for these rows.
        x: `[rows, *spec.x.shape]`, inputs of these users, and possibly of others after `subset`.
        y: `[rows, *spec.y.shape]`, targets of the same rows.
        begins: int64 `[users]`; user i has the rows from `begins[i]` up to `begins[i] + counts[i]`.
        counts: int64 `[users]`, rows of each user.
        users: `[users]`, names.
        max_support: int64 `[users]`, rows of the largest support that leaves a query row.
        has_units: bool `[users]`, whether a user has rows that must stay together, or a time order; see
            `tegu.core.sampling.leakage`.
        group: int64 `[rows]`; rows of one user with equal entries stay on one side of an episode. None means no groups.
        order: int64 `[rows]`, the time of each row. None means no time order.
        read: function from begins and counts to `x` and `y` of those rows, one user after the other. It is set if `x`
            and `y` are memory-mapped files, since rows that are read through the mapping stay in memory.
        encoding: how raw columns, labels and item ids became `x` and `y`. `simulate` puts it into the bundle, for the
            device. None if `x` and `y` were given as they are.
        labels: int64 `[users]`, the number of each user's labels, where supports hold equally many rows of each. None
            means that supports are drawn from all rows alike.
        pool: int64 `[rows]`, the row of `x` that each row is, where users share rows. None means row i is `x[i]`.
        parts: int64 `[users]`, the part of a `Split` that each user belongs to, as an index. None means that `split`
            draws it.
    """

    spec: Spec
    x: Array
    y: Array
    begins: Array
    counts: Array
    users: Array
    max_support: Array
    has_units: Array
    group: Array | None = None
    order: Array | None = None
    read: Callable[[Array, Array], tuple[Array, Array]] | None = None
    encoding: Encoding | None = None
    labels: Array | None = None
    pool: Array | None = None
    parts: Array | None = None

    @classmethod
    def from_arrays(
        cls,
        x: RawInputs,
        y: ArrayLike,
        user: ArrayLike,
        spec: Spec | None = None,
        *,
        group: ArrayLike | None = None,
        order: ArrayLike | bool | None = None,
        kind: Kind | None = None,
        titles: Mapping[Any, str] | Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
        balanced: bool = False,
    ) -> Population:
        """Group rows by user.

        Args:
            x: inputs, rows first; a mapping from names to arrays for a spec with several inputs. The names of a data
                frame of numbers become `feature_names`.
            y: targets, rows first.
            user: `[rows]`, the name of each row's user.
            spec: inputs and outputs of a model. None means that it is guessed from the arrays, and that the guess is
                printed; see `tegu.sim.data.guess_rows.guess_rows`. Ranking is never guessed.
            group: `[rows]`, numbers, dates or words. Rows of one user with the same entry (a session, a day) stay on
                one side of an episode.
            order: `[rows]`, numbers, dates or words; or True for rows that are given in order of time. A user's support
                comes strictly before its query, and the default learner lets the last rows count for more if
                calibration users gain by it.
            kind: "classification", "multilabel", "regression" or "ranking", where `spec` is guessed.
            titles: of items, for people: by item id, or in the order of the catalogue.
            feature_names: a name for each number of a row, by which a device may give it.
            balanced: whether users give equally many examples of each of their labels (N-way K-shot). Supports then
                hold K rows of each of a user's N labels, in training and in evaluation.

        Raises:
            DataError: the rows do not fit `spec`, more than one spec is plausible, lengths differ, a row has no user,
                group or order, or `balanced` with an order or without labels.
            PopulationError: there are no rows.
        """
        names, encoding = np.asarray(user), None
        feature_names = frame_names(x) if feature_names is None else feature_names
        if spec is None:
            x, y, spec, encoding = guess_rows(x, y, kind)
        elif kind not in (None, spec.kind):
            raise DataError(f"kind is {kind!r} and spec is for {spec.kind}: leave one of them out")
        inputs, targets = check_rows(spec, x, y)
        if names.shape != (len(inputs),):
            raise DataError(f"user has shape {names.shape}: expected one entry per row, ({len(inputs)},)")
        if not len(names):
            raise PopulationError("there are no rows: expected at least one user")
        users, counts, by_user = group_by_user(names)
        groups, times = (
            None if given is None else ordinal_codes(name, given, len(inputs))[by_user]
            for name, given in (("group", group), ("order", given_order(order, len(inputs))))
        )
        encoding = with_names(encoding, spec, inputs, titles, feature_names)
        inputs, targets = inputs[by_user], targets[by_user]
        if balanced and spec.kind != "classification":
            raise DataError(f"balanced is True for {spec.kind}: expected labels to balance; leave balanced out")
        units = find_row_units(inputs, counts, groups, times, targets if balanced else None)
        begins, own = np.cumsum(counts) - counts, (units.max_support, units.has_units, groups, times)
        return cls(spec, inputs, targets, begins, counts, users, *own, encoding=encoding, labels=units.labels)

    @classmethod
    def from_frame(
        cls,
        frame: object,
        *,
        user: str,
        features: str | Sequence[str],
        target: str | Sequence[str] | None = None,
        spec: Spec | None = None,
        kind: Kind | None = None,
        group: str | None = None,
        order: str | bool | None = None,
        categories: Sequence[str] = (),
        ids: Sequence[str] = (),
        titles: str | Mapping[Any, str] | None = None,
    ) -> Population:
        """Group a table's rows by the column `user`, and encode the other columns as rows of numbers.

        Numbers and booleans stay numbers. Text and pandas's categories become one number for each level. An origin and
        a unit are taken out of dates, and of numbers that float32 could not tell apart. A gap becomes the median, with
        a further number that marks it. `encoding` says so for every column, and so does a note. Medians and levels come
        from all rows, held-out users included.

        Args:
            frame: one row per interaction: a data frame of pandas or polars, or a mapping of columns.
            user: column of user names.
            features: one column of item ids (whole numbers or text), or the columns of features.
            target: column of labels (text, booleans or whole numbers), of real numbers or dates, or of a ranking's
                weights; several columns of numbers for several targets. None for a ranking whose weights are all 1.
            spec: inputs and outputs of a model. None means that it follows from the columns.
            kind: "classification", "regression" or "ranking". None means that it follows from the target, and is never
                a ranking.
            group: column of groups; None means no groups.
            order: column of times, or True for a table whose rows are in order of time; None means no time order.
            categories: features that are categories although they are numbers.
            ids: features that become one id each, for a model that reads that position by `nn.Embedding`: 0 for a value
                that is not among the training data's, then its values. `spec.x.ids` has positions and sizes.
            titles: of items, for people: a column, or titles by item id.

        Raises:
            DataError: a column is absent, cannot be encoded, or does not fit `spec`.
            PopulationError: there are no rows.
        """
        optional = [column for column in (group, order) if isinstance(column, str)]
        used = [*as_list(features), *as_list(target), *as_list(titles if isinstance(titles, str) else None)]
        columns = read_columns(frame, [*as_list(user), *used, *optional])
        if not len(columns[user]):
            raise PopulationError("there are no rows: expected at least one user")
        roles: dict[str, Role] = {**dict.fromkeys(categories, "category"), **dict.fromkeys(ids, "id")}
        rows = table_rows(columns, features, target, spec=spec, kind=kind, roles=roles, titles=titles)
        groups, times = (raw_cells(name, columns[name]) if isinstance(name, str) else name for name in (group, order))
        found = cls.from_arrays(rows.x, rows.y, raw_cells(user, columns[user]), rows.spec, group=groups, order=times)
        return replace(found, encoding=rows.encoding)

    @classmethod
    def from_file(cls, path: str | Path, *, user: str, features: str | Sequence[str], **options: Any) -> Population:
        """Group the rows of a CSV or Parquet file by the column `user`; see `from_frame`.

        A CSV file needs a header. Its delimiter and decimal mark are found out, and a note says which they are.

        Args:
            path: of the file; Parquet if it ends in .parquet or .pq.
            user: column of user names.
            features: as in `from_frame`.
            options: the other arguments of `from_frame`.

        Raises:
            DataError: the file cannot be read, or as `from_frame`.
            MissingExtraError: pandas is not installed; or, for Parquet, pyarrow is not.
            PopulationError: there are no rows.
        """
        return cls.from_frame(read_table_file(Path(path)), user=user, features=features, **options)

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"Population(users={len(self)}, rows={int(self.counts.sum())}, spec={self.spec})"

    def rows(self, index: int) -> tuple[Array, Array]:
        """`x` and `y` of the user at `index`, without a copy unless there is a `pool`."""
        begin = int(self.begins[index])
        chosen = slice(begin, begin + int(self.counts[index]))
        return self.x[chosen if self.pool is None else self.pool[chosen]], self.y[chosen]

    def all_rows(self) -> tuple[Array, Array]:
        """A copy of `x` and `y` of these users alone, one user after the other."""
        chosen = row_indices(self.begins, self.counts)
        return self.x[chosen if self.pool is None else self.pool[chosen]], self.y[chosen]

    def local(self, index: int) -> LocalUser:
        """The user at `index` as a device stores it."""
        own = row_indices(self.begins[[index]], self.counts[[index]])
        group, order = (None if rows is None else rows[own] for rows in (self.group, self.order))
        return LocalUser(str(self.users[index]), *self.rows(index), group, order, self.labels is not None)

    def row_units(self, indices: Array) -> RowUnits:
        """Which rows of the users at `indices` must stay together, one user after the other."""
        counts = self.counts[indices]
        own = row_indices(self.begins[indices], counts)
        group, order = (None if rows is None else rows[own] for rows in (self.group, self.order))
        if self.pool is not None:  # which is one row of `x` for equal rows, and quicker to compare
            x, y = self.pool[own], self.y[own]
        else:
            x, y, begins = self.fetch(indices)
            x, y = (values[row_indices(begins, counts)] for values in (x, y))
        return find_row_units(x, counts, group, order, None if self.labels is None else y)

    def fetch(self, indices: Array) -> tuple[Array, Array, Array]:
        """Arrays `x` and `y` with the rows of the users at `indices`, and int64 `[users]`, where each user begins."""
        if self.read is None and self.pool is None:
            return self.x, self.y, self.begins[indices]
        counts = self.counts[indices]
        if self.read is None:
            x, y = replace(self, begins=self.begins[indices], counts=counts).all_rows()
            return x, y, np.cumsum(counts) - counts
        return *self.read(self.begins[indices], counts), np.cumsum(counts) - counts

    def subset(self, indices: ArrayLike) -> Population:
        """The users at `indices`, in that order; rows are shared, not copied.

        Raises:
            DataError: an index is not a whole number from 0 to the last user's.
        """
        given = np.asarray(indices)
        chosen = given.astype(np.int64)
        if given.dtype == bool or ((chosen < 0) | (chosen >= len(self))).any():
            raise DataError(f"indices are {given}: expected whole numbers from 0 to {len(self) - 1}")
        fields = ("begins", "counts", "users", "max_support", "has_units", "labels", "parts")
        given_fields = {name: values for name in fields if (values := getattr(self, name)) is not None}
        return replace(self, **{name: values[chosen] for name, values in given_fields.items()})

    def with_rows(self, least: int) -> Population:
        """The users that can adapt on `least - 1` rows and still have a query row."""
        return self.subset(np.flatnonzero(self.max_support >= least - 1))

    def split(
        self, seed: int, heldout: float = 0.2, calibration: float | None = None, *, crossed: bool = False
    ) -> Split:
        """Draw held-out and calibration users, unless `parts` says who they are; the rest train.

        Args:
            seed: decides which user is in which set.
            heldout: share of all users that take part in neither training nor calibration.
            calibration: share of all users that choose how strongly to adapt. None means a tenth; with fewer than 300
                users it means 30 users, but at most a fifth, since a handful of users cannot show whether adaptation
                makes some predictions worse.
            crossed: for cross-fitting only. All users that are not held out are both training and calibration users.

        Raises:
            PopulationError: one of the three sets would have no users.
        """
        if self.parts is not None:
            chosen = [np.flatnonzero(self.parts == part) for part in range(len(Split._fields))]
            chosen[:2] = 2 * [np.flatnonzero(self.parts != 2)] if crossed else chosen[:2]
            return Split(*map(self.subset, chosen))
        total = len(self)
        share = max(0.1, min(0.2, _MIN_CALIBRATION_USERS / total)) if calibration is None else calibration
        held, kept = round(heldout * total), round(share * total)
        if min(held, kept, total - held - kept) < 1:
            raise PopulationError(
                f"{total} users cannot be split into {heldout:.0%} held out, {share:.0%} for calibration and "
                "some to train on: expected at least one in each; bring more users or change the shares"
            )
        order = keyed_rng("split", seed).permutation(total)
        disjoint = (order[held + kept :], order[held : held + kept])
        sets = (*(2 * (order[held:],) if crossed else disjoint), order[:held])
        return Split(*(self.subset(np.sort(chosen)) for chosen in sets))

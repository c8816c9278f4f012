"""Personalises a model for one user, on the device."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, get_args, overload

import numpy as np

from tegu.client.adaptation.budget import check_budget
from tegu.client.adaptation.catalogue import words_of_codes
from tegu.client.adaptation.inputs import input_rows, interaction_rows
from tegu.client.adaptation.loader import BundleLoader
from tegu.client.adaptation.model import Model
from tegu.client.adaptation.own_words import labels_of, own_items, titles_of, values_of
from tegu.client.adaptation.recommend import best_items, check_can_recommend
from tegu.client.adaptation.report import AdaptReport
from tegu.client.adaptation.support import read_support
from tegu.client.forks import survives_forks
from tegu.client.runtimes.onnx_runtime import Provider
from tegu.client.runtimes.runtime import Runtime
from tegu.client.store.catalogue import differs_in_catalogue_alone
from tegu.client.store.columns import columns_digest
from tegu.client.store.ids import Ids, checked_ids, checked_new_ids, id_of
from tegu.client.store.interactions import Interactions, Observed, OnRepeat, Removed
from tegu.client.store.store import PersonalState, Store, check_store_path
from tegu.core.bundle.file import Bundle, BundleSource
from tegu.core.bundle.manifest import Manifest
from tegu.core.data.batch import Array
from tegu.core.data.recency import check_half_life
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError, RuntimeFailure, StoreError, UnknownNameError

__all__ = ["Personalizer"]


@dataclass(frozen=True)
class _Current:
    """The model and state in use. Replaced as a whole, so that no prediction in another thread mixes two models."""

    model: Model
    state: Tree | None


class Personalizer:
    """One user's model. It predicts from the start, and better after adapting to observed interactions.

    Create it with `open`. Methods may be called from any thread. Several processes may share one store; each predicts
    with the state that it loaded on opening or adapted itself.
    """

    def __init__(self, loader: BundleLoader, model: Model, store: Store, half_life: float | None = None) -> None:
        personal = store.personal() if store.identity == model.identity else None
        self._loader = loader
        self._store = store
        self._half_life = half_life
        self._current = _Current(model, None if personal is None else personal.state)
        self._changing = threading.RLock()
        survives_forks(self)

    @classmethod
    def open(
        cls,
        bundle: BundleSource | Bundle,
        store: str | Path | None = None,
        *,
        upgrade: bool = False,
        public_key: bytes | None = None,
        providers: Sequence[Provider] | str | None = None,
        threads: int = 1,
        runtime: Runtime | None = None,
        half_life: float | None = None,
    ) -> Personalizer:
        """Open an initialisation and the user's store.

        Args:
            bundle: the path of a `.tegu` file, the file's bytes, the file opened for reading bytes, or a bundle in
                memory.
            store: the user's SQLite file, created if absent; None or ":memory:" keeps the interactions in memory.
                Large graphs are cached in `<store>.graphs/` as optimised by ONNX Runtime, so that the next start is
                faster. That folder may be deleted at any time.
            upgrade: where the store belongs to another bundle, take it over as `upgrade` does. False refuses it.
            public_key: Ed25519 key that must have signed this bundle and every upgrade; None for no check.
            providers: ONNX Runtime execution providers, the preferred first, or one name; None for the CPU.
            threads: of ONNX Runtime within one operator.
            runtime: runs the model instead of ONNX Runtime.
            half_life: in interactions, for a user whose taste may change. An interaction followed by this many others
                has weight 1/2 in adapting, one followed by twice as many 1/4. None for equal weights.

        Raises:
            DataError: the half-life is not above 0.
            BundleError: the bundle cannot be read or is damaged.
            SignatureError: its signature is absent or wrong.
            RuntimeFailure: a provider is not available.
            OtherModelError: the store belongs to another model.
            StoreError: the store cannot be used.
        """
        check_half_life(half_life)
        if runtime is not None and not (hasattr(runtime, "adapt") and hasattr(runtime, "predict")):
            raise RuntimeFailure(f"runtime is a {type(runtime).__name__}: expected an object with adapt and predict")
        store = check_store_path(store)
        cache = None if store is None else Path(f"{store}.graphs")
        loader = BundleLoader(public_key, providers, threads, runtime, cache)
        model = loader.load(bundle)
        opened = Store(store, model.identity, model.spec, columns_digest(model.manifest), adopt=upgrade)
        try:
            personalizer = cls(loader, model, opened, half_life)
            if opened.identity != model.identity:
                personalizer._take_over(model)
        except BaseException:
            opened.close()
            raise
        return personalizer

    def __repr__(self) -> str:
        model, state = self._current.model, "initialisation" if self._current.state is None else "adapted"
        return f"Personalizer({model!r}, {self._store!r}, half_life={self._half_life}, state={state!r})"

    @property
    def manifest(self) -> Manifest:
        """The manifest of the bundle in use."""
        return self._current.model.manifest

    @property
    def bundle(self) -> Bundle:
        """The bundle in use."""
        return self._current.model.bundle

    @property
    def store(self) -> Store:
        """The user's store."""
        return self._store

    @property
    def spec(self) -> Spec:
        """The layout of inputs and targets."""
        return self._current.model.spec

    @property
    def count(self) -> int:
        """The number of interactions in the store."""
        return self._store.count()

    def interactions(self) -> Interactions:
        """The interactions in the store, the oldest first.

        Raises:
            StoreError: the store cannot be read, or is damaged.
        """
        found = self._store.load()
        x, y = (
            words_of_codes(found.x, [row.item for row in found.rows]),
            words_of_codes(found.y, [row.label for row in found.rows]),
        )
        times = np.array([row.observed_at for row in found.rows], np.float64)
        return Interactions(tuple(map(id_of, found.rows)), x, y, times)

    @overload
    def predict(self, x: Any) -> Array: ...

    @overload
    def predict(self, x: Any, *, samples: int) -> tuple[Array, Array]: ...

    def predict(self, x: Any, *, samples: int | None = None) -> Array | tuple[Array, Array]:
        """Predict with the personal state, or with the initialisation before the first adaptation.

        Args:
            x: `[rows, *spec.x.shape]`; a single input may omit the axis of rows. A mapping from names to arrays, or a
                tuple of arrays, for a spec with several inputs. For a bundle that holds names: a table with these
                names in any order (a data frame, a mapping, a list of mappings), or items by id or title.
            samples: how many of the state's sets of parameters to use, from 2 to `manifest.state_members`, for a
                learner that holds several, such as `platipus`: it draws them on the device, from noise that the bundle
                and the interactions determine. None for one prediction.

        Returns:
            float32 `[rows, spec.outputs]`: logits or values; for ranking, scores `[rows]`. With `samples` the mean and
            the standard deviation over the sets: of values and scores, or of the probabilities of classes and labels.

        Raises:
            DataError: `x` does not fit the spec, or the learner does not hold so many sets of parameters.
            RuntimeFailure: the graphs do not run, or the runtime does not give the sets' outputs.
        """
        if samples is None:
            return self._outputs(x)[1]
        current = self._current
        rows = input_rows(current.model.spec, x, current.model.manifest.encoding)
        return current.model.spread(current.state, rows, samples)

    def predict_labels(self, x: Any) -> Array:
        """The most likely label of each row, as the labels were given in training; class numbers where they were that.

        Args:
            x: as in `predict`.

        Returns:
            `[rows]`, of the labels' own dtype.

        Raises:
            DataError: the model does not classify, or as `predict`.
            RuntimeFailure: the graphs do not run.
        """
        model, outputs = self._outputs(x)
        return labels_of(model.spec, model.manifest.encoding, outputs)

    def predict_values(self, x: Any) -> dict[str, Array]:
        """The targets of each row by name: whole numbers, real numbers or dates, as they were given in training.

        Args:
            x: as in `predict`.

        Returns:
            `[rows]` for each target.

        Raises:
            DataError: the model predicts no values, or as `predict`.
            RuntimeFailure: the graphs do not run.
        """
        model, outputs = self._outputs(x)
        return values_of(model.spec, model.manifest.encoding, outputs)

    def _outputs(self, x: Any) -> tuple[Model, Array]:
        current = self._current
        rows = input_rows(current.model.spec, x, current.model.manifest.encoding)
        return current.model, current.model.predict(current.state, rows)

    def recommend(self, n: int, exclude_seen: bool = True) -> tuple[Array, Array]:
        """The `n` best items of the catalogue.

        Args:
            n: number of items. Fewer are returned where fewer are left.
            exclude_seen: leave out observed items.

        Returns:
            Ids as they were given in training, and float32 scores, best first; of equal scores, the lower id first.

        Raises:
            DataError: the spec has no items, or `n` is not a whole number from 1 on.
            RuntimeFailure: the graphs do not run.
            StoreError: the store cannot be read.
        """
        current = self._current
        check_can_recommend(current.model.spec, n)
        scores = current.model.predict(current.state, np.arange(current.model.spec.items)).reshape(-1)
        seen = current.model.catalogue.usable(self._store.load()).x if exclude_seen else np.empty(0, np.int64)
        best, of_best = best_items(scores, seen, n)
        return own_items(current.model.manifest.encoding, best), of_best

    def titles(self, items: Any) -> list[str]:
        """The titles of items, as `recommend` returns them; the ids as text where the bundle has no titles.

        Raises:
            DataError: an item is not known.
        """
        return titles_of(self.manifest.encoding, items)

    def observe(self, x: Any, y: Any = None, *, ids: Ids | None = None, on_repeat: OnRepeat = "replace") -> Observed:
        """Store interactions. All of them are on the disk when this returns.

        Args:
            x: as in `predict`; a single interaction may omit the axis of rows, here and in `y`.
            y: `[rows, *spec.y.shape]`; may be omitted for ranking, where it then is a weight of 1. For a bundle that
                holds names: labels as they were given in training, or values by the targets' names.
            ids: a text or a whole number for each interaction, the same whenever it is observed; None if each is new.
            on_repeat: for an interaction whose id is stored: "replace" the stored one, which keeps its place and time,
                or "ignore" the new one. Either way, observing the same interactions again changes nothing.

        Returns:
            How many were added, replaced and ignored, and how many are stored now.

        Raises:
            DataError: the rows do not fit the spec, or `ids` does not fit the rows; none was stored.
            UnknownNameError: `on_repeat` is neither "replace" nor "ignore".
            StoreError: the store cannot be written; none was stored.
        """
        if on_repeat not in get_args(OnRepeat):
            raise UnknownNameError("way to treat a repeated id", str(on_repeat), get_args(OnRepeat))
        model = self._current.model  # read once: another thread may upgrade
        rows = interaction_rows(model.spec, x, y, model.manifest.encoding)
        items, labels = model.catalogue.names(*rows)
        own = None if ids is None else checked_new_ids(ids, len(rows[0]))
        return self._store.append(*rows, ids=own, items=items, labels=labels, on_repeat=on_repeat)

    def remove(self, ids: Ids) -> Removed:
        """Erase single interactions, including their bytes in the store's files, and return to the initialisation.

        The state had been adapted to them; `adapt` computes one from those that are left.

        Args:
            ids: one id or several, as given to `observe` or as `interactions` lists them. An id that is not stored is
                no error, and if none is stored, nothing changes.

        Returns:
            How many were erased, and how many are stored now.

        Raises:
            DataError: an id is neither a text nor a whole number.
            StoreError: as `forget`.
        """
        wanted = checked_ids(ids)
        with self._changing:
            removed = self._store.delete_rows(wanted)
            if removed.removed:
                self._current = replace(self._current, state=None)
            if wanted:  # those of an earlier call may still be in the files
                self._store.erase_deleted()
        return removed

    def adapt(self, budget_ms: float | None = None) -> AdaptReport:
        """Adapt the initialisation to all interactions, or to the newest ones for a bundle with a window.

        The new state is on the disk when this returns.

        Args:
            budget_ms: time limit in milliseconds; at least one step is taken regardless. None for no limit.

        Returns:
            What was done, and whether the new state is in use. A state that is not finite is discarded.

        Raises:
            DataError: there are no interactions, or the budget is negative.
            RuntimeFailure: the graphs do not run; the previous state stays in use.
            StoreError: the store cannot be used; the previous state stays in use.
        """
        check_budget(budget_ms)
        started = time.perf_counter()
        with self._changing:
            batch, unused, erasures = read_support(self._store, self._current.model, self._half_life)
            if not len(batch.x):
                raise DataError(
                    f"empty support: the bundle lacks the items or labels of all {unused} interactions; observe at "
                    "least one that it has"
                    if unused
                    else "empty support: observe at least one interaction before adapting"
                )
            state, report = self._current.model.adapt(batch, budget_ms, started)
            report = report.without(unused)
            if report.kept:
                self._store.save_personal(PersonalState(state, report.interactions), erasures)
                self._current = replace(self._current, state=state)
        return report

    def reset(self) -> None:
        """Return to the initialisation and keep the interactions.

        Raises:
            StoreError: the store cannot be written; the previous state stays in use.
        """
        with self._changing:
            self._store.delete_personal()
            self._current = replace(self._current, state=None)

    def forget(self) -> None:
        """Return to the initialisation and erase all interactions, including their bytes in the store's files.

        An agreement to take part in a federation is withdrawn. The graphs cached in `<store>.graphs/` and the bundles
        in `<store>.bundles/` stay. They come from the publisher and contain nothing of the user.

        Raises:
            StoreError: the store cannot be written; or everything was deleted, but another process is reading the
                store, so that deleted bytes may remain in its files. The message says which.
        """
        with self._changing:
            self._store.delete_all()
            self._current = replace(self._current, state=None)
            self._store.erase_deleted()

    def upgrade(self, bundle: BundleSource | Bundle) -> AdaptReport | None:
        """Change to a newer bundle of the same spec, and adapt it to the stored interactions.

        The newer bundle may have more or fewer items or labels. Interactions with those that it lacks are kept, and not
        used until a bundle has them again. After an error the old bundle stays in use, in memory and in the store.

        Args:
            bundle: as in `open`; signed by the same key if `open` was given one.

        Returns:
            The report of adapting; None where there are no interactions that the bundle can use.

        Raises:
            BundleError: the bundle cannot be read or is damaged.
            SignatureError: its signature is absent or wrong.
            StoreError: its spec differs from the store's, or the store cannot be used.
            RuntimeFailure: its graphs do not run, or its adapted state is not finite.
        """
        with self._changing:
            model = self._loader.load(bundle)
            if not differs_in_catalogue_alone(self.spec, model.spec):
                raise StoreError(
                    f"the store holds rows of {self.spec}, not of {model.spec}: open the new bundle with another store"
                )
            if columns_digest(self.manifest) != columns_digest(model.manifest):
                raise StoreError(
                    "the new bundle makes rows of raw columns in another way (other levels, units or origins), so it "
                    "cannot read the stored ones: train it with the same columns, or open it with another store"
                )
            return self._take_over(model)

    def _take_over(self, model: Model) -> AdaptReport | None:
        """Adapt another model to the stored interactions, and use it from now on."""
        with self._changing:
            model.check()
            personal, report, erasures = self._adapted(model)
            self._store.replace_model(model.identity, model.spec, personal, erasures)
            self._current = _Current(model, None if personal is None else personal.state)
        return report

    def _adapted(self, model: Model) -> tuple[PersonalState | None, AdaptReport | None, int]:
        batch, unused, erasures = read_support(self._store, model, self._half_life)
        if not len(batch.x):
            return None, None, erasures
        state, report = model.adapt(batch, None, time.perf_counter())
        if not report.kept:
            raise RuntimeFailure(f"the new bundle cannot be used: {report.reason}")
        return PersonalState(state, report.interactions), report.without(unused), erasures

    @property
    def opted_in(self) -> bool:
        """Whether the user agreed to take part in a federation (`tegu.client.participant`); at first False.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._store.consent.read() is not None

    def opt_in(self) -> None:
        """Keep in the store that the user agrees to take part in a federation. Ask the user first.

        Raises:
            StoreError: the store cannot be written.
        """
        self._store.consent.give()

    def opt_out(self) -> None:
        """Withdraw the agreement. From now on, no round is answered but by a refusal. `forget` withdraws it, too.

        Raises:
            StoreError: the store cannot be written; the agreement stays.
        """
        self._store.consent.withdraw()

    def __reduce__(self) -> NoReturn:
        raise StoreError(
            "a Personalizer holds an open store, so it cannot be pickled or copied: pass the paths of the bundle and "
            "the store, and call Personalizer.open in the other process"
        )

    def before_fork(self) -> None:
        """Nothing to wait for: model and state in use are replaced as one."""

    def after_fork_in_parent(self) -> None:
        """Nothing to do."""

    def after_fork_in_child(self) -> None:
        """Replace the lock, which another thread of the parent may hold."""
        self._changing = threading.RLock()

    def close(self) -> None:
        """Close the store. Closing it twice is allowed."""
        self._store.close()

    def __enter__(self) -> Personalizer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

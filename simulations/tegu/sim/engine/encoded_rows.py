"""Rows that are encoded once, for a learner whose adaptation and prediction see a row through its code alone.

Calibration tries many supports, queries and knobs on the same rows. The model's forward pass, which is nearly all of
the work for a network of some depth, is then computed once for each row of a user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import torch

from tegu.compile.examples import example_batch
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.learners.learner import Learner, TorchTree
from tegu.learners.threads import one_thread
from tegu.sim.data.population import Population
from tegu.sim.engine.engine import Engine
from tegu.sim.engine.in_torch import IMAGE_AXES, TorchBatched, tensors_of

__all__ = ["RowEncoder", "make_encoder", "with_shared_rows_encoded"]

_ROWS = 256  # of one call: enough to use a core fully
_SHARES = 2  # few calls, each of which takes more to prepare than the codes of a few users take to compute


@dataclass(frozen=True)
class RowEncoder:
    """The encoder of a learner, and an engine for what it encodes.

    Attributes:
        function: (meta, x `[rows, ...]`) -> codes `[rows, width]`.
        engine: runs the learner on codes in place of inputs.
        rows: the most rows of one call; it depends on the memory limit.
        channels_last: whether parameters with four axes are laid out as torch's convolutions are fastest.
    """

    function: Callable[[TorchTree, torch.Tensor], torch.Tensor] = field(repr=False)
    engine: Engine
    rows: int = _ROWS
    channels_last: bool = False

    def encode(self, meta: Tree, population: Population) -> list[Array] | None:
        """The codes of each user's rows, `[users]` of `[rows, width]`. The sizes of calls depend on the rows alone.

        Args:
            meta: the initialisation.
            population: the users.

        Returns:
            The codes, or None if they would take more than the engine's memory limit.
        """
        tensors = tensors_of(meta, self.channels_last)
        if population.pool is not None:
            return self._encode_pool(tensors, population, population.pool)

        def codes(chosen: Sequence[int]) -> list[Array]:
            rows = [population.rows(user)[0] for user in chosen]
            found = self._encode_rows(tensors, np.concatenate(rows))
            return np.split(found, np.cumsum([len(own) for own in rows])[:-1])

        parts = list(self._parts(population))
        with one_thread():  # as the engine's workers, so that the bits are those of any machine
            first = codes(parts[0])
        width = first[0].itemsize * first[0].shape[1]
        if width * int(population.counts.sum()) > self.engine.memory:
            return None
        return list(chain(first, *self.engine.map(codes, parts[1:])))

    def _encode_pool(self, meta: TorchTree, population: Population, pool: Array) -> list[Array] | None:
        """As `encode`, for users who share rows: each row that some user has is encoded once."""
        pairs = zip(population.begins.tolist(), population.counts.tolist(), strict=True)
        own = [pool[start : start + count] for start, count in pairs]
        used = np.unique(np.concatenate(own))
        parts = np.array_split(used, -(-len(used) // self.rows))
        found = np.concatenate(self.engine.map(lambda rows: self._encode_rows(meta, population.x[rows]), parts))
        if found.itemsize * found.shape[1] * int(population.counts.sum()) > self.engine.memory:
            return None
        return [found[np.searchsorted(used, rows)] for rows in own]

    def _encode_rows(self, meta: TorchTree, x: Array) -> Array:
        with torch.no_grad():
            parts = [
                self.function(meta, torch.tensor(x[start : start + self.rows])) for start in range(0, len(x), self.rows)
            ]
        return torch.cat(parts).numpy()

    def _parts(self, population: Population) -> Iterator[list[int]]:
        """Users in their order, as many at a time as fill one call."""
        part, rows = list[int](), 0
        for user, count in enumerate(population.counts.tolist()):
            if part and rows + count > self.rows:
                yield part
                part, rows = [], 0
            part.append(user)
            rows += count
        yield part


def make_encoder(engine: Engine, learner: Learner) -> RowEncoder | None:
    """The encoder of a learner that an engine runs; None if the learner has none."""
    encoded = learner.execution.encoded
    if encoded is None or encoded.plain != (learner.adapt, learner.predict):
        return None
    on_codes = replace(learner, adapt=encoded.adapt, predict=encoded.predict)
    each = max(engine.user_bytes(_ROWS) / _ROWS, 1.0)  # of an update, which takes more than an encoding
    rows = min(_ROWS, max(1, int(engine.memory / engine.workers / each)))
    last = _runs_channels_last(learner, encoded.encode)
    on_rows = replace(engine, backend=TorchBatched(on_codes), shares=_SHARES)
    return RowEncoder(encoded.encode, on_rows, rows, last)


def _runs_channels_last(learner: Learner, encode: Callable[[TorchTree, torch.Tensor], torch.Tensor]) -> bool:
    """Whether there are convolutions that may have their channels innermost, which takes them a third of the time.

    Their results are then laid out so too, and a module that takes a `view` of them must not get these.
    """
    meta = learner.init(0)
    if all(value.ndim != IMAGE_AXES for value in meta.values()):
        return False
    try:
        with torch.no_grad():
            encode(tensors_of(meta, channels_last=True), example_batch(learner, 2, np.random.default_rng(0)).x)
    except RuntimeError:
        return False
    return True


def with_shared_rows_encoded(engine: Engine, meta: Tree, users: Population) -> tuple[Engine, Sequence[Array] | None]:
    """The engine for users' codes and the codes, where users share rows; otherwise the engine and None.

    Args:
        engine: runs the learner.
        meta: the initialisation.
        users: in a population with a pool, each row is encoded once, however many users have it.
    """
    if engine.encoder is None or users.pool is None:
        return engine, None
    codes = engine.encoder.encode(meta, users)
    return (engine, None) if codes is None else (engine.encoder.engine, codes)

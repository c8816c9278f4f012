"""Whether labels mean something of their own to every user, as in few-shot tasks: "1" is another class for each.

An initialisation can then know nothing, and training it on labels makes a network memorise users. The sign is that the
nearest row of the same user tells a row's label, and the nearest row of another user does not. Both are compared with
what frequencies alone would give. Where inputs tell neither, labels count as shared.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.sim.data.population import Population

__all__ = ["Agreement", "agreement", "labels_are_own"]

_ROWS = 3000  # that are compared
_NUMBERS = 1 << 25  # of all compared rows: fewer rows if they are large
_EACH = (10, 40)  # fewest and most rows of a user
_FEWEST_USERS = 20
_SURE = 2.0  # standard errors
_SHARE = 0.25  # of what own rows tell, that others' rows may tell
_LEAST = 0.1  # that own rows tell, of all there is to tell
_SAME = 1 - 1e-6  # the similarity of a row that is repeated


class Agreement(NamedTuple):
    """How often the nearest row has the same label: 0 as often as by frequencies alone, 1 always.

    Attributes:
        own: among the user's other rows.
        others: among the rows of other users.
        own_error: standard error of `own`.
        others_error: standard error of `others`.
    """

    own: float
    others: float
    own_error: float
    others_error: float


def labels_are_own(train: Population, seed: int) -> bool:
    """Whether labels seem to mean something else to every user.

    Args:
        train: training users.
        seed: of the rows that are compared.
    """
    if not _comparable(train.spec) or len(train) < _FEWEST_USERS:
        return False
    found = agreement(train, seed)
    known = found.own - _SURE * found.own_error > _LEAST
    return known and found.others + _SURE * found.others_error < _SHARE * found.own


def agreement(train: Population, seed: int) -> Agreement:
    """Compare nearest rows, by cosine of standardised inputs, on up to 3,000 rows."""
    x, y, user = _sample(train, seed)
    similarity = x @ x.T
    same = user[:, None] == user
    own = _nearest_agrees(np.where(same & (similarity < _SAME), similarity, -np.inf), y)
    others = _nearest_agrees(np.where(same, -np.inf, similarity), y)
    labels = np.eye(train.spec.outputs)[y]
    counts = np.stack([labels[user == each].sum(0) for each in range(user[-1] + 1)])
    rows = counts.sum(1, keepdims=True)
    by_own = (counts * (counts - 1)).sum(1) / (rows * (rows - 1))[:, 0]
    by_others = (counts / rows * (counts.sum(0) - counts) / (len(y) - rows)).sum(1)
    lifts = [_lift(agrees, user, expected) for agrees, expected in ((own, by_own), (others, by_others))]
    return Agreement(lifts[0][0], lifts[1][0], lifts[0][1], lifts[1][1])


def _comparable(spec: Spec) -> bool:
    return spec.kind == "classification" and spec.x.dtype == "float32" and not spec.inputs and not spec.x.ids


def _sample(train: Population, seed: int) -> tuple[Array, Array, Array]:
    """Standardised rows of length 1 `[rows, numbers]`, their labels, and numbers of their users in ascending order."""
    rng = keyed_rng("own labels", seed)
    most = min(_ROWS, _NUMBERS // math.prod(train.spec.x.shape))
    each = int(np.clip(most // len(train), *_EACH))
    able = np.flatnonzero(train.counts > 1)
    users = np.sort(rng.permutation(able)[: max(_FEWEST_USERS, most // each)])
    parts = []
    for number, index in enumerate(users.tolist()):
        inputs, labels = train.rows(index)
        rows = rng.permutation(len(labels))[:each]
        parts.append((inputs[rows].reshape(len(rows), -1), labels[rows], np.full(len(rows), number)))
    x, y, user = map(np.concatenate, zip(*parts, strict=True))
    x = x - x.mean(0)
    spread = x.std(0) if len(train.spec.x.shape) == 1 else x.std()  # features have units of their own
    x = x / np.maximum(spread, 1e-12)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), y, user


def _nearest_agrees(similarity: Array, y: Array) -> Array:
    nearest = similarity.argmax(1)
    known = np.isfinite(similarity[np.arange(len(y)), nearest])
    return np.where(known, y[nearest] == y, np.nan)


def _lift(agrees: Array, user: Array, expected: Array) -> tuple[float, float]:
    """The part of what frequencies leave open that nearest rows tell, and its standard error over users."""
    rows = np.bincount(user[np.isfinite(agrees)], minlength=len(expected))
    means = np.bincount(user, np.nan_to_num(agrees), len(expected)) / np.where(rows, rows, np.nan)
    open_part = max(1 - float(expected.mean()), 1e-6)
    lifts = (means - expected) / open_part
    lifts = lifts[np.isfinite(lifts)]
    return float(lifts.mean()), float(lifts.std() / np.sqrt(max(len(lifts) - 1, 1)))

"""Rows in the order of labels: against numpy's stable sort, and parts that have equal shares of each label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import vmap

from tegu.core.data.batch import Batch
from tegu.learners.inner_loop.label_order import in_label_order


def rows(seed: int, count: int = 30, labels: int = 5) -> Batch[torch.Tensor]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(count) % labels)
    mask = (rng.random(count) < 0.8).astype(np.float32)
    return Batch(torch.arange(count)[:, None], torch.tensor(y), torch.tensor(mask))


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_that_of_a_stable_sort(seed: int) -> None:
    given = rows(seed)
    key = np.where(given.mask.numpy() > 0, given.y.numpy(), 99 + given.y.numpy())
    expected = np.argsort(key, kind="stable")
    for found, part in zip(in_label_order(given), given, strict=True):
        np.testing.assert_array_equal(found.numpy(), part.numpy()[expected])


def test_each_part_has_equal_shares_of_the_labels() -> None:
    users = [rows(seed)._replace(mask=torch.ones(30)) for seed in range(4)]
    stacked = Batch(*(torch.stack(parts) for parts in zip(*users, strict=True)))
    ordered = vmap(in_label_order)(stacked)
    for parts in (2, 3, 6):
        for user in range(4):
            for part in range(parts):
                counts = np.bincount(ordered.y[user, part::parts].numpy(), minlength=5)
                assert counts.tolist() == [6 // parts] * 5
    assert (in_label_order(users[0]).y[::2] == in_label_order(users[0]).y[1::2]).all()

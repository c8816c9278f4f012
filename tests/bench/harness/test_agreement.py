from __future__ import annotations

import numpy as np
import pytest
from tegu.bench.tasks.catalogue import SIMULATED
from tests.bench.small import logits, rounds, small_task, softmax

from tegu.bench.harness.agreement import TOLERANCE, difference, loss_curve
from tegu.core.errors import RuntimeFailure


def test_losses_are_those_of_numpy_round_by_round() -> None:
    task = small_task()
    trees = [task.init, *rounds(task)]
    expected = [-np.log(softmax(logits(tree, task.x)[1])[np.arange(len(task.y)), task.y]).mean() for tree in trees]
    found = loss_curve(task, trees)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[2] < found[1] < found[0], "training teaches"


def test_clicks_are_judged_against_the_whole_catalogue() -> None:
    task = SIMULATED["W3"]()
    scores = task.init["film.weight"] @ task.init["user"] + task.init["bias.weight"][:, 0]
    expected = -np.log(softmax(scores[None])[0, task.x]).mean()
    np.testing.assert_allclose(loss_curve(task, [task.init]), [expected], rtol=1e-5)


def test_the_difference_is_the_largest_relative_one() -> None:
    ours, theirs = np.array([1.0, 2.00001, 4.0]), np.array([1.0, 2.0, 4.00001])
    assert difference(ours, theirs, "pfl") == pytest.approx(5e-6)


@pytest.mark.parametrize(
    "ours", [[1.0, 2.0 * (1 + 2 * TOLERANCE)], [1.0, 2.0 * (1 - 2 * TOLERANCE)], [1.0, np.nan], [1.0], [1.0, 2.0, 3.0]]
)
def test_other_work_is_refused(ours: list[float]) -> None:
    with pytest.raises(RuntimeFailure, match=r"those of pfl 1\.0000, 2\.0000: expected .* did not do the same work"):
        difference(np.array(ours), np.array([1.0, 2.0]), "pfl")

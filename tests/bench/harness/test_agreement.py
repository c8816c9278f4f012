from __future__ import annotations

import numpy as np
import pytest
from tests.bench.numpy_peer import logits, reptile_rounds, small_task, softmax

from tegu.bench.harness.agreement import TOLERANCE, check_agreement, loss_curve
from tegu.bench.tasks.catalogue import SIMULATION_TASKS
from tegu.core.errors import RuntimeFailure


def test_losses_equal_numpys_in_every_round() -> None:
    task = small_task()
    trees = [task.init, *reptile_rounds(task)]
    expected = [-np.log(softmax(logits(tree, task.x)[1])[np.arange(len(task.y)), task.y]).mean() for tree in trees]
    losses = loss_curve(task, trees)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert losses[2] < losses[1] < losses[0], "training lowers the loss"


def test_the_loss_of_clicks_is_over_the_whole_catalogue() -> None:
    task = SIMULATION_TASKS["W3"]()
    scores = task.init["film.weight"] @ task.init["user"] + task.init["bias.weight"][:, 0]
    expected = -np.log(softmax(scores[None])[0, task.x]).mean()
    np.testing.assert_allclose(loss_curve(task, [task.init]), [expected], rtol=1e-5)


def test_the_largest_relative_difference_is_given() -> None:
    ours, theirs = np.array([1.0, 2.00001, 4.0]), np.array([1.0, 2.0, 4.00001])
    assert check_agreement(ours, theirs, "pfl") == pytest.approx(5e-6)


@pytest.mark.parametrize(
    "ours", [[1.0, 2.0 * (1 + 2 * TOLERANCE)], [1.0, 2.0 * (1 - 2 * TOLERANCE)], [1.0, np.nan], [1.0], [1.0, 2.0, 3.0]]
)
def test_curves_that_differ_are_refused(ours: list[float]) -> None:
    with pytest.raises(RuntimeFailure, match=r"those of pfl 1\.0000, 2\.0000: expected .* did not do the same work"):
        check_agreement(np.array(ours), np.array([1.0, 2.0]), "pfl")

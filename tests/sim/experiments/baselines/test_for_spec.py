"""Built-in experiments and one's own runs are compared with the same classical baselines."""

from __future__ import annotations

import pytest
from tests.sim import people

from tegu.core.data.spec import Spec
from tegu.server.progress import SILENT
from tegu.sim.experiments.baselines.for_spec import RANKINGS, RATINGS, classical_for
from tegu.sim.run import run_plan


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (Spec.ranking(5), RANKINGS),
        (Spec.regression((), items=5), RATINGS),
        (Spec.regression((3,)), {}),
        (Spec.classification((2,), 3), {}),
    ],
)
def test_the_task_decides(spec: Spec, expected: object) -> None:
    assert classical_for(spec) == expected


def test_ones_own_ranking_is_compared_with_them() -> None:
    experiment = people.ranking()
    assert not experiment.classical
    run = run_plan(experiment.population, experiment.learner, experiment.plan)
    found = run.evaluate(progress=SILENT)
    assert set(found.curve[0]["baselines"]) == {*RANKINGS, "finetuned"}

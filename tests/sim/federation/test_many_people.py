"""A node with many people answers what a device with the same people answers, in batches and from disk."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.core.samples import refused
from tests.federation import sine_users
from tests.federation.tiny import again_and_again, batched_engine, bundle, looped_engine, population

from tegu.client.federation.people import FewPeople
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest
from tegu.core.data.tree import max_difference, norm
from tegu.core.errors import PopulationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.sim.data.population import Population
from tegu.sim.data.population_on_disk import write_population
from tegu.sim.engine import Engine
from tegu.sim.federation.many_people import ManyPeople
from tegu.wire import RoundConfig

CONFIG = RoundConfig(round=3, seed=7, clip=0.4, episodes=EpisodeRule(3, 6, 4))


def few(people: Population) -> FewPeople:
    users = [people.local(user) for user in range(len(people))]
    return FewPeople(users, OnnxRuntime(bundle().graphs), bundle().manifest)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, clip=math.inf),
        replace(CONFIG, users_per_node=5),
        replace(CONFIG, calibration_share=0.4, fold=1),
        replace(CONFIG, private=True),
        replace(CONFIG, private=True, clip=math.inf),
    ],
)
@pytest.mark.parametrize("engine", [batched_engine, looped_engine])
def test_a_training_round_is_a_devices(config: RoundConfig, engine: type[Engine], tmp_path: Path) -> None:
    people, meta = population(31), bundle().meta
    on_disk = write_population(tmp_path, people.spec, (people.local(user) for user in range(len(people))))
    found = ManyPeople(on_disk, engine()).sum_updates(meta, config)
    expected = few(people).sum_updates(meta, config)
    assert found is not None
    assert expected is not None
    assert found[1:] == expected[1:]
    assert 0 < expected.users < 31
    assert 0 < expected.within < expected.users or math.isinf(config.clip)
    assert norm(expected.update) > 0.1
    assert max_difference(found.update, expected.update) < 1e-5


@pytest.mark.parametrize("columns", [("group",), ("order",)])
def test_row_units_are_kept(columns: tuple[str, ...]) -> None:
    people, meta = again_and_again(20, frozenset(columns)), bundle().meta
    found, expected = (own.sum_updates(meta, CONFIG) for own in (ManyPeople(people, batched_engine()), few(people)))
    assert found is not None
    assert expected is not None
    assert found[1:] == expected[1:]
    assert max_difference(found.update, expected.update) < 1e-5


def test_nobody_spoils_a_private_sum() -> None:
    people = population(11)
    x = people.x.copy()
    x[people.begins[4]] = np.nan
    broken, meta = replace(people, x=x), bundle().meta
    config = replace(CONFIG, private=True, episodes=EpisodeRule(1, 20, 20))
    found, expected = (own.sum_updates(meta, config) for own in (ManyPeople(broken, looped_engine()), few(broken)))
    assert found is not None
    assert expected is not None
    assert found[1:] == expected[1:]
    plain = ManyPeople(broken, looped_engine()).sum_updates(meta, replace(config, private=False))
    assert plain is not None
    assert not np.isfinite(norm(plain.update))
    assert np.isfinite(norm(found.update))
    assert max_difference(found.update, expected.update) < 1e-5


def test_all_may_calibrate() -> None:
    config = replace(CONFIG, calibration_share=1.0)
    assert ManyPeople(population(11), batched_engine()).sum_updates(bundle().meta, config) is None


def test_too_few_rows_are_a_devices_error() -> None:
    config = replace(CONFIG, episodes=EpisodeRule(50, 60, 4))
    with refused(PopulationError, "has more than 50 rows", "min_support"):
        ManyPeople(population(11), batched_engine()).sum_updates(bundle().meta, config)


def test_an_evaluation_round_is_a_devices() -> None:
    people, start = sine_users.population(), sine_users.bundle()
    users = [people.local(user) for user in range(len(people))]
    device = FewPeople(users, OnnxRuntime(start.graphs), start.manifest)
    options = (start.manifest.unadapted, start.manifest.knobs)
    questions = tuple(CandidateSet(k, options, "scores", draws=2) for k in (1, 3))
    request = EvaluationRequest("mse", 2, 0.45, questions)
    node = ManyPeople(people, sine_users.engine())
    assert node.number == device.number == 24
    for found, expected in zip(node.evaluate(start.meta, request), device.evaluate(start.meta, request), strict=True):
        assert found.users == expected.users > 5
        np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-4, atol=1e-5)

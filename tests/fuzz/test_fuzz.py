"""Mutated bundles, manifests, graphs and replies: one kind of error or a sound result, never a hang.

TEGU_FUZZ=20000 pytest tests/fuzz            the long form, so many of each
"""

from __future__ import annotations

import functools
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord
from tests.client.graphs import linear_bundle, linear_rows
from tests.fuzz.mutations import mutated_bytes, mutated_value

from tegu.client import OnnxRuntime, Personalizer
from tegu.client.runtimes.limits.run_limits import RunLimits
from tegu.core.bundle.file import GRAPHS, Bundle, read_bundle, write_bundle
from tegu.core.bundle.manifest import Manifest
from tegu.core.errors import BundleError, TeguError
from tegu.wire import to_tree
from tegu.wire.npy import to_npy

TIMES = int(os.environ.get("TEGU_FUZZ", "400"))
SLOWEST = 20.0  # s, on a busy machine; the sound ones take milliseconds
X, Y = linear_rows(3)


def outcomes(attempt: Callable[[random.Random], object], times: int = TIMES) -> Counter[str]:
    """How often it succeeded and with which error of Tegu it failed; any other error is raised, with its seed."""
    found = Counter[str]()
    for seed in range(times):
        started = time.perf_counter()
        try:
            attempt(random.Random(seed))
            found["sound"] += 1
        except TeguError as error:
            text, kind = str(error), type(error).__name__
            found[kind if text.replace("\n", "").replace("\t", "").isprintable() else "not printable"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed} gave {error!r}") from error
        assert time.perf_counter() - started < SLOWEST, f"seed {seed} hangs"
    assert not found["not printable"]
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("fuzz") / "good.tegu"
    write_bundle(path, linear_bundle())
    return path.read_bytes()


def personalised(bundle: Bundle) -> None:
    """What an app does with a bundle, which gives finite numbers or an error."""
    with Personalizer.open(bundle) as p:
        p.observe(X, Y)
        before = p.predict(X)
        report = p.adapt(budget_ms=5)
        assert before.dtype == p.predict(X).dtype == np.float32
        assert not report.kept or all(np.isfinite(value).all() for value in (p._current.state or {}).values())


def test_bundles(data: bytes) -> None:
    found = outcomes(lambda rng: read_bundle(mutated_bytes(data, rng)))
    assert found["BundleError"] > 0.6 * TIMES


def test_manifests_whose_hashes_fit(data: bytes) -> None:
    """The attacker writes the bundle, so hashes are no obstacle."""
    bundle = read_bundle(data)
    body = json.loads(bundle.manifest.to_json())

    def attempt(rng: random.Random) -> None:
        text = json.dumps(functools.reduce(lambda value, _: mutated_value(value, rng), range(rng.randint(1, 3)), body))
        personalised(replace(bundle, manifest=Manifest.from_json(text.encode("utf-8", "replace"))))

    found = outcomes(attempt, TIMES // 2)
    assert found["BundleError"] > 0


def test_graphs_whose_hashes_fit() -> None:
    bundle = linear_bundle()

    def attempt(rng: random.Random) -> None:
        name = rng.choice(GRAPHS[:2])
        personalised(replace(bundle, graphs={**bundle.graphs, name: mutated_bytes(bundle.graphs[name], rng)}))

    found = outcomes(attempt, TIMES // 2)
    assert found["RuntimeFailure"] > 0.2 * TIMES // 2


def test_update_graphs_and_parameters() -> None:
    bundle = linear_bundle()
    rows = (X, Y, np.ones(3, np.float32))

    def attempt(rng: random.Random) -> None:
        graph = mutated_bytes(bundle.graphs["update"], rng)
        runtime = OnnxRuntime({"update": graph}, limits=RunLimits(seconds=2))
        runtime.run("update", {"meta": bundle.meta, "query": dict(zip(("x", "y", "mask"), rows, strict=True))})

    assert outcomes(attempt, TIMES // 2)["RuntimeFailure"] > 0


def test_arrays_of_replies() -> None:
    sound = to_npy(np.arange(12, dtype=np.float32).reshape(3, 4))

    def attempt(rng: random.Random) -> None:
        array = FlowerArray(
            dtype=rng.choice(["float32", "object", "", "x" * 100]),
            shape=rng.choice([(3, 4), (), (2**40,), (-1,)]),
            stype=rng.choice(["numpy.ndarray"] * 9 + ["pickle"]),
            data=mutated_bytes(sound, rng),
        )
        tree = to_tree(ArrayRecord({"weight": array}))
        assert not tree["weight"].dtype.hasobject
        assert tree["weight"].nbytes <= len(array.data)

    assert outcomes(attempt)["FederationError"] > 0.5 * TIMES


def test_the_mutations_change_something_and_repeat_with_their_seed(data: bytes) -> None:
    same = sum(mutated_bytes(data, random.Random(seed)) == data for seed in range(100))
    assert same < 20
    assert mutated_bytes(data, random.Random(5)) == mutated_bytes(data, random.Random(5))
    value: Any = {"a": [1, {"b": 2.0}]}
    mutated = [mutated_value(value, random.Random(seed)) for seed in range(50)]
    assert value == {"a": [1, {"b": 2.0}]}
    assert len({repr(each) for each in mutated}) > 10
    with pytest.raises(BundleError):
        Manifest.from_json(json.dumps(mutated[0]).encode())

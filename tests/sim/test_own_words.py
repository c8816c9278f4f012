"""From a data frame to a device without pandas: names travel in the bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tegu.core.bundle.file import write_bundle
from tegu.core.data.batch import Array
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim import Population, simulate

FEATURES = ["age", "channel", "member", "since", "made"]
PLAN = TrainingPlan(calibration=CalibrationPlan(ks=(3,), folds=0))
LABELS = ["ignore", "reply", "urgent"]


def frame(users: int = 30, rows: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    count = users * rows
    minutes = pd.to_timedelta(rng.integers(0, 960, count), unit="min")
    return pd.DataFrame(
        {
            "who": np.repeat([f"user {i}" for i in range(users)], rows),
            "age": np.where(rng.random(count) < 0.1, np.nan, rng.integers(18, 80, count)),
            "channel": pd.Series(rng.choice(["mail", "phone", "web"], count)).where(rng.random(count) > 0.1, None),
            "member": rng.random(count) < 0.5,
            "since": pd.Timestamp("2024-03-01") + minutes,
            "made": (pd.Timestamp("2024-03-01") + minutes).astype("datetime64[ms]").astype(np.int64),
            "answer": rng.choice(LABELS, count),
        }
    )


def by_hand(table: pd.DataFrame, training: pd.DataFrame) -> Array:
    """The documented encoding, by pandas alone."""
    median = training.age.median()
    dates = (training.since.min().value + training.since.max().value) // 2
    hour = 3_600_000_000_000
    middle = (int(training.made.min()) + int(training.made.max())) // 2
    columns = [
        table.age.fillna(median),
        table.age.isna(),
        *(table.channel == level for level in ("mail", "phone", "web")),
        table.channel.isna(),
        table.member,
        (table.since.astype("datetime64[ns]").astype(np.int64) - dates // hour * hour) / hour,
        (table.made - middle) / 1e7,
    ]
    return np.stack([np.asarray(column, np.float64) for column in columns], 1).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that holds names, one of the same graphs without names, and rows encoded by hand."""
    folder, training = tmp_path_factory.mktemp("words"), frame()
    population = Population.from_frame(training, user="who", features=FEATURES, target="answer")
    order = np.argsort(training.who.to_numpy(), kind="stable")
    np.testing.assert_array_equal(population.x, by_hand(training, training)[order])
    run = simulate(
        population,
        nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3)),
        rounds=2,
        cohort=5,
        plan=PLAN,
        engine="torch-vmap",
    )
    adapting = replace(run.bundle.manifest, schedule=())  # the labels are random, so calibration chose not to adapt
    assert adapting.encoding == population.encoding
    for name, encoding in (("words", population.encoding), ("bare", None)):
        manifest = replace(adapting, encoding=encoding)
        write_bundle(folder / f"{name}.tegu", replace(run.bundle, manifest=manifest))
    rows = training[:8].assign(channel=["mail", "fax", None, "web", "phone", "mail", "web", "mail"])
    cells = rows[FEATURES].assign(since=rows.since.dt.strftime("%Y-%m-%dT%H:%M")).astype(object)
    cells = cells.where(cells.notna(), None)
    (folder / "rows.json").write_text(json.dumps(cells.to_dict("records")))
    np.savez(folder / "hand.npz", x=by_hand(rows, training), y=[LABELS.index(label) for label in rows.answer])
    (folder / "labels.json").write_text(json.dumps(rows.answer.tolist()))
    return folder


DEVICE = """
import json, sys
import numpy as np
from tegu.client import Personalizer

rows, labels = json.load(open("rows.json")), json.load(open("labels.json"))
hand = np.load("hand.npz")
with Personalizer.open("words.tegu") as person, Personalizer.open("bare.tegu") as bare:
    np.testing.assert_array_equal(person.predict(rows), bare.predict(hand["x"]))
    for row, label in zip(rows[:4], labels, strict=False):
        person.observe(dict(reversed(row.items())), label)
    person.observe({name: [row[name] for row in rows[4:]] for name in rows[0]}, labels[4:])
    bare.observe(hand["x"], hand["y"])
    assert person.adapt().kept and bare.adapt().kept
    expected = bare.predict(hand["x"])
    assert not np.array_equal(expected, Personalizer.open("bare.tegu").predict(hand["x"])), "it adapted"
    np.testing.assert_array_equal(person.predict(rows), expected)
    np.testing.assert_array_equal(person.predict(rows[0]), bare.predict(hand["x"][0]))
    np.testing.assert_array_equal(person.predict([list(row.values()) for row in rows]), expected)
    np.testing.assert_array_equal(person.predict(hand["x"]), expected)
    print(json.dumps(person.predict_labels(rows).tolist()))
    print(json.dumps(expected.argmax(1).tolist()))
print(json.dumps(sorted({"pandas", "torch", "flwr", "onnx"} & {name.split(".")[0] for name in sys.modules})))
"""


def test_a_device_without_pandas_understands_names(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DEVICE], cwd=folder, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    labels, classes, imported = map(json.loads, done.stdout.splitlines())
    assert labels == [LABELS[i] for i in classes]
    assert imported == []


def mixed(seed: int, users: int, rows: int) -> tuple[pd.DataFrame, Any]:
    """The answer depends on two numbers and on the category; users differ by a threshold."""
    rng = np.random.default_rng(seed)
    count = users * rows
    shop = rng.integers(0, 6, count)
    effect = np.asarray([2.0, -2.0, 1.5, -1.5, 0.5, -0.5])[[3, 0, 5, 2, 4, 1]]
    numbers = rng.normal(size=(count, 2)) * [1.0, 1000.0]
    score = numbers[:, 0] + numbers[:, 1] / 1000 + effect[shop] + np.repeat(rng.normal(size=users) * 0.3, rows)
    table = pd.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "shop": shop, "buys": score > 0})
    return table.assign(who=np.repeat(np.arange(users), rows)), effect


@pytest.mark.slow
def test_a_category_beside_numbers_is_learned_as_well_as_by_hand() -> None:
    """One-hot by `from_frame` and by pandas's dummies: the same accuracy; the bare codes are far worse."""
    table, _ = mixed(0, 80, 40)

    def accuracy(population: Population, width: int) -> float:
        torch.manual_seed(0)  # training starts from the module as given
        model = nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 2))
        run = simulate(population, model, rounds=150, cohort=20, plan=PLAN)
        x, y = run.split.heldout.all_rows()
        from tegu.client import Personalizer

        with Personalizer.open(replace(run.bundle, manifest=replace(run.bundle.manifest, encoding=None))) as person:
            return float((person.predict(x).argmax(1) == y).mean())

    ours = Population.from_frame(table, user="who", features=["a", "b", "shop"], target="buys", categories=["shop"])
    hand = np.column_stack([table.a, table.b, pd.get_dummies(table.shop)]).astype(np.float32)
    np.testing.assert_array_equal(ours.x, hand)
    by_dummies = accuracy(Population.from_arrays(hand, table.buys.to_numpy(int), table.who), 8)
    assert accuracy(ours, 8) == by_dummies
    codes = accuracy(Population.from_frame(table, user="who", features=["a", "b", "shop"], target="buys"), 3)
    assert by_dummies > 0.9
    assert codes < by_dummies - 0.03

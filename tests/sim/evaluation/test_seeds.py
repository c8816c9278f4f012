"""Means over runs with different seeds."""

from __future__ import annotations

from typing import Any

import pytest

from tegu.sim.evaluation.seeds import mean_over_seeds
from tegu.sim.reporting.table import table_rows


def run(seed: int, lost: float, ks: tuple[int, ...] = (1, 5), **baselines: float) -> dict[str, Any]:
    shown = {"gain": 0.25, "gain_low": 0.125, "gain_high": 0.375, "worst_decile_gain": -0.5, "any_decline": 0.25}
    entry = {"users": 10 + seed, "initialisation": 0.5, "personalised": 0.75, "materially_hurt": lost / 2, **shown}
    entry |= {"gained": 0.5, "lost": lost, "harm_ratio": lost / 0.5, "squared_gain": 0.5}
    entry |= {"lasting_squared_gain": 0.5 - lost, "harm_ratio_less_noise": 0.1}
    return {
        "experiment": "toy",
        "learner": "residual_correction",
        "metric": "accuracy",
        "higher_is_better": True,
        "rounds": 3,
        "cohort": 2,
        "initialisations": 1,
        "seed": seed,
        "heldout_users": 20,
        "train_seconds": 1.0,
        "schedule": [{"k": k, "knobs": {"lr": 0.1}} for k in ks],
        "curve": [{"k": k, **entry, "baselines": baselines} for k in ks],
    }


def test_figures_are_averaged_and_users_are_summed() -> None:
    found = mean_over_seeds(
        [run(0, 0.0, popularity=0.25), run(1, 0.125, popularity=0.75), run(2, 0.25, popularity=0.5)]
    )
    assert (found["seeds"], found["heldout_users"], found["experiment"]) == ([0, 1, 2], 60, "toy")
    assert [entry["k"] for entry in found["curve"]] == [1, 5]
    entry = found["curve"][0]
    assert (entry["users"], entry["materially_hurt"], entry["gain"]) == (33, pytest.approx(0.0625), 0.25)
    assert (entry["lost"], entry["harm_ratio"]) == (pytest.approx(0.125), pytest.approx(0.25))
    assert (entry["squared_gain"], entry["lasting_squared_gain"]) == (0.5, pytest.approx(0.375))
    assert 0.1 < entry["harm_ratio_less_noise"] < 0.25, "of the averaged figures"
    assert entry["baselines"] == {"popularity": 0.5}
    assert table_rows(found)[0] == ["accuracy", "k = 1", "k = 5"]


def test_entries_that_only_some_runs_have_are_left_out() -> None:
    found = mean_over_seeds([run(0, 0.0, (1, 5, 20), fedsgd=1.0, fedavg=0.5), run(1, 0.0, (5, 20, 50), fedsgd=0.5)])
    assert [entry["k"] for entry in found["curve"]] == [5, 20]
    assert found["curve"][0]["baselines"] == {"fedsgd": 0.75}
    assert "train_seconds" not in found
    assert "drift" not in found


def test_streams_are_averaged_moment_by_moment() -> None:
    def drift(recency: float, chosen: float | None) -> dict[str, Any]:
        def entry(interactions: int, changed: bool, none: float) -> dict[str, Any]:
            figures = {"no recency": none, "recency": recency}
            return {"interactions": interactions, "changed": changed, "figures": figures, "gain": none - recency}

        curve = [entry(1, False, 0.0), entry(1, True, 10.0), entry(2, True, 10.0)]
        steady = entry(2, False, 0.0)
        return {"people": 5, "change": 1, "chosen": [chosen], "curve": curve, "steady": steady, "recovered": {}}

    runs = [run(0, 0.0) | {"drift": drift(1.5, 5.0)}, run(1, 0.0) | {"drift": drift(0.25, None)}]
    found = mean_over_seeds(runs)["drift"]
    assert (found["people"], found["change"], found["chosen"]) == (10, 1, [5.0, None])
    assert [(entry["interactions"], entry["changed"]) for entry in found["curve"]] == [(1, False), (1, True), (2, True)]
    assert found["curve"][1]["figures"] == {"no recency": 10.0, "recency": 0.875}
    assert (found["steady"]["gain"], found["curve"][2]["gain"]) == (-0.875, 9.125)
    assert found["recovered"] == {"no recency": None, "recency": 0}, (
        "computed from the mean curve, not averaged over runs"
    )
    assert "drift" not in mean_over_seeds([runs[0], run(1, 0.0)])


def test_what_calibration_has_shown_is_averaged() -> None:
    def shown(bound: float, needed: int | None, risks: tuple[float | None, ...]) -> dict[str, Any]:
        harm = {"bound": bound, "confidence": 0.9, "people": 30, "needed": needed}
        frontier = [{"risk": risk, "gain": bound, "hurt": 0.0} for risk in risks]
        return {"k": 1, "knobs": {}, "harm": harm, "frontier": frontier}

    first, second = (run(seed, 0.0, (1, 5)) for seed in (0, 1))
    first["schedule"] = [shown(0.25, 40, (0.05, None)), {**shown(0.1, None, ()), "k": 5}]
    second["schedule"] = [shown(0.75, 60, (0.01, 0.05, None)), {"k": 5, "knobs": {}, "harm": None, "frontier": []}]
    found = mean_over_seeds([first, second])["schedule"]
    assert found == [
        {
            "k": 1,
            "harm": {"bound": 0.5, "confidence": 0.9, "people": 30.0, "needed": 60},
            "frontier": [{"risk": 0.05, "gain": 0.5, "hurt": 0.0}, {"risk": None, "gain": 0.5, "hurt": 0.0}],
        },
        {"k": 5, "harm": None, "frontier": []},
    ]

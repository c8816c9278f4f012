"""The table of what noise costs."""

from __future__ import annotations

from tegu.sim.reporting.cost_of_privacy import cost_line, cost_rows


def metrics(*, higher: bool) -> dict[str, object]:
    without = {"personalised": 0.5, "initialisation": 0.3}
    curve = [{"k": 1, "personalised": 0.4, "initialisation": 0.35, "without_noise": without}]
    return {"metric": "recall@10", "higher_is_better": higher, "curve": curve}


def test_a_cost_is_a_loss_in_the_metric() -> None:
    rows = {name: cells for name, *cells in cost_rows(metrics(higher=True))}
    assert rows["recall@10"] == ["k = 1"]
    assert rows["personalised, without noise"] == ["0.500"]
    assert rows["personalised, with noise"] == ["0.400"]
    assert rows["personalised: cost of privacy"] == ["+0.100"]
    assert rows["initialisation: cost of privacy"] == ["-0.050"]
    lower = {name: cells for name, *cells in cost_rows(metrics(higher=False))}
    assert lower["personalised: cost of privacy"] == ["-0.100"]
    assert "lower is better" in cost_line(metrics(higher=False))


def test_a_run_without_noise_has_no_table() -> None:
    found = metrics(higher=True)
    del found["curve"][0]["without_noise"]  # type: ignore[index] # a list of dictionaries
    assert cost_rows(found) == []

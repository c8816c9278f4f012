from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import json_values, manifest, manifests, refused

from tegu.core.bundle.manifest import FORMAT, Manifest, ScheduleEntry, entry_for, knobs_for
from tegu.core.bundle.shown import FrontierPoint, HarmShown
from tegu.core.encoding.column import Column
from tegu.core.errors import BundleError, DataError

SHOWN = HarmShown(0.068, 0.9, 61, 0.016, 0.1, 0.05, 90, 0.05)
FRONTIER = (FrontierPoint(0.05, 0.5, 0.016, 0.1), FrontierPoint(None, 0.6, 0.1, 0.3))
GOOD: dict[str, Any] = json.loads(
    replace(
        manifest(),
        schedule=(ScheduleEntry(5, {"lr": 0.1}, 0.5, 0.25, (1.0, 2.5), SHOWN, FRONTIER),),
        heldout=({"k": 5},),
        members={"a": "00"},
    ).to_json()
)

COLUMN = asdict(Column("age", "number")) | {"levels": []}
ENCODING: dict[str, Any] = {"columns": [COLUMN], "labels": [], "items": [], "titles": [], "targets": [],
                            "item": "", "label": ""}  # fmt: skip


def encoded(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


@given(manifests())
@settings(deadline=None)
def test_round_trip(original: Manifest) -> None:
    data = original.to_json()
    assert Manifest.from_json(data) == original
    assert Manifest.from_json(data).to_json() == data


def test_equal_manifests_give_equal_bytes() -> None:
    one = replace(manifest(), training={"rounds": 1, "users": 2})
    other = replace(manifest(), training={"users": 2, "rounds": 1})
    assert one.to_json() == other.to_json()
    assert json.loads(one.to_json())["format"] == FORMAT


@given(st.sampled_from(sorted(GOOD)), json_values)
@settings(deadline=None, max_examples=300)
def test_a_replaced_field_is_refused_or_read_as_it_stands(name: str, value: Any) -> None:
    try:
        found = Manifest.from_json(encoded(**{name: value}))
    except BundleError:
        return
    assert json.loads(found.to_json()) == {**GOOD, name: value}


@given(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        Manifest.from_json(data)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_field_is_refused(name: str) -> None:
    body = {key: value for key, value in GOOD.items() if key != name}
    with refused(BundleError, "None" if name == "format" else name, "export"):
        Manifest.from_json(json.dumps(body).encode())


def spec(**changes: Any) -> dict[str, Any]:
    return {"spec": {**GOOD["spec"], **changes}}


def entry(**changes: Any) -> dict[str, Any]:
    return {"schedule": [{"k": 2, "knobs": {}, **changes}]}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"learner": 3}, "3"),
        ({"paper": None}, "None"),
        ({"adapted_parameters": "weights"}, "'weights'"),
        ({"adapted_parameters": [1]}, "1"),
        ({"knobs": [["lr", 0.1]]}, "['lr', 0.1]"),
        ({"knobs": {"lr": "0.1"}}, "'0.1'"),
        ({"knobs": {"lr": True}}, "True"),
        ({"knobs": {"lr": float("nan")}}, "nan"),
        ({"knobs": {"lr": 10**400}}, "too large"),
        ({"schedule": {}}, "{}"),
        ({"schedule": [1]}, "1"),
        ({"schedule": [{"k": 2.5, "knobs": {}}]}, "2.5"),
        ({"schedule": [{"k": 2}]}, "knobs"),
        ({"schedule": [{"k": 2, "knobs": {}, "losses": 3.5}]}, "3.5"),
        ({"schedule": [{"k": 2, "knobs": {}, "losses": ["3.5"]}]}, "'3.5'"),
        ({"schedule": [{"k": 2, "knobs": {}, "losses": [float("nan")]}]}, "nan"),
        ({"schedule": [{"k": 5, "knobs": {}}, {"k": 2, "knobs": {}}]}, "[5, 2]"),
        (entry(harm={}), "missing"),
        (entry(harm=[0.1]), "[0.1]"),
        (entry(harm={**SHOWN._asdict(), "bound": 1.5}), "1.5"),
        (entry(harm={**SHOWN._asdict(), "needed": ""}), "''"),
        (entry(harm={**SHOWN._asdict(), "people": True}), "True"),
        (entry(frontier=[{**FRONTIER[0]._asdict(), "gain": float("nan")}]), "nan"),
        (entry(frontier=[{**FRONTIER[0]._asdict(), "risk": -0.5}]), "-0.5"),
        (entry(frontier=FRONTIER[0]._asdict()), "{"),
        ({"training": []}, "[]"),
        ({"heldout": [[]]}, "[]"),
        ({"heldout": {}}, "{}"),
        ({"members": []}, "[]"),
        ({"members": {"a": 1}}, "1"),
        ({"spec": []}, "[]"),
        ({"encoding": {}}, "expected an encoding with columns, labels"),
        ({"encoding": ENCODING | {"more": 1}}, "expected an encoding with columns, labels"),
        ({"encoding": ENCODING | {"labels": "ab"}}, "expected a list of text"),
        ({"encoding": ENCODING | {"labels": [None]}}, "expected a list of text"),
        ({"encoding": ENCODING | {"labels": ["a", "a"]}}, "a label occurs twice"),
        ({"encoding": ENCODING | {"items": ["a"], "titles": ["A", "B"]}}, "2 titles for 1 items"),
        ({"encoding": ENCODING | {"item": 1}}, "expected text for item"),
        ({"encoding": ENCODING | {"titles": [1]}}, "titles as text"),
        ({"encoding": ENCODING | {"columns": {}}}, "expected lists of columns"),
        ({"encoding": ENCODING | {"columns": [{}]}}, "expected a column with name, kind"),
        ({"encoding": ENCODING | {"columns": [COLUMN, COLUMN]}}, "a column occurs twice"),
        ({"encoding": ENCODING | {"columns": [COLUMN | {"kind": "colour"}]}}, "is a 'colour'"),
        ({"encoding": ENCODING | {"columns": [COLUMN | {"kind": "id"}]}}, "with 0 levels"),
        ({"encoding": ENCODING | {"columns": [COLUMN | {"unit": 0}]}}, "unit 0"),
        ({"encoding": ENCODING | {"columns": [COLUMN | {"unit": "1"}]}}, "expected numbers"),
        ({"encoding": ENCODING | {"columns": [COLUMN | {"origin": float("nan")}]}}, "expected numbers"),
        ({"encoding": ENCODING | {"columns": [COLUMN | {"gap": True}]}}, "expected numbers"),
        ({"encoding": ENCODING | {"columns": [COLUMN | {"whole": 1}]}}, "boolean for whole"),
        (spec(kind="clustering"), "clustering"),
        (spec(outputs=2.5), "2.5"),
        (spec(outputs=float("inf")), "inf"),
        (spec(outputs="4"), "'4'"),
        (spec(x=[]), "[]"),
        (spec(x={"shape": "12", "dtype": "int64", "size": 4}), "'12'"),
        (spec(x={"shape": [], "dtype": "int8", "size": 4}), "int8"),
        (spec(x={"shape": [], "dtype": ["int64"], "size": 4}), "['int64']"),
        (spec(x={"shape": [-1], "dtype": "int64", "size": 4}), "-1"),
    ],
)
def test_a_field_of_the_wrong_type_is_refused(changes: dict[str, Any], found: str) -> None:
    with refused(BundleError, found, f"format {FORMAT}", "export it again"):
        Manifest.from_json(encoded(**changes))


@pytest.mark.parametrize("version", [0, 1, FORMAT + 1, "2", None, [2], {}, True])
def test_another_format_is_refused(version: Any) -> None:
    fix = "upgrade tegu" if version == FORMAT + 1 else "export the bundle again"
    with refused(BundleError, f"format version {version!r}", f"reads {FORMAT}", fix):
        Manifest.from_json(encoded(format=version))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\xff", b"[" * 100_000, b"9" * 5000, b'{"format":' * 5000])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with refused(BundleError, "not JSON (", "fetch the bundle again"):
        Manifest.from_json(data)


def test_a_huge_wrong_value_gives_a_short_message() -> None:
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(encoded(learner=list(range(100_000))))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"training": {"loss": float("nan")}}, "nan"),
        ({"heldout": ({"gain": np.float32(1)},)}, "float32"),
        ({"knobs": {"lr": float("inf")}, "unadapted": {"lr": 0.0}}, "inf"),
    ],
)
def test_what_json_lacks_is_refused_when_written(changes: dict[str, Any], found: str) -> None:
    with refused(BundleError, found, "remove it"):
        replace(manifest(), **changes).to_json()


@pytest.mark.parametrize("sizes", [(5, 2), (2, 2)])
def test_a_schedule_ascends(sizes: tuple[int, ...]) -> None:
    with refused(DataError, list(sizes), "ascending"):
        replace(manifest(), schedule=tuple(ScheduleEntry(k, {}) for k in sizes))


def test_a_schedule_without_figures_of_others_is_read() -> None:
    found = Manifest.from_json(encoded(schedule=[{"k": 5, "knobs": {"lr": 0.1}}]))
    assert found.schedule == (ScheduleEntry(5, {"lr": 0.1}),)


@pytest.mark.parametrize(("interactions", "steps"), [(0, 0), (4, 0), (5, 1), (19, 1), (20, 9), (1000, 9)])
def test_knobs_follow_the_schedule(interactions: int, steps: int) -> None:
    schedule = (ScheduleEntry(5, {"steps": 1.0}), ScheduleEntry(20, {"steps": 9.0}))
    assert knobs_for(replace(manifest(), schedule=schedule), interactions) == {"steps": steps, "lr": 0.1}


@pytest.mark.parametrize(("interactions", "steps"), [(4, 0.0), (5, 1.0), (7, 1.0), (8, 9.0), (30, 9.0)])
def test_a_full_window_reaches_the_entries_beyond_it(interactions: int, steps: float) -> None:
    schedule = (ScheduleEntry(5, {"steps": 1.0}), ScheduleEntry(20, {"steps": 9.0}))
    found = knobs_for(replace(manifest(), schedule=schedule, window=8), interactions)
    assert found == {"steps": steps, "lr": 0.1}
    entry = entry_for(replace(manifest(), schedule=schedule, window=8), interactions)
    assert (entry and entry.knobs["steps"]) == (steps or None)


def test_without_a_schedule_the_default_knobs_serve() -> None:
    assert knobs_for(manifest(), 0) == {"steps": 5.0, "lr": 0.1}

"""`tegu inspect`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.cli.conftest import CommandResult
from tests.cli.test_help import assert_error

from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.bundle.manifest import Manifest

Run = Callable[..., CommandResult]


def test_the_text_shows_the_manifest_and_parameters(tegu: Run, bundles: dict[str, Path]) -> None:
    path = bundles["classification"]
    bundle = read_bundle(path)
    result = tegu("inspect", path)
    assert (result.code, result.err) == (0, "")
    text = " ".join(result.out.split())
    for expected in (
        "reptile (A [bold]paper[/bold] of [/nobody])",
        "classification",
        "float32[2]",
        "int64[] below 3",
        "lr 0.3, prior 1, steps 3",
        "from k = 1: lr 0.125, prior 1, steps 2",
        "from k = 1: with 90% confidence at most 6.8% of people like these are materially hurt (61 people; 5% would",
        "from k = 1: risk 5%: gain 0.5, 1.6% hurt, harm ratio 0.1; no limit: gain 0.6, 10% hurt, harm ratio 0.3",
        "rounds 17, seed 5",
        "k = 5: 0.250 → 0.750",
        "k 9, note free",
        bundle.identity,
        "0.weight",
        "4x2",
    ):
        assert expected in text
    assert "torch" not in text, "libraries are in the JSON only"


def test_a_narrow_terminal_cuts_nothing(tegu: Run, bundles: dict[str, Path], monkeypatch: object) -> None:
    import os

    os.environ["COLUMNS"] = "60"  # the fixture restores it
    result = tegu("inspect", bundles["classification"])
    joined = "".join(cell.strip() for line in result.out.splitlines() for cell in line.split("│")[2:3])
    assert read_bundle(bundles["classification"]).identity in joined


def test_what_changes_each_parameter_is_shown(tegu: Run, bundles: dict[str, Path]) -> None:
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in tegu("inspect", bundles["ranking"]).out.splitlines()
    ]
    assert ["film.weight", "15x3", "training"] in lines
    assert ["user", "3", "training, device"] in lines


def test_parameters_that_training_leaves_are_changed_by_the_device_alone(
    tegu: Run, bundles: dict[str, Path], tmp_path: Path
) -> None:
    bundle = read_bundle(bundles["ranking"])
    manifest = replace(bundle.manifest, untrained_parameters=("user", "film.weight"))
    write_bundle(tmp_path / "untrained.tegu", replace(bundle, manifest=manifest))
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in tegu("inspect", tmp_path / "untrained.tegu").out.splitlines()
    ]
    assert ["user", "3", "device"] in lines
    assert ["film.weight", "15x3", "nothing"] in lines


def test_json_is_the_manifest(tegu: Run, bundles: dict[str, Path]) -> None:
    for path in bundles.values():
        result = tegu("inspect", path, "--json")
        assert Manifest.from_json(result.out.encode()) == read_bundle(path).manifest
        assert json.loads(result.out)["learner"] == "reptile"


def test_a_damaged_bundle_is_not_shown(tegu: Run, bundles: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(bundles["ranking"].read_bytes())
    offset = data.index(b"film.weight")
    data[offset + 200] ^= 1
    damaged = tmp_path / "damaged.tegu"
    damaged.write_bytes(data)
    for option in ((), ("--json",)):
        assert_error(tegu("inspect", damaged, *option), "fetch it again")
    assert_error(tegu("inspect", bundles["ranking"], "--public-key", "00" * 32), "not signed")

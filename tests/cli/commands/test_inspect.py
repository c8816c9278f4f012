"""`tegu inspect`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import CommandResult
from tests.cli.test_help import assert_error

from tegu.core.bundle.file import read_bundle
from tegu.core.bundle.manifest import Manifest

Run = Callable[..., CommandResult]


def test_text_says_what_the_bundle_holds(tegu: Run, bundles: dict[str, Path]) -> None:
    path = bundles["classification"]
    bundle = read_bundle(path)
    said = tegu("inspect", path)
    assert (said.code, said.err) == (0, "")
    text = " ".join(said.out.split())
    for expected in (
        "reptile (A [bold]paper[/bold] of [/nobody])",
        "classification",
        "float32[2]",
        "int64[] below 3",
        "lr 0.3, prior 1, steps 3",
        "from k = 1: lr 0.125, prior 1, steps 2",
        "rounds 17, seed 5",
        "k = 5: 0.250 → 0.750",
        "k 9, note free",
        bundle.identity,
        "0.weight",
        "4x2",
    ):
        assert expected in text
    assert "torch" not in text, "libraries are in the JSON"


def test_nothing_is_cut_on_a_narrow_terminal(tegu: Run, bundles: dict[str, Path], monkeypatch: object) -> None:
    import os

    os.environ["COLUMNS"] = "60"  # the fixture puts it back
    said = tegu("inspect", bundles["classification"])
    squeezed = "".join(cell.strip() for line in said.out.splitlines() for cell in line.split("│")[2:3])
    assert read_bundle(bundles["classification"]).identity in squeezed


def test_which_parameters_are_personal(tegu: Run, bundles: dict[str, Path]) -> None:
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in tegu("inspect", bundles["ranking"]).out.splitlines()
    ]
    assert ["film.weight", "15x3", ""] in lines
    assert ["user", "3", "yes"] in lines


def test_json_is_the_manifest(tegu: Run, bundles: dict[str, Path]) -> None:
    for path in bundles.values():
        said = tegu("inspect", path, "--json")
        assert Manifest.from_json(said.out.encode()) == read_bundle(path).manifest
        assert json.loads(said.out)["learner"] == "reptile"


def test_a_damaged_bundle_is_not_shown(tegu: Run, bundles: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(bundles["ranking"].read_bytes())
    place = data.index(b"film.weight")
    data[place + 200] ^= 1
    damaged = tmp_path / "damaged.tegu"
    damaged.write_bytes(data)
    for option in ((), ("--json",)):
        assert_error(tegu("inspect", damaged, *option), "fetch it again")
    assert_error(tegu("inspect", bundles["ranking"], "--public-key", "00" * 32), "not signed")

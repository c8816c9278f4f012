"""`tegu inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tegu.cli.parsing.public_key import parse_public_key

from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.data.spec import Field

__all__ = ["inspect_command"]


def inspect_command(path: Path, *, as_json: bool, public_key: str | None) -> None:
    """Verify a bundle and show its manifest.

    Raises:
        BundleError: it cannot be trusted or read.
    """
    bundle = read_bundle(path, parse_public_key(public_key))
    if as_json:
        typer.echo(bundle.manifest.to_json().decode())
        return
    console = Console()
    console.print(_summary(path, bundle))
    console.print(_parameters(bundle))


def _summary(path: Path, bundle: Bundle) -> Table:
    manifest = bundle.manifest
    table = Table(title=Text(str(path)), show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    rows = {
        "learner": f"{manifest.learner} ({manifest.paper})",
        "kind": manifest.spec.kind,
        "input": _field(manifest.spec.x),
        "target": _field(manifest.spec.y),
        "knobs": _pairs(manifest.knobs),
        "schedule": "\n".join(f"from k = {entry.k}: {_pairs(entry.knobs)}" for entry in manifest.schedule) or "none",
        "trained on": _pairs({k: v for k, v in manifest.training.items() if k not in ("libraries", "meta")}),
        "held out": "\n".join(map(_heldout, manifest.heldout)) or "not judged",
        "graphs": _pairs({name: f"{len(data) / 1024:.0f} KiB" for name, data in bundle.graphs.items()}),
        "identity": bundle.identity,
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))  # what a file says is no markup
    return table


def _heldout(entry: Mapping[str, Any]) -> str:
    before, after = entry.get("initialisation"), entry.get("personalised")
    if isinstance(before, float) and isinstance(after, float):
        return f"k = {entry.get('k')}: {before:.3f} → {after:.3f}"
    return _pairs(entry)  # the manifest leaves the form free


def _parameters(bundle: Bundle) -> Table:
    table = Table(title="parameters")
    for column in ("name", "shape", "personal"):
        table.add_column(column)
    for name, array in sorted(bundle.meta.items()):
        table.add_row(
            Text(name), "x".join(map(str, array.shape)) or "scalar", "yes" if name in bundle.manifest.fast else ""
        )
    return table


def _field(field: Field) -> str:
    size = f" below {field.size}" if field.size else ""
    return f"{field.dtype}{list(field.shape)}{size}"


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )

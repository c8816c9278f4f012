"""`tegu inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from tegu.cli.keys import public_key_from
from tegu.core.bundle import Bundle, read_bundle
from tegu.core.spec import Field

__all__ = ["inspect_command"]


def inspect_command(path: Path, *, as_json: bool, public_key: str | None) -> None:
    """Verify a bundle and show its manifest.

    Raises:
        BundleError: it cannot be trusted or read.
    """
    bundle = read_bundle(path, public_key_from(public_key))
    if as_json:
        typer.echo(bundle.manifest.to_json().decode())
        return
    console = Console()
    console.print(_summary(path, bundle))
    console.print(_parameters(bundle))


def _summary(path: Path, bundle: Bundle) -> Table:
    manifest = bundle.manifest
    table = Table(title=str(path), show_header=False)
    rows = {
        "learner": f"{manifest.learner} ({manifest.paper})",
        "kind": manifest.spec.kind,
        "input": _field(manifest.spec.x),
        "target": _field(manifest.spec.y),
        "knobs": _pairs(manifest.knobs),
        "schedule": "\n".join(f"from k = {entry.k}: {_pairs(entry.knobs)}" for entry in manifest.schedule) or "none",
        "trained on": _pairs({k: v for k, v in manifest.training.items() if k not in ("libraries", "meta")}),
        "held out": "\n".join(
            f"k = {entry.get('k')}: {entry.get('initialisation', 0):.3f} → {entry.get('personalised', 0):.3f}"
            for entry in manifest.heldout
        )
        or "not judged",
        "graphs": _pairs({name: f"{len(data) / 1024:.0f} KiB" for name, data in bundle.graphs.items()}),
        "identity": bundle.identity,
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _parameters(bundle: Bundle) -> Table:
    table = Table(title="parameters")
    for column in ("name", "shape", "personal"):
        table.add_column(column)
    for name, array in sorted(bundle.meta.items()):
        table.add_row(name, "x".join(map(str, array.shape)) or "scalar", "yes" if name in bundle.manifest.fast else "")
    return table


def _field(field: Field) -> str:
    size = f" below {field.size}" if field.size else ""
    return f"{field.dtype}{list(field.shape)}{size}"


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )

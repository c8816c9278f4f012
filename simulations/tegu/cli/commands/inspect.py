"""`tegu inspect`: verify a bundle and show what it holds."""

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
from tegu.core.bundle.manifest import Manifest, ScheduleEntry
from tegu.core.data.spec import Field
from tegu.core.encoding.words import shown
from tegu.core.notes import visible
from tegu.core.privacy.line import privacy_line

__all__ = ["inspect_command"]

_NOT_SHOWN = ("libraries", "meta", "privacy")  # of the training, in its line


def inspect_command(path: Path, *, as_json: bool, public_key: str | None) -> None:
    """Verify a bundle and show its manifest.

    Raises:
        BundleError: the bundle cannot be read, or its signature or hashes do not match.
    """
    bundle = read_bundle(path, parse_public_key(public_key))
    if as_json:
        typer.echo(bundle.manifest.to_json().decode())
        return
    console = Console()
    console.print(_summary_table(path, bundle))
    console.print(_parameter_table(bundle))


def _summary_table(path: Path, bundle: Bundle) -> Table:
    manifest = bundle.manifest
    table = Table(title=Text(str(path)), show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    rows = {
        "learner": f"{manifest.learner} ({manifest.paper})",
        "kind": manifest.spec.kind,
        "input": _field_text(manifest.spec.x),
        "target": _field_text(manifest.spec.y),
        **_names(manifest),
        "knobs": _values_text(manifest.knobs),
        "schedule": "\n".join(map(_schedule_line, manifest.schedule)) or "none",
        **_harm(manifest),
        "trained on": _values_text({k: v for k, v in manifest.training.items() if k not in _NOT_SHOWN}),
        **_privacy(manifest),
        "held out": "\n".join(map(_heldout_line, manifest.heldout)) or "not evaluated",
        "graphs": _values_text({name: f"{len(data) / 1024:.0f} KiB" for name, data in bundle.graphs.items()}),
        "identity": bundle.identity,
    }
    for name, value in rows.items():
        table.add_row(name, Text(visible(value)))  # text from a file is not markup
    return table


def _privacy(manifest: Manifest) -> dict[str, str]:
    """What training has spent of privacy. The manifest may come from anywhere, so that the entry may be anything."""
    found = manifest.training.get("privacy")
    if not found:
        return {}
    try:
        return {"privacy": privacy_line(found)}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {"privacy": str(found)}


def _schedule_line(entry: ScheduleEntry) -> str:
    return f"from k = {entry.k}: {_values_text(entry.knobs)}"


def _harm(manifest: Manifest) -> dict[str, str]:
    """What calibration has shown about harm at each k, and what other limits would allow."""
    parts = {
        "harm": "\n".join(f"from k = {entry.k}: {entry.harm}" for entry in manifest.schedule if entry.harm),
        "gain by limit": "\n".join(
            f"from k = {entry.k}: {'; '.join(map(str, entry.frontier))}"
            for entry in manifest.schedule
            if entry.frontier
        ),
    }
    return {name: text for name, text in parts.items() if text}


def _names(manifest: Manifest) -> dict[str, str]:
    """What the bundle calls columns, labels and items, for people."""
    encoding = manifest.encoding
    if encoding is None:
        return {}
    parts = {
        "columns": "\n".join(column.describe() for column in encoding.columns),
        "labels": shown(encoding.labels, 20),
        "items": shown(encoding.titles or encoding.items, 20),
        "targets": "\n".join(column.describe() for column in encoding.targets),
    }
    return {name: text for name, text in parts.items() if text}


def _heldout_line(entry: Mapping[str, Any]) -> str:
    before, after = entry.get("initialisation"), entry.get("personalised")
    if isinstance(before, float) and isinstance(after, float):
        return f"k = {entry.get('k')}: {before:.3f} → {after:.3f}"
    return _values_text(entry)  # the manifest does not prescribe the keys


def _parameter_table(bundle: Bundle) -> Table:
    table = Table(title="parameters")
    for column in ("name", "shape", "changed by"):
        table.add_column(column)
    for name, array in sorted(bundle.meta.items()):
        table.add_row(
            Text(visible(name)), "x".join(map(str, array.shape)) or "scalar", _changed_by(name, bundle.manifest)
        )
    return table


def _changed_by(name: str, manifest: Manifest) -> str:
    if name in manifest.fixed_parameters:
        return "nothing (fixed)"
    trained, adapted = name not in manifest.untrained_parameters, name in manifest.adapted_parameters
    return ", ".join(["training"] * trained + ["device"] * adapted) or "nothing"


def _field_text(field: Field) -> str:
    size = f" below {field.size}" if field.size else ""
    return f"{field.dtype}{list(field.shape)}{size}"


def _values_text(values: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )

"""The typed, versioned manifest of a bundle, to and from JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, TypeAlias

from tegu.core.errors import BundleError, TeguError
from tegu.core.spec import Field, Spec

__all__ = ["FORMAT", "Knobs", "Manifest", "ScheduleEntry", "knobs_for"]

FORMAT = 1
Knobs: TypeAlias = Mapping[str, float]


class ScheduleEntry(NamedTuple):
    """Knobs to use from `k` interactions on, until the next entry."""

    k: int
    knobs: Knobs


@dataclass(frozen=True)
class Manifest:
    """What a device must know about a bundle's graphs and arrays.

    Attributes:
        learner: name of the learner, as in the table of learners.
        paper: the publication it follows.
        spec: what the model takes and gives.
        fast: names of the parameters that adapt; the others stay as the server learned them.
        knobs: default values of the graph's scalar inputs (`steps`, `lr`, ...).
        schedule: knobs by number of interactions, ascending in `k`; where it is empty, `knobs` serve always.
        training: how it was trained: users, rounds, seeds, library versions. Free-form, for people.
        heldout: results on people never seen in training, an entry for each k. Free-form, for people.
        members: sha256 in hexadecimal of every other member of the file.
    """

    learner: str
    paper: str
    spec: Spec
    fast: tuple[str, ...]
    knobs: Knobs
    schedule: tuple[ScheduleEntry, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    heldout: tuple[Mapping[str, Any], ...] = ()
    members: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """UTF-8 JSON, the same bytes for the same manifest."""
        body = asdict(self) | {
            "format": FORMAT,
            "schedule": [entry._asdict() for entry in self.schedule],
            "spec": {
                "kind": self.spec.kind,
                "x": self.spec.x._asdict(),
                "y": self.spec.y._asdict(),
                "outputs": self.spec.outputs,
            },
        }
        return json.dumps(body, indent=1, sort_keys=True, allow_nan=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read a manifest back.

        Raises:
            BundleError: not JSON, another format version, or fields of the wrong type.
        """
        try:
            body = json.loads(data)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise BundleError(f"the manifest is not JSON ({error}): fetch the bundle again") from error
        found = body.get("format") if isinstance(body, dict) else None
        if found != FORMAT:
            raise BundleError(
                f"the bundle has format version {found!r} and this Tegu reads {FORMAT}: "
                "upgrade tegu, or export the bundle again"
            )
        try:
            return _parse(body)
        except (KeyError, TypeError, ValueError, TeguError) as error:
            raise BundleError(
                f"the manifest does not fit format {FORMAT} ({error!r}): export it again"
            ) from error


def _parse(body: Mapping[str, Any]) -> Manifest:
    spec = body["spec"]
    return Manifest(
        learner=_text(body["learner"]),
        paper=_text(body["paper"]),
        spec=Spec(_text(spec["kind"]), _field(spec["x"]), _field(spec["y"]), int(spec["outputs"])),  # type: ignore[arg-type] # Spec checks it
        fast=tuple(_text(name) for name in body["fast"]),
        knobs=_knobs(body["knobs"]),
        schedule=tuple(ScheduleEntry(int(entry["k"]), _knobs(entry["knobs"])) for entry in body["schedule"]),
        training=dict(body["training"]),
        heldout=tuple(dict(entry) for entry in body["heldout"]),
        members={_text(name): _text(sha) for name, sha in body["members"].items()},
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value


def _field(value: Mapping[str, Any]) -> Field:
    return Field(tuple(int(n) for n in value["shape"]), _text(value["dtype"]), int(value["size"]))  # type: ignore[arg-type] # Spec checks it


def _knobs(value: Mapping[str, Any]) -> Knobs:
    knobs = {_text(name): float(number) for name, number in value.items()}
    if not all(math.isfinite(number) for number in knobs.values()):
        raise ValueError(f"knobs must be finite, found {knobs}")
    return knobs


def knobs_for(manifest: Manifest, interactions: int) -> Knobs:
    """The knobs for a user with this many interactions: the last schedule entry whose `k` is reached.

    Below the first entry nothing has been calibrated, so `steps` is 0: the initialisation serves as it is.
    """
    if not manifest.schedule:
        return manifest.knobs
    reached = [entry.knobs for entry in manifest.schedule if entry.k <= interactions]
    return {**manifest.knobs, **(reached[-1] if reached else {"steps": 0.0})}

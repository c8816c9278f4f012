"""Which bundles are refused before anything of them runs, whatever their graphs are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import STEPS, Knobs, Manifest
from tegu.core.data.batch import Array
from tegu.core.data.spec import Field
from tegu.core.errors import BundleError, RuntimeFailure

__all__ = ["MAX_ITEMS", "MAX_STATE_BYTES", "MAX_STEPS", "check_bundle", "check_state"]

MAX_STEPS = 1_000_000
MAX_ITEMS = 1 << 24  # of a catalogue; scores of all of them take 64 MiB
MAX_ROW = 1 << 24  # numbers in one row of an input, a target or an output, and in the noise of a user
MAX_NAMES = 20_000  # of parameters, or of knobs
MAX_NAME = 512  # characters
MAX_ENTRIES = 10_000  # of a schedule
MAX_AXES = 16
MAX_STATE_BYTES = 1 << 28
_MOST_OF_A_KNOB = float(np.finfo(np.float32).max)


def check_bundle(bundle: Bundle) -> None:
    """Check what a bundle asks of a device.

    Raises:
        BundleError: a number of steps, a size, a count or a name is beyond the limits of this module, or a parameter is
            not a number.
    """
    _check_manifest(bundle.manifest)
    _check_names("parameters", bundle.meta)
    for name, array in bundle.meta.items():
        _check_parameter(name, array, may_be_infinite=name in bundle.manifest.fixed_parameters)


def check_state(state: Mapping[str, object]) -> None:
    """Check what adapting gave, before it is kept.

    Raises:
        RuntimeFailure: it holds more than numbers, or more of them than a store takes.
    """
    size = 0
    for name, value in state.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            raise RuntimeFailure(f"the state holds {name!r}, which is no array of numbers: export the bundle again")
        size += value.nbytes
    if size > MAX_STATE_BYTES:
        raise RuntimeFailure(
            f"the state has {size} bytes, more than the {MAX_STATE_BYTES} allowed: adapt fewer parameters"
        )


def _check_manifest(manifest: Manifest) -> None:
    _check_names("the learner's and the paper's name", (manifest.learner, manifest.paper))
    parameters = (*manifest.adapted_parameters, *manifest.fixed_parameters, *manifest.untrained_parameters)
    _check_names("adapted, fixed and untrained parameters", parameters)
    _most("schedule entries", len(manifest.schedule), MAX_ENTRIES)
    _most("candidates", len(manifest.candidates), MAX_ENTRIES)
    scheduled = [entry.knobs for entry in manifest.schedule]
    for knobs in (manifest.knobs, manifest.unadapted, *scheduled, *manifest.candidates):
        _check_knobs(knobs)
    for what, number in (("window", manifest.window), *(("k", entry.k) for entry in manifest.schedule)):
        if number < 0:
            raise BundleError(f"the bundle's {what} is {number}: expected 0 or more; ask its publisher")
    spec = manifest.spec
    for what, count in (("outputs", spec.outputs), ("numbers of noise", manifest.noise)):
        _most(what, count, MAX_ROW)
    for name, field in (("x", spec.x), ("y", spec.y), *spec.inputs):
        _check_field(name, field)


def _check_field(name: str, field: Field) -> None:
    _check_names("inputs", [name])
    _most("axes in a row", len(field.shape), MAX_AXES)
    _most(f"numbers in a row of {name}", math.prod(field.shape), MAX_ROW)
    if not field.shape:
        _most(f"ids of {name}", field.size, MAX_ITEMS)


def _check_knobs(knobs: Knobs) -> None:
    _check_names("knobs", knobs)
    large = next((name for name, value in knobs.items() if not abs(value) <= _MOST_OF_A_KNOB), None)
    if large is not None:
        raise BundleError(
            f"the bundle's knob {large!r} is {knobs[large]:g}: expected a number within float32's range; ask its "
            "publisher"
        )
    steps = knobs.get(STEPS, 0)
    if not 0 <= steps <= MAX_STEPS or steps != int(steps):
        raise BundleError(
            f"the bundle asks for {steps:g} steps: expected a whole number from 0 to {MAX_STEPS}; ask its publisher"
        )


def _check_parameter(name: str, array: Array, *, may_be_infinite: bool) -> None:
    _most(f"axes of {name}", array.ndim, MAX_AXES)
    if array.dtype.kind != "f":
        return
    good = ~np.isnan(array) if may_be_infinite else np.isfinite(array)
    if not good.all():
        raise BundleError(f"the parameter {name!r} holds {array[~good].flat[0]}: expected numbers; ask the publisher")


def _check_names(what: str, names: Iterable[str] | Mapping[str, object]) -> None:
    listed = [*names]
    _most(what, len(listed), MAX_NAMES)
    wrong = next((name for name in listed if len(name) > MAX_NAME or not name.isprintable()), None)
    if wrong is not None:
        raise BundleError(
            f"among {what} is the name {wrong[:40]!r}: expected printable text of at most {MAX_NAME} characters; ask "
            "the bundle's publisher"
        )


def _most(what: str, found: int, most: int) -> None:
    if not 0 <= found <= most:
        raise BundleError(f"the bundle has {found} {what}: expected at most {most}; ask its publisher")

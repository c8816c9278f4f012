"""A catalogue of items, or a set of labels, that changes from one bundle to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Field, Spec

__all__ = ["differs_in_catalogue_alone", "in_catalogue", "with_larger_catalogue"]


def differs_in_catalogue_alone(a: Spec, b: Spec) -> bool:
    """Whether two specs are equal but for the number of items, tokens or labels."""
    return _without_sizes(a) == _without_sizes(b) and _is_bounded(a) == _is_bounded(b)


def with_larger_catalogue(a: Spec, b: Spec) -> Spec:
    """The spec that rows of either fit, where `differs_in_catalogue_alone`."""
    x = a.x._replace(size=max(a.x.size, b.x.size))
    y = a.y._replace(size=max(a.y.size, b.y.size))
    return replace(a, x=x, y=y, outputs=max(a.outputs, b.outputs))


def in_catalogue(spec: Spec, x: Array, y: Array) -> Array:
    """Which rows have only items and labels that a bundle of this spec has; bool `[rows]`."""
    return _known(spec.x, x) & _known(spec.y, y)


def _known(field: Field, values: Array) -> Array:
    if not field.size:
        return np.ones(len(values), bool)
    return np.asarray((values < field.size).all(tuple(range(1, values.ndim))))


def _without_sizes(spec: Spec) -> dict[str, Any]:
    body = spec.to_dict()
    sizes = {name: {**body[name], "size": 0} for name in ("x", "y")}
    return {**body, **sizes, **({"outputs": 0} if spec.kind == "classification" else {})}


def _is_bounded(spec: Spec) -> tuple[bool, bool]:
    return spec.x.size > 0, spec.y.size > 0

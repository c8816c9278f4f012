"""Specs that differ in their catalogue of items, or in their labels, alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tegu.core.data.spec import Spec

__all__ = ["differs_in_catalogue_alone", "with_larger_catalogue"]


def differs_in_catalogue_alone(a: Spec, b: Spec) -> bool:
    """Whether two specs are equal but for the number of items, tokens or labels."""
    return _without_sizes(a) == _without_sizes(b) and _is_bounded(a) == _is_bounded(b)


def with_larger_catalogue(a: Spec, b: Spec) -> Spec:
    """The spec that rows of either fit, where `differs_in_catalogue_alone`."""
    x = a.x._replace(size=max(a.x.size, b.x.size))
    y = a.y._replace(size=max(a.y.size, b.y.size))
    return replace(a, x=x, y=y, outputs=max(a.outputs, b.outputs))


def _without_sizes(spec: Spec) -> dict[str, Any]:
    body = spec.to_dict()
    sizes = {name: {**body[name], "size": 0} for name in ("x", "y")}
    return {**body, **sizes, **({"outputs": 0} if spec.kind == "classification" else {})}


def _is_bounded(spec: Spec) -> tuple[bool, bool]:
    return spec.x.size > 0, spec.y.size > 0

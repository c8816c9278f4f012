"""Cost of storing the initialisation in fewer bytes: the loss on held-out users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tegu.core.bundle.file import tree_to_bytes
from tegu.core.compression.precision import Precision
from tegu.core.compression.stored_parameters import pack_parameters, unpack_parameters
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.run_result import RunResult

__all__ = ["StorageCost", "storage_cost"]


class StorageCost(NamedTuple):
    """Results with the parameters that a device restores from the file.

    Attributes:
        curve: as in `metrics.json`, with the restored parameters. The baselines' figures are copied from the original.
        figures: `precision` in `metrics.json`: the name of the precision, the bytes of `meta.safetensors`, its bytes
            in float32, and by k the loss in the mean personalised metric. A positive loss is worse for any metric.
    """

    curve: list[dict[str, Any]]
    figures: dict[str, Any]


def storage_cost(run: RunResult, curve: Sequence[dict[str, Any]], precision: Precision) -> StorageCost:
    """Evaluate the restored parameters on the trials that evaluated the run itself.

    Args:
        run: the run, with the parameters as trained.
        curve: the held-out results of these parameters.
        precision: the precision that they are stored in.

    Raises:
        DataError: a parameter holds a value that the precision cannot represent.
    """
    packed = pack_parameters(run.bundle.meta, precision)
    restored = evaluate_heldout(replace(run, bundle=replace(run.bundle, meta=unpack_parameters(packed))), {}).curve
    pairs = list(zip(curve, restored, strict=True))
    loss = {
        str(before["k"]): float(run.metric.gain(np.asarray(before["personalised"]), np.asarray(after["personalised"])))
        for before, after in pairs
    }
    return StorageCost(
        [{**after, "baselines": before["baselines"]} for before, after in pairs],
        {
            "name": precision,
            "bytes": len(tree_to_bytes(packed)),
            "float32_bytes": len(tree_to_bytes(run.bundle.meta)),
            "loss": loss,
        },
    )

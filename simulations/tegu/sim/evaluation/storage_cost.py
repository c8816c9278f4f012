"""What it costs to store the initialisation in fewer bytes, on people never seen in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tegu.core.bundle.file import tree_to_bytes
from tegu.core.compression.precision import Precision
from tegu.core.compression.stored_parameters import pack_parameters, unpack_parameters
from tegu.sim.evaluation.heldout import judge
from tegu.sim.run import Run

__all__ = ["Stored", "judge_stored"]


class Stored(NamedTuple):
    """The parameters as a device will have them, judged.

    Attributes:
        curve: as in `metrics.json`, of the restored parameters; the baselines are those of what was trained.
        figures: `precision` in `metrics.json`: its name, the bytes of `meta.safetensors` and what they would be in
            float32, and by k how much worse the mean personalised metric is, positive for worse whatever the metric.
    """

    curve: list[dict[str, Any]]
    figures: dict[str, Any]


def judge_stored(run: Run, curve: Sequence[dict[str, Any]], precision: Precision) -> Stored:
    """Judge what a reader restores, on the trials that the run itself was judged on.

    Args:
        run: with the parameters as they were trained.
        curve: how those do.
        precision: what they are stored as.

    Raises:
        DataError: a parameter with a value that the precision cannot hold.
    """
    packed = pack_parameters(run.bundle.meta, precision)
    restored = judge(replace(run, bundle=replace(run.bundle, meta=unpack_parameters(packed))), {}).curve
    pairs = list(zip(curve, restored, strict=True))
    loss = {
        str(before["k"]): float(run.metric.gain(np.asarray(before["personalised"]), np.asarray(after["personalised"])))
        for before, after in pairs
    }
    return Stored(
        [{**after, "baselines": before["baselines"]} for before, after in pairs],
        {
            "name": precision,
            "bytes": len(tree_to_bytes(packed)),
            "float32_bytes": len(tree_to_bytes(run.bundle.meta)),
            "loss": loss,
        },
    )

"""All models of the zoo, by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.zoo.entry import Entry
from tests.zoo.models.activations import ACTIVATIONS
from tests.zoo.models.convolutions import CONVOLUTIONS
from tests.zoo.models.images import IMAGES
from tests.zoo.models.layers import LAYERS
from tests.zoo.models.losses import LOSSES
from tests.zoo.models.operations import OPERATIONS
from tests.zoo.models.pooling import POOLING
from tests.zoo.models.recommenders import RECOMMENDERS
from tests.zoo.models.recurrent import RECURRENT
from tests.zoo.models.tabular import TABULAR
from tests.zoo.models.transformers import TRANSFORMERS

__all__ = ["GROUPS", "ZOO"]

GROUPS: Mapping[str, Sequence[Entry]] = {
    "Activations": ACTIVATIONS,
    "Layers": LAYERS,
    "Pooling": POOLING,
    "Convolutions, padding and resampling": CONVOLUTIONS,
    "Image networks": IMAGES,
    "Attention and transformers": TRANSFORMERS,
    "Recurrent networks": RECURRENT,
    "Recommenders": RECOMMENDERS,
    "Tables": TABULAR,
    "Tensor operations": OPERATIONS,
    "Losses": LOSSES,
}
ZOO = {entry.name: entry for group in GROUPS.values() for entry in group}

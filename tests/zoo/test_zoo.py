"""Every model of the zoo trains, adapts on a device and agrees with plain torch, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.zoo.catalogue import GROUPS, ZOO
from tests.zoo.personalise import personalise
from tests.zoo.selection import LIKE, SUITE

from tegu.core.errors import TeguError

# Every eighth model of the suite runs in its quick part, and the others in its slow part.
QUICK = {name for group in GROUPS.values() for name in [entry.name for entry in group if entry.name in SUITE][::8]}
MODELS = [
    *(pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SUITE),
    *(pytest.param(name, marks=(pytest.mark.slow, pytest.mark.zoo)) for name in LIKE),
]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_works_or_is_refused(name: str, tmp_path: Path) -> None:
    entry = ZOO[name]
    if entry.refused is None:
        personalise(entry, tmp_path)
        return
    with pytest.raises(TeguError, match=entry.refused):
        personalise(entry, tmp_path)

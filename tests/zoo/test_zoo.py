"""Every model of the zoo trains, adapts on a device and agrees with plain torch, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.zoo.catalogue import GROUPS, ZOO
from tests.zoo.personalise import personalise

from tegu.core.errors import TeguError

# Every eighth model runs always, and all of them in the slow part.
ALWAYS = {entry.name for group in GROUPS.values() for entry in group[::8]}
MODELS = [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow) for name in ZOO]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_works_or_is_refused(name: str, tmp_path: Path) -> None:
    entry = ZOO[name]
    if entry.refused is None:
        personalise(entry, tmp_path)
        return
    with pytest.raises(TeguError, match=entry.refused):
        personalise(entry, tmp_path)

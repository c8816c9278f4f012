"""A package whose dependency is not installed names the extra that installs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tegu.core.errors import MissingExtraError, missing_extra

WITHOUT = """
import sys
sys.modules[{module!r}] = None  # as if it were not installed
from tegu.core.errors import MissingExtraError
try:
    {statement}
except MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "statement", "extra"),
    [
        ("torch", "from tegu.sim import simulate", "sim"),
        ("flwr", "from tegu.sim import simulate", "sim"),
        ("torch", "import tegu.compile", "server"),
        ("onnxscript", "import tegu.compile", "server"),
        ("torch", "import tegu.learners", "torch"),
        ("torch", "from tegu.server import TrainingPlan", "server"),
        ("flwr", "from tegu.server import MetaStrategy", "server"),
    ],
)
def test_the_extra_is_named(module: str, statement: str, extra: str) -> None:
    program = WITHOUT.format(module=module, statement=statement)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == f"{module} is not installed: pip install 'tegu[{extra}]'\n", done.stderr


def test_an_absent_module_of_tegu_is_no_missing_extra() -> None:
    own, other = ModuleNotFoundError(name="tegu.nothing"), ModuleNotFoundError(name="torch.nn")
    assert missing_extra(own, "sim") is own
    found = missing_extra(other, "sim")
    assert isinstance(found, MissingExtraError)
    assert str(found) == "torch is not installed: pip install 'tegu[sim]'"

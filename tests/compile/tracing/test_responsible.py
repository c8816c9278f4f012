"""The line of the user's code that an error came from."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from tegu.compile.tracing.responsible import user_line


@pytest.mark.parametrize("folder", ["app", "torch", "tegu", "onnx"])
def test_the_users_line_is_found_whatever_his_folder_is_called(tmp_path: Path, folder: str) -> None:
    file = tmp_path / folder / "model.py"
    file.parent.mkdir()
    file.write_text("import torch\n\n\ndef product(x):\n    return torch.matmul(x, torch.ones(7))\n")
    product = runpy.run_path(str(file))["product"]
    with pytest.raises(RuntimeError) as raised:
        product(torch.ones(3))
    assert user_line(raised.value) == "model.py, line 5: return torch.matmul(x, torch.ones(7))"


def test_a_library_has_no_users_line() -> None:
    try:
        torch.nn.functional.one_hot(torch.tensor([-1]))
    except RuntimeError as error:
        own = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        assert user_line(own) is None

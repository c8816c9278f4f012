"""What importing the client brings with it, and when."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import tegu.client

Run = Callable[..., "subprocess.Popen[str]"]

_LOADED = "print(*(name for name in {names} if name in sys.modules))"


def _printed(process: subprocess.Popen[str]) -> list[str]:
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return printed.splitlines()


def test_the_package_alone_imports_nothing_heavy(run_script: Run) -> None:
    names = ["numpy", "onnxruntime", "sqlite3", "safetensors", "tegu.client.personalizer", "tegu.client.store.store"]
    assert _printed(run_script(f"import sys, tegu.client; {_LOADED.format(names=names)}")) == [""]


def test_onnx_runtime_comes_with_the_first_graph(run_script: Run, linear_file: Path) -> None:
    loaded = _LOADED.format(names=["onnxruntime"])
    source = f"""if True:
        import sys
        from tegu.client import Personalizer
        p = Personalizer.open(sys.argv[1])
        p.observe([0, 1, 2], [1])
        {loaded}
        p.adapt()
        {loaded}
        p.close()
    """
    assert _printed(run_script(source, linear_file)) == ["", "onnxruntime"]


def test_a_device_that_starts_leaves_out_what_only_writing_and_errors_need(run_script: Run, linear_file: Path) -> None:
    names = ["tempfile", "random", "difflib", "torch", "flwr", "onnx", "pandas", "cryptography"]
    source = f"""if True:
        import sys
        from tegu.client import Personalizer
        with Personalizer.open(sys.argv[1]) as p:
            p.observe([0, 1, 2], [1])
            p.adapt()
            p.predict([0, 1, 2])
        {_LOADED.format(names=names)}
    """
    assert _printed(run_script(source, linear_file)) == [""]


@pytest.mark.parametrize("name", tegu.client.__all__)
def test_every_public_name_is_there_and_listed(run_script: Run, name: str) -> None:
    source = f"import tegu.client; print({name!r} in dir(tegu.client)); from tegu.client import {name}; print({name})"
    listed, shown = _printed(run_script(source))
    assert listed == "True"
    assert shown.startswith(("<class 'tegu.client.", "<function repair_store at "))
    assert f"{name}" in shown


def test_all_of_them_at_once(run_script: Run) -> None:
    assert _printed(run_script("from tegu.client import *; print(Personalizer.__name__, Store.__name__)")) == [
        "Personalizer Store"
    ]


def test_a_name_that_is_not_there_is_an_attribute_error(run_script: Run) -> None:
    with pytest.raises(AttributeError, match=r"module 'tegu\.client' has no attribute 'Personaliser'"):
        getattr(tegu.client, "Personaliser")  # noqa: B009 # type checkers know that it is not there

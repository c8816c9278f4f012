"""Which package may import which: core none, learners and wire core, then client, compile and server, then sim."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.architecture.source_tree import REPOSITORY, ROOTS, imports_of, source_files


@dataclass(frozen=True)
class Rule:
    """What a package's files may import, besides the standard library.

    Attributes:
        tegu: packages of Tegu.
        others: packages of others; None means any.
    """

    tegu: frozenset[str]
    others: frozenset[str] | None = None

    def allows(self, module: str) -> bool:
        top, *rest = module.split(".")
        if top == "tegu":
            return bool(rest) and rest[0] in self.tegu
        return top != "tests" and (self.others is None or top in self.others or top in sys.stdlib_module_names)


def rule(tegu: str, others: str | None = None) -> Rule:
    return Rule(frozenset(tegu.split()), None if others is None else frozenset(others.split()))


PACKAGES = {
    "core": rule("core", "numpy safetensors"),
    "learners": rule("core learners", "numpy torch"),
    "wire": rule("core wire", "numpy flwr"),  # what device and server agree on where Flower carries it
    "client": rule("core client", "numpy"),
    "compile": rule("core learners compile"),
    "server": rule("core learners wire server"),  # the federation trains what is compiled already
    "sim": rule("core learners wire client compile server sim"),
    "cli": rule("core learners wire client compile server sim bench cli"),
    "bench": rule("core learners wire client compile server sim cli bench"),
}
NOWHERE = rule("", "")  # even its own modules: so a new package shows up at once
EXCEPTIONS = {
    "client/runtimes/torch_runtime.py": rule("core client learners", "numpy torch"),
    "client/runtimes/in_torch/gradient_steps.py": rule("core client learners", "numpy torch"),
    "client/runtimes/in_torch/learner_functions.py": rule("core client learners", "numpy torch"),
    "client/federation/answers.py": rule("core client wire", "numpy"),
    "client/federation/client_app.py": rule("core client wire", "numpy flwr"),
    "client/federation/people.py": rule("core client wire", "numpy"),
    "client/federation/versions.py": rule("core client wire", "numpy"),
    "client/participant/flower/fleet.py": rule("core client", "cryptography"),
    "client/participant/flower/protobuf.py": rule("core client", "google"),
    "client/participant/rounds.py": rule("core client wire", "numpy"),
}


def rule_for(file: str) -> Rule:
    """The rule for a path below `tegu/`. A package without one has to be given its place in `PACKAGES`."""
    return EXCEPTIONS.get(file) or PACKAGES.get(file.split("/", maxsplit=1)[0], NOWHERE)


def violations(source: str, file: str) -> list[str]:
    """The imports of a file (a path below `tegu/`) that its package may not make."""
    allowed = rule_for(file)
    return [
        f"tegu/{file}:{each.line} imports {each.module}"
        for each in imports_of(source, file)
        if not allowed.allows(each.module)
    ]


def test_nobody_imports_what_it_must_not() -> None:
    assert [found for path, file in source_files() for found in violations(path.read_text("utf-8"), file)] == []


def test_the_walk_sees_every_root() -> None:
    seen = {file for _, file in source_files()}
    assert seen >= {"core/data/tree.py", "client/personalizer.py", "server/app.py", "compile/device.py", "sim/run.py"}
    source = (REPOSITORY / "shared/tegu/core/data/tree.py").read_text("utf-8")
    found = {each.module for each in imports_of(source, "core/data/tree.py")}
    assert found >= {"numpy", "tegu.core.data.batch", "collections.abc"}


@pytest.mark.parametrize("root", ROOTS)
def test_no_root_hides_the_others(root: str) -> None:
    """A `tegu/__init__.py` in one root makes it the only one that Python finds."""
    assert (REPOSITORY / root / "tegu").is_dir()
    assert not (REPOSITORY / root / "tegu" / "__init__.py").exists()


def test_no_two_roots_hold_one_package() -> None:
    """Of two folders `tegu/x` with an `__init__.py`, Python finds the first only."""
    homes: dict[str, set[Path]] = {}
    for path, file in source_files():
        homes.setdefault(file.split("/")[0], set()).add(path.parents[file.count("/")])
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_tegu_is_a_namespace() -> None:
    found = importlib.util.find_spec("tegu")
    assert found is not None
    assert found.origin is None
    assert str(REPOSITORY / "shared/tegu") in list(found.submodule_search_locations or [])


@pytest.mark.parametrize(
    ("file", "source", "imported"),
    [
        ("core/x.py", "import torch", "torch"),
        ("core/x.py", "import numpy.linalg, pandas as pd", "pandas"),
        ("core/x.py", "from cryptography import x509", "cryptography"),
        ("core/x.py", "from tegu.learners import reptile", "tegu.learners"),
        ("core/x.py", "from tegu import server", "tegu.server"),
        ("core/x.py", "from tegu import core, client", "tegu.client"),
        ("core/x.py", "import tegu", "tegu"),
        ("core/x.py", "from .. import learners", "tegu.learners"),
        ("core/x.py", "from ..learners.algorithms.reptile import reptile", "tegu.learners.algorithms.reptile"),
        ("core/x.py", "def late():\n    import onnx", "onnx"),
        ("core/x.py", "if TYPE_CHECKING:\n    from torch import Tensor", "torch"),
        ("core/x.py", "try:\n    import flwr\nexcept ImportError:\n    pass", "flwr"),
        ("core/x.py", "require('tegu.compile', 'server')", "tegu.compile"),
        ("core/x.py", "importlib.import_module('tegu.sim')", "tegu.sim"),
        ("core/deep/x.py", "from ... import server", "tegu.server"),
        ("core/x.py", "from tests.core.samples import bundle", "tests.core.samples"),
        ("learners/x.py", "from tegu.server import strategy", "tegu.server"),
        ("learners/x.py", "import torch_optimizer", "torch_optimizer"),
        ("wire/x.py", "import torch", "torch"),
        ("wire/x.py", "from tegu.server import strategy", "tegu.server"),
        ("core/x.py", "from tegu.wire import Reply", "tegu.wire"),
        ("learners/x.py", "from tegu.wire import Reply", "tegu.wire"),
        ("client/x.py", "from tegu.wire import Reply", "tegu.wire"),
        ("client/x.py", "import torch", "torch"),
        ("client/x.py", "import onnxruntime", "onnxruntime"),
        ("client/x.py", "import flwr", "flwr"),
        ("client/x.py", "from tegu.learners import reptile", "tegu.learners"),
        ("client/deep/torch_runtime.py", "import torch", "torch"),
        ("client/runtimes/torch_runtime.py", "import flwr", "flwr"),
        ("client/runtimes/torch_runtime.py", "import tegu.server", "tegu.server"),
        ("client/federation/client_app.py", "import torch", "torch"),
        ("client/federation/client_app.py", "import tegu.learners", "tegu.learners"),
        ("client/x.py", "import tegu.compile", "tegu.compile"),
        ("server/x.py", "from tegu.client import Personalizer", "tegu.client"),
        ("server/x.py", "from tegu.sim import population", "tegu.sim"),
        ("server/x.py", "from tegu.cli.main import main", "tegu.cli.main"),
        ("server/x.py", "from tegu import bench", "tegu.bench"),
        ("sim/x.py", "from tegu.cli import main", "tegu.cli"),
        ("sim/x.py", "from tegu.bench import peers", "tegu.bench"),
        ("sim/x.py", "import tests", "tests"),
        ("cli/x.py", "import tests.core", "tests.core"),
        ("bench/x.py", "from tests import core", "tests"),
    ],
)
def test_a_violation_is_found(file: str, source: str, imported: str) -> None:
    assert [found.rsplit(" ", maxsplit=1)[1] for found in violations(source, file)] == [imported]


def test_a_violation_tells_where_it_stands() -> None:
    source = "import json\n\n\ndef late():\n    import torch\n    import onnx\n"
    assert violations(source, "core/x.py") == ["tegu/core/x.py:5 imports torch", "tegu/core/x.py:6 imports onnx"]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "core/x.py",
            "from __future__ import annotations\nimport json, numpy.typing\nfrom safetensors.numpy import load",
        ),
        ("core/x.py", "from tegu.core import tree\nfrom . import batch\nfrom .spec import Spec\nfrom tegu import core"),
        ("core/x.py", "require('cryptography.exceptions', 'signing')"),
        (
            "learners/x.py",
            "import torch\nfrom torch import nn\nfrom tegu.core.data.batch import Batch\nfrom .losses import Loss",
        ),
        (
            "client/x.py",
            "import sqlite3\nrequire('onnxruntime', 'onnx')\nimport_module('tegu.client.runtimes.runtime')",
        ),
        (
            "client/runtimes/torch_runtime.py",
            "import torch\nfrom tegu.learners import reptile",
        ),
        ("wire/x.py", "from flwr.app import Message\nfrom tegu.core import tree"),
        ("client/federation/client_app.py", "from flwr.clientapp import ClientApp\nfrom tegu.wire import Reply"),
        ("server/x.py", "import flwr, onnx, torch\nfrom tegu.learners import reptile\nfrom tegu.core import tree"),
        ("sim/x.py", "import matplotlib\nfrom tegu.client import Personalizer\nimport tegu.server, tegu.learners"),
        ("cli/x.py", "import typer\nfrom tegu import bench, client, server, sim"),
    ],
)
def test_what_is_allowed_is_not_found(file: str, source: str) -> None:
    assert violations(source, file) == []


def test_every_package_has_its_rule() -> None:
    assert {file.split("/")[0] for _, file in source_files()} <= set(PACKAGES)


def test_a_package_without_a_rule_may_import_nothing() -> None:
    assert violations("from tegu.core import tree", "novel/x.py") == ["tegu/novel/x.py:1 imports tegu.core"]


def test_core_runs_without_the_heavy_packages() -> None:
    heavy = {"torch", "flwr", "onnx", "onnxruntime", "pandas", "cryptography", "hypothesis"}
    modules = [file.removesuffix(".py").replace("/", ".") for _, file in source_files() if file.startswith("core/")]
    program = f"import sys, {', '.join(f'tegu.{name}' for name in modules)}; print(*sorted(sys.modules), sep='\\n')"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    loaded = {name.split(".")[0] for name in printed.split()}
    assert {"tegu", "numpy", "safetensors"} <= loaded
    assert loaded & heavy == set()

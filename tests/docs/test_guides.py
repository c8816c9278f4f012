"""The code of every guide runs, with public names only."""

from __future__ import annotations

import ast
import json
import re
import socket
from pathlib import Path

import pytest
from tests.docs.guides import PAGES, blocks, run_python, run_shell

from tegu.compile import make_bundle
from tegu.core import Spec, read_bundle, write_bundle
from tegu.learners import reptile
from tegu.learners.catalogue import LEARNERS
from tegu.sim.experiments.models.film_taste import FilmTaste


@pytest.mark.parametrize("page", [page.stem for page in PAGES if page.stem != "operate"])  # which has commands alone
def test_guides_import_public_packages_only(page: str) -> None:
    tree = ast.parse(blocks(page, "python"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    own = {module for module in modules if module.split(".")[0] == "tegu"}
    assert own
    assert all(module.count(".") == 1 for module in own), f"{own}: expected packages such as tegu.client"


def test_embed(tmp_path: Path) -> None:
    learner = reptile(FilmTaste(300, 4), Spec.ranking(300), adapted_parameters=["user"], init="fresh")
    write_bundle(tmp_path / "init.tegu", make_bundle(learner, learner.init(0)))
    said = run_python("embed", tmp_path)
    assert re.search(r"^True .*all 5 steps", said, re.MULTILINE), "the adaptation was kept"
    assert "x holds the id -1" in said
    assert said.rstrip().endswith("reptile"), "the signed bundle opens"


def test_which_learner(tmp_path: Path) -> None:
    named = run_python("which_learner", tmp_path).split()
    assert [name for name in named if name in LEARNERS] == ["prototypical_networks", "r2d2", "maml"]


@pytest.mark.slow
@pytest.mark.xdist_group("documents")  # the README trains the same network
def test_train(tmp_path: Path) -> None:
    said = run_python("train", tmp_path)
    assert "('body.0.weight', 'body.0.bias', 'body.1.weight', 'body.1.bias')" in said
    schedule = read_bundle(tmp_path / "init.tegu").manifest.schedule
    assert [entry.k for entry in schedule] == [1, 2, 5, 10, 20]
    assert schedule[-1].gain > 0


@pytest.mark.slow
def test_tables(tmp_path: Path) -> None:
    said = run_python("tables", tmp_path)
    assert "('age', 'age is missing', 'channel=mail', 'channel=phone', 'channel=web', 'member', 'sent')" in said
    assert re.search(r"^\['(urgent|later)' '(urgent|later)'\]", said, re.MULTILINE)
    logits = re.findall(r"^\[\[.*\n.*\]\]", said, re.MULTILINE)
    assert len(logits) == 2
    assert logits[0] == logits[1], "the order of columns has no influence"
    ids, titles = re.findall(r"^\[([\d ]+)\] (\[.*\])", said, re.MULTILINE)[0]
    assert set(map(int, ids.split())) <= {260, 1196, 858, 318}, "what was seen is left out"
    known = {"260": "Star Wars", "1196": "The Empire Strikes Back", "858": "The Godfather", "318": "318"}
    assert titles == str([known[item] for item in ids.split()])
    manifest = read_bundle(tmp_path / "films.tegu").manifest
    assert manifest.encoding is not None
    assert manifest.encoding.titles[-1] == "The Matrix"


@pytest.mark.slow
def test_learner(tmp_path: Path) -> None:
    said = run_python("learner", tmp_path)
    manifest = read_bundle(tmp_path / "offset.tegu").manifest
    assert manifest.learner == "offset"
    assert manifest.schedule[-1].gain > 0
    before, after = (float(line.strip("[]")) for line in said.splitlines() if line.startswith("[["))
    assert before == 0, "nothing is adapted yet"
    assert after > 1, "two interactions of about 3 were seen"


@pytest.mark.slow
@pytest.mark.xdist_group("superlink-learners")
def test_federation(tmp_path: Path) -> None:
    run_python("federation", tmp_path)
    script = blocks("federation", "sh")
    assert 'address = "127.0.0.1:8000"' in script
    run_shell(script.replace("127.0.0.1:8000", f"127.0.0.1:{free_port()}"), tmp_path)
    rounds = json.loads((tmp_path / "federated" / "rounds.json").read_text("utf-8"))
    assert [len(entry["nodes"]) for entry in rounds["log"]] == [3, 3, 3]
    assert [entry.k for entry in read_bundle(tmp_path / "federated" / "init.tegu").manifest.schedule] == [1, 5]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""What the README shows runs as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tegu.compile import make_bundle
from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.data.spec import Spec
from tegu.learners import reptile
from tegu.sim.experiments.movielens import FilmTaste

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")

AGAIN = """
import sys

with Personalizer.open("runs/movielens/init.tegu", store="me.db") as person:
    print(person.recommend(10)[0].tolist())
print("torch" in sys.modules)
"""


def block(heading: str) -> str:
    """The Python code under a heading."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None, f"no code under {heading}"
    return found[1]


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.slow
def test_training_writes_a_bundle_that_helps(tmp_path: Path) -> None:
    run(block("Train an initialisation"), tmp_path)
    bundle = read_bundle(tmp_path / "init.tegu")
    assert bundle.manifest.spec == Spec.classification((8,), 2)
    assert [entry.k for entry in bundle.manifest.schedule] == [1, 2, 5, 10, 20]
    assert bundle.manifest.schedule[-1].knobs["steps"] > 0


def test_the_device_recommends_and_adapts(tmp_path: Path) -> None:
    learner = reptile(FilmTaste(300, 4), Spec.ranking(300), adapted_parameters=["user"])
    (tmp_path / "runs/movielens").mkdir(parents=True)
    write_bundle(tmp_path / "runs/movielens/init.tegu", make_bundle(learner, learner.init(0)))
    said = run(block("On the device") + AGAIN, tmp_path)
    assert "AdaptReport(steps=5" in said
    assert "interactions=3" in said
    items, torch = said.splitlines()[-2:]
    assert torch == "False"
    assert len(json.loads(items)) == 10
    assert not {260, 17, 3} & set(json.loads(items)), "what was seen is left out"


def test_every_figure_of_the_demo_has_its_method() -> None:
    """The table is `make demo`'s: all of its rows, no more."""
    table = README.split("<!-- demo table -->\n", 1)[1].split("<!-- end -->", 1)[0]
    names = [line.split("|")[1].strip() for line in table.splitlines()]
    assert names[2:] == [
        "personalised", "initialisation", "popularity", "ease", "local_only", "fedsgd", "fedsgd_finetuned", "fedavg",
        "mean gain", "gain, 95% CI lower", "gain, 95% CI upper", "mean gain, worst decile", "hurt by adapting",
        "any decline", "held-out users",
    ]  # fmt: skip


def test_links_lead_to_files() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing

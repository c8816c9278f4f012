"""The README's code runs, and its demo table is what the command prints."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tegu.compile import make_bundle
from tegu.core import Spec, read_bundle, write_bundle
from tegu.learners import reptile
from tegu.sim.experiments.baselines.for_spec import RANKINGS
from tegu.sim.experiments.models.film_taste import FilmTaste

# In one process: the demo runs once, and the README and the guides train the same network.
pytestmark = pytest.mark.xdist_group("documents")
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


def table_after(mark: str, text: str) -> list[list[str]]:
    """Cells of the first Markdown table after a mark, row by row, without the rule under the header."""
    lines = text.split(mark, 1)[1].splitlines()
    after = itertools.dropwhile(lambda line: not line.startswith("|"), lines)
    table = itertools.takewhile(lambda line: line.startswith("|"), after)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return [rows[0], *rows[2:]]


@dataclass(frozen=True)
class Demo:
    """One run of the README's first experiment.

    Attributes:
        folder: the folder it ran in.
        printed: what it printed.
    """

    folder: Path
    printed: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo's training, once for all tests of it."""
    folder = tmp_path_factory.mktemp("demo")
    command = [str(Path(sys.executable).parent / "tegu"), "simulate", "movielens", "--out", "runs/movielens"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return Demo(folder, done.stdout)


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
    learner = reptile(FilmTaste(300, 4), Spec.ranking(300), adapted_parameters=["user"], init="fresh")
    (tmp_path / "runs/movielens").mkdir(parents=True)
    write_bundle(tmp_path / "runs/movielens/init.tegu", make_bundle(learner, learner.init(0)))
    said = run(block("On the device") + AGAIN, tmp_path)
    assert "AdaptReport(steps=5" in said
    assert "interactions=3" in said
    items, torch = said.splitlines()[-2:]
    assert torch == "False"
    assert len(json.loads(items)) == 10
    assert not {260, 17, 3} & set(json.loads(items)), "seen items are left out"


def test_the_demo_table_has_all_rows() -> None:
    """The run first, then the baselines in the order of their strength, then gain and harm."""
    rows = [row[0] for row in table_after("<!-- demo table -->", README)[1:]]
    figures = [
        "mean gain", "gain, 95% CI lower", "gain, 95% CI upper", "mean gain, worst decile", "materially hurt",
        "90% bound, calibration", "any decline", "harm ratio",
        "harm ratio less noise", "held-out users",
    ]  # fmt: skip
    assert rows[:2] == ["personalised", "initialisation"]
    assert rows[-len(figures) :] == figures
    assert set(RANKINGS) <= set(rows[2 : -len(figures)])


@pytest.mark.slow
def test_the_demo_table_is_what_the_command_prints(demo: Demo) -> None:
    """Every figure to the last digit; the README's blanks and column widths are its own."""
    printed = table_after("recall@10 on ", demo.printed)
    shown = table_after("<!-- demo table -->", README)
    assert [row[0] for row in shown] == [row[0] for row in printed]
    assert {row[0]: row[1:] for row in shown} == {row[0]: row[1:] for row in printed}


@pytest.mark.slow
def test_the_demo_has_as_many_users_as_the_readme_says(demo: Demo) -> None:
    """Those who train and those who calibrate."""
    metrics = json.loads((demo.folder / "runs/movielens/metrics.json").read_text("utf-8"))
    learned_from = metrics["train_users"] + metrics["calibration_users"]
    assert f"learn from {learned_from} film viewers" in README


@pytest.mark.slow
def test_the_device_recommends_from_the_demo(demo: Demo) -> None:
    said = run(block("On the device"), demo.folder)
    assert "kept=True" in said


def leads_somewhere(link: str) -> bool:
    """Whether there is such a file and, if the link names one, such a heading in it."""
    path, _, heading = link.partition("#")
    if not heading or not (ROOT / path).exists():
        return (ROOT / path).exists()
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text("utf-8"), re.MULTILINE)
    return heading in {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_links_lead_to_files_and_headings() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    missing = [link for link in links if not leads_somewhere(link)]
    assert not missing

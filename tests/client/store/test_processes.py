"""Several processes at one store, and one that is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tegu.client import Personalizer

Start = Callable[..., "subprocess.Popen[str]"]

OBSERVE_FOREVER = """
import sys, itertools, numpy
from tegu.client import Personalizer
with Personalizer.open(sys.argv[1], sys.argv[2]) as p:
    for i in itertools.count():
        p.observe(numpy.full((3, 3), i), numpy.full(3, i))
        print(i, flush=True)
"""

OBSERVE_FIFTY = """
import sys, numpy
from tegu.client import Personalizer
print("ready", flush=True)
sys.stdin.readline()
with Personalizer.open(sys.argv[1], sys.argv[2]) as p:
    for i in range(50):
        p.observe(numpy.full(3, int(sys.argv[3]) + i), i)
    p.adapt()
"""

IMPORTS = """
import sys
import tegu.client
print(sorted({"onnxruntime", "torch", "flwr", "onnx", "pandas"} & set(sys.modules)))
p = tegu.client.Personalizer.open(sys.argv[1], sys.argv[2])
p.observe([1.0, 2.0, 3.0], 4.0)
p.adapt(budget_ms=50)
p.predict([[1.0, 2.0, 3.0]])
p.close()
print(sorted({"onnxruntime", "torch", "flwr", "onnx", "pandas"} & set(sys.modules)))
"""


def test_what_observe_returned_for_survives_a_kill(run_script: Start, linear_file: Path, tmp_path: Path) -> None:
    with run_script(OBSERVE_FOREVER, linear_file, tmp_path / "me.db") as process:
        assert process.stdout is not None
        for _ in range(20):
            last = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read().split()
    last = int(rest[-1]) if rest else last
    with Personalizer.open(linear_file, tmp_path / "me.db") as p:
        rows = p._store.load()
        # The observation under way when it was killed is there whole or not at all.
        assert p.count in (3 * (last + 1), 3 * (last + 2))
        np.testing.assert_array_equal(rows.x[:, 0], np.repeat(np.arange(p.count // 3), 3))
        p.adapt()


def test_processes_observe_at_the_same_time(linear_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", OBSERVE_FIFTY, linear_file, tmp_path / "me.db"]
    started = [
        subprocess.Popen([*command, str(start)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for start in (0, 1000, 2000)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    for process in started:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Personalizer.open(linear_file, tmp_path / "me.db") as p:
        found = p._store.load().x[:, 0].astype(int).tolist()
    assert sorted(found) == [*range(50), *range(1000, 1050), *range(2000, 2050)]
    for start in (0, 1000, 2000):
        own = [i for i in found if start <= i < start + 50]
        assert own == sorted(own)


def test_a_device_needs_numpy_and_onnx_runtime_alone(run_script: Start, linear_file: Path, tmp_path: Path) -> None:
    process = run_script(IMPORTS, linear_file, tmp_path / "me.db")
    out, err = process.communicate(timeout=60)
    assert err == ""
    assert out.splitlines() == ["[]", "['onnxruntime']"]

"""The task of `tegu bench start` in Tegu's client: open, observe, adapt, predict."""

import sys
from pathlib import Path

import numpy as np

from tegu.client import Personalizer

folder = Path(sys.argv[1])
with np.load(folder / "rows.npz") as rows:
    x, y = rows["x"], rows["y"]
with Personalizer.open(folder / "init.tegu") as personalizer:
    personalizer.observe(x, y)
    personalizer.adapt()
    np.save(folder / "tegu.npy", personalizer.predict(x))

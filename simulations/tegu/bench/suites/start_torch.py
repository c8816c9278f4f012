"""The task of `tegu bench start` in plain torch: load, ten SGD steps, predict."""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

folder = Path(sys.argv[1])
with np.load(folder / "rows.npz") as rows:
    x, y = torch.from_numpy(rows["x"]), torch.from_numpy(rows["y"])
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
model.load_state_dict(load_file(folder / "weights.safetensors"))
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(10):
    optimiser.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call] # torch leaves it bare
    optimiser.step()
np.save(folder / "torch.npy", model(x).detach().numpy())

"""Many small frames at once: the numbers of deepmd.infer.DeepPot's eval, by Weir.

    python examples/python/batch.py          needs pip install ./ffi/python (docs/python.md)
"""

import time
from pathlib import Path

import numpy as np

import weir

MODEL = Path(__file__).resolve().parents[1] / "water" / "model.dp"
molecule = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
frames = molecule + np.random.default_rng(1).normal(0, 0.02, (500, 3, 3))

for workers in (1, 2):
    dp = weir.DeepPot(MODEL, workers=workers)
    began = time.perf_counter()
    energy, force, virial = dp.eval(frames, None, [0, 1, 1])
    seconds = time.perf_counter() - began
    print(f"{workers} workers: {len(frames)} frames in {seconds:.2f} s, mean energy {energy.mean():.6f} eV, largest force {np.abs(force).max():.3f} eV/A")

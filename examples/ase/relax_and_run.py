"""ASE with forces by Weir over a socket: relax water a little, then molecular dynamics at constant energy.

    python examples/ase/relax_and_run.py          needs `weir` on PATH, pip install ase (docs/ipi.md)
"""

from pathlib import Path

from ase import units
from ase.calculators.socketio import SocketIOCalculator
from ase.io import read
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

import numpy as np
import subprocess

WATER = Path(__file__).resolve().parents[1] / "water"
atoms = read(WATER / "start.extxyz")
with SocketIOCalculator(unixsocket="weir-ase") as calculator:
    # The server listens before the driver looks for it.
    weir = subprocess.Popen(
        ["weir", "serve", "--quiet", "--ipi", "unix:weir-ase", str(WATER / "model.dp"), str(WATER / "start.extxyz")]
    )
    atoms.calc = calculator
    before = np.abs(atoms.get_forces()).max()
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=20)
    print(f"largest force component {before:.3f} -> {np.abs(atoms.get_forces()).max():.3f} eV/A")
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(2026))
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    for _ in range(5):
        dynamics.run(10)
        print(f"{dynamics.get_time() / units.fs:6.1f} fs  total energy {atoms.get_total_energy():.4f} eV  stress {atoms.get_stress()[:3]}")
weir.wait()

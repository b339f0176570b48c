"""ASE with forces by Weir in this process: relax water a little, then molecular dynamics at constant energy.

    python examples/python/relax_and_run.py [FOLDER]          needs pip install "./ffi/python[ase]" (docs/python.md)

Leaves water.traj and energy.svg in FOLDER (default: here).
"""

import sys
from pathlib import Path

import numpy as np
from ase import units
from ase.io import Trajectory, read
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

import weir

WATER = Path(__file__).resolve().parents[1] / "water"
out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

atoms = read(WATER / "start.extxyz")
atoms.calc = weir.Calculator(WATER / "model.dp")
before = np.abs(atoms.get_forces()).max()
BFGS(atoms, logfile=None).run(fmax=0.05, steps=20)
print(f"largest force component {before:.3f} -> {np.abs(atoms.get_forces()).max():.3f} eV/A")

# Momenta of 300 K, without drift.
spread = np.sqrt(units.kB * 300 * atoms.get_masses())[:, None]
momenta = np.random.default_rng(2026).normal(size=(len(atoms), 3)) * spread
atoms.set_momenta(momenta - momenta.mean(axis=0))
dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
dynamics.attach(Trajectory(out / "water.traj", "w", atoms).write, interval=10)
rows = []
dynamics.attach(lambda: rows.append((dynamics.get_time() / units.fs, atoms.get_potential_energy(), atoms.get_total_energy())))
for _ in range(5):
    dynamics.run(20)
    pressure = -atoms.get_stress()[:3].mean() / units.GPa
    print(f"{rows[-1][0]:5.1f} fs  total energy {rows[-1][2]:.4f} eV  {atoms.get_temperature():5.1f} K  pressure without momenta {pressure:.2f} GPa")
print(atoms.calc.plan())
print("most bytes held:", atoms.calc.memory())

# A picture without any library: both energies from their first value on.
time, potential, total = np.array(rows).T
low, high = min((potential - potential[0]).min(), (total - total[0]).min()), max((potential - potential[0]).max(), (total - total[0]).max())
scale = lambda e: 230 - 210 * (e - low) / (high - low)
curve = lambda e, colour: '<polyline fill="none" stroke="{}" points="{}"/>'.format(
    colour, " ".join(f"{60 + 520 * t / time[-1]:.1f},{scale(v - e[0]):.1f}" for t, v in zip(time, e))
)
text = lambda x, y, words, colour="black": f'<text x="{x}" y="{y}" font-family="sans-serif" font-size="12" fill="{colour}">{words}</text>'
(out / "energy.svg").write_text(
    '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="260"><rect width="600" height="260" fill="white"/>'
    + f'<line x1="60" x2="580" y1="{scale(0):.1f}" y2="{scale(0):.1f}" stroke="#ccc"/>'
    + curve(potential, "#c0504d") + curve(total, "#1f4e79")
    + text(64, 20, "energy minus its first value, eV: ") + text(270, 20, "potential", "#c0504d") + text(340, 20, "total", "#1f4e79")
    + text(5, scale(0), "0.0") + text(5, 34, f"{high:.1f}") + text(500, 252, f"{time[-1]:.0f} fs")
    + "</svg>\n"
)

"""Makes the small files of this folder with ASE and MDAnalysis, from one set of numbers: water.extxyz is the truth.

    pip install ase MDAnalysis; python3 make.py
"""

import warnings
from pathlib import Path

import ase
import ase.io
import MDAnalysis as mda
import numpy as np

warnings.filterwarnings("ignore")
here = Path(__file__).parent
rng = np.random.default_rng(7)
WATERS, FRAMES = 5, 3
# The orientation that GROMACS and LAMMPS want: a along x, b in the xy plane.
cell = np.array([[9.5, 0, 0], [2.25, 8.75, 0], [-1.5, 3.125, 10.0]])
symbols = ["O", "H", "H"] * WATERS
n = len(symbols)
oxygen = rng.uniform(0, 1, (WATERS, 1, 3)) @ cell
first = (oxygen + np.array([[0, 0, 0], [0.9572, 0, 0], [-0.24, 0.9266, 0]])).reshape(n, 3)
EV = 96.48533212331002  # kJ/mol

frames = []
for k in range(FRAMES):
    atoms = ase.Atoms(symbols, first + rng.normal(0, 0.05, (n, 3)), cell=cell, pbc=True)
    # The decimals of .gro and of xtc's usual precision.
    atoms.positions = np.round(atoms.positions, 2)
    atoms.arrays["vel"] = np.round(rng.normal(0, 5, (n, 3)), 3)
    atoms.arrays["forces_label"] = np.round(rng.normal(0, 1, (n, 3)), 4)
    frames.append(atoms)

with open(here / "water.extxyz", "w") as f:
    for k, a in enumerate(frames):
        lattice = " ".join(map(str, cell.ravel()))
        f.write(f'{n}\nLattice="{lattice}" Properties=species:S:1:pos:R:3:vel:R:3:forces:R:3 vel_unit=A/ps step={10 * k} time={0.5 * k} pbc="T T T"\n')
        for s, *rows in zip(symbols, a.positions, a.arrays["vel"], a.arrays["forces_label"]):
            f.write(" ".join([s] + [repr(float(x)) for row in rows for x in row]) + "\n")

universe = mda.Universe.empty(n, n_residues=WATERS, atom_resindex=np.repeat(range(WATERS), 3), trajectory=True, velocities=True, forces=True)
universe.add_TopologyAttr("names", ["OW", "HW1", "HW2"] * WATERS)
universe.add_TopologyAttr("resnames", ["SOL"] * WATERS)
universe.add_TopologyAttr("resids", list(range(1, WATERS + 1)))
universe.add_TopologyAttr("elements", symbols)


def set_frame(k):
    ts = universe.trajectory.ts
    ts.frame = k
    ts.data["step"] = 10 * k
    ts.data["time"] = ts.time = 0.5 * k
    ts.positions = frames[k].positions
    ts.velocities = frames[k].arrays["vel"]
    ts.forces = frames[k].arrays["forces_label"] * EV
    ts.triclinic_dimensions = cell


for name in ["water.xtc", "water.trr"]:
    with mda.Writer(str(here / name), n) as w:
        for k in range(FRAMES):
            set_frame(k)
            w.write(universe.atoms)
with mda.Writer(str(here / "water.pdb"), n, multiframe=True) as w:
    for k in range(FRAMES):
        set_frame(k)
        w.write(universe.atoms)
set_frame(0)
universe.atoms.write(str(here / "water.gro"))

a = frames[0].copy()
ase.io.write(here / "water_direct.vasp", a, format="vasp", direct=True)
ase.io.write(here / "water_cartesian.vasp", a, format="vasp", direct=False)
a.set_velocities(a.arrays["vel"] / (1000 * ase.units.fs))
for style in ["atomic", "charge", "full"]:
    ase.io.write(here / f"water_{style}.data", a, format="lammps-data", atom_style=style, masses=True, velocities=True, units="metal", specorder=["H", "O"])

with open(here / "water.lammpstrj", "w") as f:
    (xy, xz, yz), (lx, ly, lz) = (cell[1, 0], cell[2, 0], cell[2, 1]), np.diag(cell)
    for k, a in enumerate(frames):
        f.write(f"ITEM: TIMESTEP\n{10 * k}\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS xy xz yz pp pp pp\n")
        f.write(f"{min(0, xy, xz, xy + xz)} {lx + max(0, xy, xz, xy + xz)} {xy}\n{min(0, yz)} {ly + max(0, yz)} {xz}\n0 {lz} {yz}\n")
        f.write("ITEM: ATOMS id element x y z vx vy vz fx fy fz\n")
        for i in rng.permutation(n):
            numbers = np.concatenate([a.positions[i], a.arrays["vel"][i], a.arrays["forces_label"][i]])
            f.write(f"{i + 1} {symbols[i]} " + " ".join(repr(float(x)) for x in numbers) + "\n")

system = here / "water_deepmd"
(system / "set.000").mkdir(parents=True, exist_ok=True)
(system / "set.001").mkdir(exist_ok=True)
(system / "type.raw").write_text("\n".join("1" if s == "O" else "0" for s in symbols) + "\n")
(system / "type_map.raw").write_text("H\nO\n")
for name, part in [("set.000", frames[:2]), ("set.001", frames[2:])]:
    f = system / name
    np.save(f / "coord.npy", np.array([a.positions.ravel() for a in part]))
    np.save(f / "box.npy", np.array([cell.ravel() for _ in part]))
    np.save(f / "force.npy", np.array([a.arrays["forces_label"].ravel() for a in part], dtype=np.float32))
    np.save(f / "energy.npy", np.array([-1.5 - len(part)] * len(part)))

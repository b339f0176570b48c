"""Writes what LAMMPS reads: data files and the parts of inputs that cases share."""

import numpy as np
from case import CLIENTS, MODEL, ROOT, WORK

MASS = dict(O=15.999, H=1.008, C=12.011, N=14.007, S=32.06, Ar=39.95)
FIVE = ("S", "O", "N", "C", "H")


def read_water():
    lines = (ROOT / "examples/water/start.extxyz").read_text().splitlines()
    rows = [line.split() for line in lines[2:]]
    side = float(lines[1].split('"')[1].split()[0])
    return [r[0] for r in rows], np.array([[float(v) for v in r[1:4]] for r in rows]), side


SYMBOLS, X, SIDE = read_water()
CUBE = [[SIDE, 0, 0], [0, SIDE, 0], [0, 0, SIDE]]
TILTED = [[SIDE, 0, 0], [0.2 * SIDE, SIDE, 0], [-0.15 * SIDE, 0.1 * SIDE, SIDE]]


def mixture():
    """Five elements in the water's cell, types in another order than the model's."""
    return [FIVE[(7 * k + k // 5) % 5] for k in range(len(X))]


def data(name, cell=CUBE, x=X, symbols=SYMBOLS, order=("O", "H")):
    """A LAMMPS data file; cell is lower triangular."""
    lines = ["water", "", f"{len(x)} atoms", f"{len(order)} atom types", ""]
    for k, axis in enumerate("xyz"):
        lines.append(f"0 {cell[k][k]!r} {axis}lo {axis}hi")
    if any((cell[1][0], cell[2][0], cell[2][1])):
        lines.append(f"{cell[1][0]!r} {cell[2][0]!r} {cell[2][1]!r} xy xz yz")
    lines += ["", "Masses", ""] + [f"{k + 1} {MASS[s]}" for k, s in enumerate(order)]
    lines += ["", "Atoms # atomic", ""]
    lines += [f"{k + 1} {order.index(s) + 1} {p[0]!r} {p[1]!r} {p[2]!r}" for k, (s, p) in enumerate(zip(symbols, x.tolist()))]
    path = WORK / f"{name}.data"
    path.write_text("\n".join(lines) + "\n")
    return path


def head(data, model=MODEL, atoms="atom_modify map yes", newton="newton on", boundary="boundary p p p", pair=None):
    """The part of an input that all cases share."""
    read = f"read_data {data}" if data else ""
    return f"""
plugin load {CLIENTS}/plugin/dpplugin.so
units metal
{newton}
{boundary}
atom_style atomic
{atoms}
{read}
pair_style deepmd {model}
{pair or "pair_coeff * * O H"}
neighbor 2.0 bin
thermo_modify format float %.15g
"""


def goes_on(restart):
    """As `head`, from a restart file, which knows atoms and units."""
    return head(None, atoms="").replace("atom_style atomic\n", f"read_restart {restart}\n")


START = "velocity all create 300 4711 dist gaussian\ntimestep 0.0005\n"
SHOW = """
compute vir all pressure NULL virial
compute pea all pe/atom
compute sum all reduce sum c_pea
thermo_style custom step temp pe etotal press vol c_sum c_vir[1] c_vir[2] c_vir[3] c_vir[4] c_vir[5] c_vir[6]
thermo_modify format float %.15g
"""
DUMP = "dump d all custom 1 last.dump type x y z fx fy fz\ndump_modify d sort id format float %.17g\n"

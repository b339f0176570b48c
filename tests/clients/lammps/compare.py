"""Compares what LAMMPS wrote with `weir eval`."""

import json
import os
import subprocess

import numpy as np
from case import MODEL, WEIR, WORK
from start import dumped

# eV/A^3 in bar, as LAMMPS has it in units metal: eight digits.
BAR = 1.6021765e6


def evaluate(name, symbols, x, cell, model=MODEL, env=None, precision="f64"):
    """What `weir eval` says: energy, forces, virial, virials of atoms."""
    path = WORK / f"{name}.extxyz"
    lattice = "" if cell is None else 'Lattice="' + " ".join(repr(float(v)) for v in np.ravel(cell)) + '" pbc="T T T" '
    lines = [str(len(x)), lattice + "Properties=species:S:1:pos:R:3"]
    lines += [f"{s} {p[0]!r} {p[1]!r} {p[2]!r}" for s, p in zip(symbols, x.tolist())]
    path.write_text("\n".join(lines) + "\n")
    command = [WEIR, "--quiet", "eval", model, path, "--json", "-", "--precision", precision, "--atomic"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, **(env or {})))
    assert done.returncode == 0, done.stderr
    r = json.loads(done.stdout)
    return r["energy"], np.array(r["forces"]), np.array(r["virial"]), np.array(r["atomic_virial"])


def same(what, a, b, bound):
    worst = np.max(np.abs(np.asarray(a) - np.asarray(b)))
    assert worst <= bound, f"{what}: differs by {worst:.3e}, allowed {bound:.1e}"
    return worst


def compare(name, row, cell=None, model=MODEL, forces=1e-8, order=("O", "H"), **options):
    """A thermo row and the last frame of last.dump against `weir eval`; `cell` replaces the frame's."""
    own, types, x, f = dumped(WORK / name / "last.dump")
    symbols = [order[t - 1] for t in types]
    used = own if cell is None else cell
    energy, force, virial, _ = evaluate(name, symbols, x, used, model=model, **options)
    same("energy", row["PotEng"], energy, 1e-8 * len(x))
    same("forces", f, force, forces)
    pressure = virial / abs(np.linalg.det(own)) * BAR
    found = [row[f"c_vir[{k}]"] for k in range(1, 7)]
    scale = np.max(np.abs(pressure))
    same("pressure", found, [pressure[i][j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))], 1e-6 * scale + 1e-4)
    same("sum of atomic energies", row["c_sum"], energy, 1e-8 * len(x))
    return symbols, x, used

"""Cases of gromacs.sh with PLUMED's own kernel behind Weir (`plumed_kernel`, `plumed_file` of weir.dat): what it prints, its forces, its restart."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
from gromacs_tools import BAR, MODEL, STEPS, WATER, WORK, energies, evaluate, mdrun, prepared, ran, same, symbols_of, trr, xvg

# kJ/mol/nm^2 and nm: a stiff second spring on a bond of water, which is 0.1 nm long.
KAPPA, AT = 50000.0, 0.12
# Steps short enough for that spring.
FAST = dict(STEPS, dt=0.00025, nstvout=0)


def kernel():
    path = os.environ.get("PLUMED", "")
    assert path and Path(path).is_file(), f'PLUMED\'s kernel could not be downloaded: there is no "{path}" (PLUMED=libplumedKernel.so names one)'
    return path


def bonded(frame_x, cell):
    """An oxygen and its nearest hydrogen, from 0, in the water's order (oxygens first)."""
    hydrogens = [k for k, s in enumerate(symbols_of(WATER)) if s == "H"]
    return 0, min(hydrogens, key=lambda k: np.linalg.norm(apart(frame_x, cell, 0, k)))


def apart(x, cell, i, j):
    """From atom i to the nearest image of j in a rectangular cell."""
    d = x[j] - x[i]
    return d - np.diag(cell) * np.round(d / np.diag(cell))


def with_plumed(name, text, **mdp):
    """A run of water whose weir.dat names PLUMED and this input, O and H being a bond's atoms, from 1."""
    folder = prepared(name, MODEL, WATER, "--ensemble", "nve", mdp=dict(FAST, **mdp), dat={"energy_every": 1})
    lines = (folder / "conf.gro").read_text().splitlines()
    # Three columns of equal width that begin at the 21st character.
    width = len(lines[2][20:].split(".")[1]) + 1
    x = np.array([[float(line[20 + k * width : 20 + (k + 1) * width]) for k in range(3)] for line in lines[2:-1]])
    i, j = bonded(x, np.diag([float(w) for w in lines[-1].split()[:3]]))
    (folder / "plumed.dat").write_text(text.replace("O,H", f"{i + 1},{j + 1}"))
    with open(folder / "weir.dat", "a") as dat:
        dat.write(f"plumed_kernel {kernel()}\nplumed_file plumed.dat\n")
    return folder, i, j


def plumed_behind_prints_and_biases():
    kernel()
    text = f"d: DISTANCE ATOMS=O,H\nfar: DISTANCE ATOMS=1,64\nr: RESTRAINT ARG=d KAPPA={KAPPA} AT={AT}\nPRINT ARG=d,far,r.bias FILE=COLVAR FMT=%16.9f\n"
    folder, i, j = with_plumed("plumed", text, nsteps=40, nstxout=20, nstfout=20)
    ran(folder)
    version = re.search(r"Version: (\S+)", (folder / "PLUMED.OUT").read_text())
    colvar, own, symbols, told = xvg(folder / "COLVAR"), xvg(folder / "weir_energy.xvg"), symbols_of(WATER), []
    assert len(colvar) == len(own) == 41, (len(colvar), len(own))
    same("times", colvar[:, 0], 0.00025 * np.arange(41), 1e-6)
    same("energy of the spring", colvar[:, 3], 0.5 * KAPPA * (colvar[:, 1] - AT) ** 2, 1e-4)
    terms = energies(folder, "Pressure", "Kinetic-En.")
    for frame in trr(folder / "traj.trr"):
        k, x, cell = frame["step"], frame["x"], frame["box"]
        energy, forces, virial = evaluate(symbols, x, cell)
        r = apart(x, cell, i, j)
        d = np.linalg.norm(r)
        told.append(same(f"step {k}: distance (nm)", colvar[k, 1], d, 1e-6))
        same("distance across the box", colvar[k, 2], np.linalg.norm(apart(x, cell, 0, 63)), 1e-6)
        # The model's energy is logged without the bias.
        same("energy", own[k, 1], energy, 0.02)
        pull = -KAPPA * (d - AT)
        bias = np.zeros_like(forces)
        bias[j] = pull * r / d
        bias[i] = -bias[j]
        bound = 2e-3 * max(1, np.abs(forces).max() / 1000)
        told.append(same("forces", frame["f"], forces + bias, bound))
        pressure = (2 * terms[k, 2] + np.trace(virial) + pull * d) / (3 * np.linalg.det(cell)) * BAR
        told.append(same("pressure (bar)", terms[k, 1], pressure, 2.0 + 2e-3 * abs(pressure)))
    total, spring = terms[:, 2] + own[:, 1], colvar[:, 3]
    # Conserved is the sum with the spring's energy; without it the total moves as that does.
    left, swing = np.ptp(total + spring), np.ptp(spring)
    assert swing > 5 and np.ptp(total) > 0.8 * swing and left < 0.03 * max(swing, np.ptp(own[:, 1])), (left, np.ptp(total), swing)
    told.append(f"conserved within {left:.3f} kJ/mol while the spring's energy moved by {swing:.1f}")
    return f"PLUMED {version.group(1) if version else '?'}: " + ", ".join(told)


def plumed_goes_on_where_a_restart_does():
    kernel()
    # A bias with a memory: without the restart being told it would begin at nothing again.
    text = "d: DISTANCE ATOMS=O,H\nm: METAD ARG=d PACE=4 HEIGHT=4 SIGMA=0.01 FILE=HILLS\nPRINT ARG=d,m.bias FILE=COLVAR FMT=%16.9f\n"
    whole, _, _ = with_plumed("plumed whole", text, nsteps=20, nstxout=0, nstfout=0)
    halves = WORK / "plumed halves"
    shutil.copytree(whole, halves)
    ran(whole)
    ran(halves, "-nsteps", "12", "-cpo", "state.cpt")
    ran(halves, "-cpi", "state.cpt", "-nsteps", "8")
    # Only its log is begun anew.
    assert [p.name for p in halves.glob("bck.*")] == ["bck.0.PLUMED.OUT"], list(halves.glob("bck.*"))
    a, b = xvg(whole / "COLVAR"), xvg(halves / "COLVAR")
    hills = [xvg(folder / "HILLS") for folder in (whole, halves)]
    same("times", a[:, 0], 0.00025 * np.arange(21), 1e-6)
    # PLUMED prints the step of the checkpoint again.
    same("times of the parts", b[:, 0], 0.00025 * np.r_[0:13, 12:21], 1e-6)
    assert a[-1, 2] > 4 and len(hills[0]) == 5, (a[:, 2], hills[0])
    same("hills", hills[0][:, :3], hills[1][:, :3], 1e-4)
    # At the checkpoint's step the first part prints before it adds a hill, the second one after.
    return same("bias after the restart (kJ/mol)", b[14:, 2], a[13:, 2], 0.02) + f", {len(hills[1])} hills"


def what_plumed_refuses_ends_gromacs_with_its_words():
    kernel()
    folder, _, _ = with_plumed("plumed refuses", "d: DISTANZ ATOMS=O,H\n", nsteps=2)
    code, output = mdrun(folder)
    flat = " ".join(output.split())
    assert code == 1 and "PLUMED, init" in flat and "DISTANZ" in flat, (code, output[-2500:])
    return "exit 1"


CASES = (plumed_behind_prints_and_biases, plumed_goes_on_where_a_restart_does, what_plumed_refuses_ends_gromacs_with_its_words)

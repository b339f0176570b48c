"""What the cases of gromacs.sh share: where things are, how a run is made and its files are read, and how a case is told."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BUILT = Path(sys.argv[1])
WEIR, KERNEL = BUILT / "weir", BUILT / "libweir.so"
GMX, GMX_MPI, MPIRUN = os.environ["GMX"], os.environ.get("GMX_MPI"), os.environ.get("MPIRUN")
ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples/water/model.dp"
WATER = ROOT / "examples/water/start.extxyz"
PROTEIN = ROOT / "examples/proteins/1YRF.extxyz"
WORK = Path(tempfile.mkdtemp(prefix="weir-gromacs-"))
KJ_MOL = 96.48533212
# kJ/mol/nm^3 in bar.
BAR = 16.6053906717
WORDS = os.environ.get("GROMACS_CASES", "").split()
PASSED, FAILED = [], []


def call(command, folder, env=None, limit=560, text_in=None):
    variables = dict(os.environ, PLUMED_KERNEL=str(KERNEL), WEIR_PRECISION="f64", WEIR_THREADS="2", GMX_MAXBACKUP="-1")
    variables.update(env or {})
    # Lines that prepare prints, and the example, say gmx.
    variables["PATH"] = f"{Path(GMX).parent}:{BUILT}:{variables['PATH']}"
    done = subprocess.run([str(c) for c in command], cwd=folder, env=variables, capture_output=True, text=True, input=text_in, timeout=limit)
    return done.returncode, done.stdout + done.stderr


def good(command, folder, **options):
    code, output = call(command, folder, **options)
    assert code == 0, output[-2500:]
    return output


def weir(*arguments):
    return good([WEIR, "--quiet", *arguments], WORK)


def prepared(name, *arguments, mdp=None, dat=None):
    """A folder of `weir gromacs prepare`, with keys of the mdp and of weir.dat set, and its topol.tpr."""
    folder = WORK / name
    good([WEIR, "--quiet", "gromacs", "prepare", *arguments, "--out", folder], WORK)
    if mdp:
        lines = (folder / "grompp.mdp").read_text().splitlines()
        keep = [line for line in lines if line.split("=")[0].strip() not in mdp]
        (folder / "grompp.mdp").write_text("\n".join(keep + [f"{k} = {v}" for k, v in mdp.items()]) + "\n")
    if dat:
        lines = (folder / "weir.dat").read_text().splitlines()
        keep = [line for line in lines if line.split()[0] not in dat]
        (folder / "weir.dat").write_text("\n".join(keep + [f"{k} {v}" for k, v in dat.items()]) + "\n")
    grompp(folder)
    return folder


def grompp(folder, conf="conf.gro", out="topol.tpr", mdp="grompp.mdp", top="topol.top"):
    good([GMX, "grompp", "-f", mdp, "-c", conf, "-p", top, "-o", out], folder)


def mdrun(folder, *more, program=GMX, ntmpi=True, env=None):
    ranks = ["-ntmpi", "1"] if ntmpi else []
    return call([program, "mdrun", *ranks, "-ntomp", "1", "-plumed", "weir.dat", *more], folder, env=env)


def ran(folder, *more, **options):
    code, output = mdrun(folder, *more, **options)
    assert code == 0, output[-2500:]
    return output


def xvg(path):
    rows = [line.split() for line in path.read_text().splitlines() if line and line[0] not in "#@"]
    return np.array([[float(w) for w in row] for row in rows])


def energies(folder, *terms, edr="ener.edr"):
    """Times and these terms, a column each: one call a term, for gmx energy has an order of its own."""
    columns = []
    for term in terms:
        good([GMX, "energy", "-f", edr, "-o", "terms.xvg", "-xvg", "none", "-dp"], folder, text_in=term + "\n\n")
        rows = xvg(folder / "terms.xvg")
        columns += [rows[:, 1]] if columns else [rows[:, 0], rows[:, 1]]
        (folder / "terms.xvg").unlink()
    return np.column_stack(columns)


def trr(path):
    """Frames of a .trr in single or double precision: step, box, x, v, f (nm, kJ/mol/nm), as they are there."""
    data, at, frames = path.read_bytes(), 0, []
    while at < len(data):
        assert struct.unpack_from(">i", data, at)[0] == 1993
        length = struct.unpack_from(">i", data, at + 8)[0]
        at += 12 + (length + 3) // 4 * 4
        sizes = struct.unpack_from(">10i", data, at)
        at += 40
        natoms, step = struct.unpack_from(">2i", data, at)
        at += 12
        box, vir, pres, x, v, f = sizes[2], sizes[3], sizes[4], sizes[7], sizes[8], sizes[9]
        real = 8 if (box or x or v or f) in (72, natoms * 24) else 4
        at += 2 * real
        frame = {"step": step}
        for key, size in (("box", box), ("vir", vir), ("pres", pres), ("x", x), ("v", v), ("f", f)):
            if size:
                frame[key] = np.frombuffer(data, f">f{real}", size // real, at).astype(float).reshape(-1, 3)
            at += size
        frames.append(frame)
    return frames


def evaluate(symbols, x, cell, model=MODEL):
    """`weir eval` of positions in nm: energy, forces, virial in kJ/mol and nm."""
    path = WORK / "frame.extxyz"
    lattice = "" if cell is None else 'Lattice="' + " ".join(repr(float(v) * 10) for v in np.ravel(cell)) + '" pbc="T T T" '
    lines = [str(len(x)), lattice + "Properties=species:S:1:pos:R:3"]
    lines += [f"{s} {p[0] * 10!r} {p[1] * 10!r} {p[2] * 10!r}" for s, p in zip(symbols, x.tolist())]
    path.write_text("\n".join(lines) + "\n")
    r = json.loads(good([WEIR, "--quiet", "eval", model, path, "--json", "-", "--precision", "f64"], WORK, env={"WEIR_PRECISION": ""}))
    return r["energy"] * KJ_MOL, np.array(r["forces"]) * KJ_MOL * 10, np.array(r["virial"]) * KJ_MOL


def symbols_of(path):
    return [line.split()[0] for line in path.read_text().splitlines()[2:]]


def same(what, a, b, bound):
    worst = np.max(np.abs(np.asarray(a) - np.asarray(b)))
    assert worst < bound, f"{what}: {worst:.3g} is not below {bound:.3g}"
    return f"{what} {worst:.1e}"


def case(function):
    if WORDS and not any(word in function.__name__ for word in WORDS):
        return
    begin = time.time()
    try:
        told = function()
        print(f"ok    {function.__name__} ({time.time() - begin:.1f} s): {told}", flush=True)
        PASSED.append(function.__name__)
    except Exception as e:
        print(f"FAIL  {function.__name__}: {type(e).__name__}: {e}", flush=True)
        FAILED.append(function.__name__)


STEPS = {"gen-seed": 7, "nstxout": 10, "nstfout": 10, "nstvout": 0, "nstenergy": 1, "nstcalcenergy": 1, "nstlog": 100}

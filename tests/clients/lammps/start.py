"""Starts LAMMPS and reads what it wrote."""

import os
import signal
import subprocess

import numpy as np
from case import CLIENTS, WORK


def start(name, text, ranks=1, env=None, flags=()):
    folder = WORK / name
    folder.mkdir(exist_ok=True)
    (folder / "in.test").write_text(text)
    command = [CLIENTS / "v/bin/lmp", *flags, "-in", "in.test", "-log", "log.lammps"]
    if ranks > 1:
        command = [CLIENTS / "v/bin/mpirun", "-n", str(ranks)] + command
    variables = dict(os.environ, WEIR_PRECISION="f64", OMP_NUM_THREADS="1", WEIR_THREADS="2")
    variables.update(env or {})
    variables = {k: v for k, v in variables.items() if v}
    # pip's lmp starts the real one: both must go when time is up.
    return subprocess.Popen(command, cwd=folder, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def lammps(name, text, limit=600, **options):
    """Runs an input; returns code, output, rows of thermo output."""
    child = start(name, text, **options)
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise
    return child.returncode, out + err, thermo(out)


def good(name, text, **options):
    """Runs an input that must end well; rows of thermo output."""
    code, output, rows = lammps(name, text, **options)
    assert code == 0, output[-1500:]
    assert rows, output[-1500:]
    return rows


def thermo(text):
    rows, keys = [], None
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["Step"]:
            keys = words
        elif keys and len(words) == len(keys):
            try:
                rows.append(dict(zip(keys, map(float, words))))
            except ValueError:
                keys = None
    return rows


def dumped(path):
    """Last frame of a custom dump: cell (rows), types, positions relative to the box's corner, further columns."""
    lines = path.read_text().split("ITEM: TIMESTEP\n")[-1].splitlines()
    count = int(lines[2])
    bounds = [list(map(float, line.split())) for line in lines[4:7]]
    if len(bounds[0]) == 3:
        xy, xz, yz = (b[2] for b in bounds)
        lo = [bounds[0][0] - min(0, xy, xz, xy + xz), bounds[1][0] - min(0, yz), bounds[2][0]]
        hi = [bounds[0][1] - max(0, xy, xz, xy + xz), bounds[1][1] - max(0, yz), bounds[2][1]]
    else:
        xy = xz = yz = 0.0
        lo, hi = ([b[k] for b in bounds] for k in (0, 1))
    cell = np.array([[hi[0] - lo[0], 0, 0], [xy, hi[1] - lo[1], 0], [xz, yz, hi[2] - lo[2]]])
    rows = np.array([list(map(float, line.split())) for line in lines[8 : 8 + count]])
    return cell, rows[:, 0].astype(int), rows[:, 1:4] - np.array(lo), rows[:, 4:]

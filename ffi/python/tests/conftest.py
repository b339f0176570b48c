"""What the tests share. `weir` (the command line) is found through WEIR_PROGRAM, else on PATH."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "examples/water/model.dp"
WATER = ROOT / "examples/water/start.extxyz"
TINY = ROOT / "tests/data/models/tiny.dp"
MULTITASK = ROOT / "tests/data/models/multitask.pt"
# Fixtures that are not part of the project; tests that need them skip themselves.
SHARED = Path(os.environ.get("WEIR_SHARED", ROOT.parent / "shared"))
PROGRAM = os.environ.get("WEIR_PROGRAM", "weir")
# A setting of the machine's must not decide a test, and no WEIR_ variable may be unknown.
for name in [n for n in os.environ if n.startswith("WEIR_")]:
    del os.environ[name]


def water():
    """64 molecules."""
    return read(WATER)


def molecule(seed=0):
    """One molecule without a cell, a little bent for each seed."""
    from ase import Atoms

    shift = np.random.default_rng(seed).normal(0, 0.03, (3, 3))
    return Atoms("OHH", np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]) + shift)


def evaluate(folder, atoms, *flags, model=MODEL):
    """What `weir eval` says of a structure: the same numbers to the bit, for JSON is written and read with all digits."""
    path = Path(folder) / "eval.extxyz"
    frames = atoms if isinstance(atoms, list) else [atoms]
    write_exactly(path, frames)
    command = [PROGRAM, "eval", str(model), str(path), "--json", "-", "--quiet", "--backend", "cpu", "--frames", ":", *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return found if isinstance(atoms, list) else found[0]


def write_exactly(path, frames):
    """extxyz with the digits that give the same bits back; ASE writes eight."""
    with open(path, "w") as file:
        for atoms in frames:
            head = 'pbc="F F F"'
            if atoms.pbc.all():
                cell = " ".join(repr(float(v)) for v in atoms.cell.array.flat)
                head = f'Lattice="{cell}" pbc="T T T"'
            file.write(f"{len(atoms)}\nProperties=species:S:1:pos:R:3 {head}\n")
            for symbol, x in zip(atoms.symbols, atoms.positions):
                file.write(f"{symbol} {' '.join(repr(float(v)) for v in x)}\n")


@pytest.fixture
def calculator():
    from weir import Calculator

    return lambda *args, **settings: Calculator(*(args or (MODEL,)), **{"backend": "cpu", **settings})


@pytest.fixture
def deep_pot():
    from weir import DeepPot

    return lambda *args, **settings: DeepPot(*(args or (MODEL,)), **{"backend": "cpu", **settings})

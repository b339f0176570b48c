"""What ipi.py and dp_ipi.py share: cases, and what `weir eval` says. `weir` and `python` with ASE are on PATH."""

import json
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np
from ase.io import write

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples/water/model.dp"
WATER = ROOT / "examples/water/start.extxyz"
WORK = Path(tempfile.mkdtemp(prefix="weir-ipi-"))
PASSED, FAILED = [], []


def case(run):
    try:
        run()
        PASSED.append(run.__name__)
        print(f"ok    {run.__name__}", flush=True)
    except Exception:
        FAILED.append(run.__name__)
        print(f"FAIL  {run.__name__}\n{traceback.format_exc()}", flush=True)


def end(name):
    print(f"{name}: {len(PASSED)} passed, {len(FAILED)} failed")
    sys.exit(bool(FAILED))


def evaluate(atoms):
    path = WORK / "eval.extxyz"
    write(path, atoms, columns=["symbols", "positions"], write_results=False)
    command = ["weir", "eval", MODEL, path, "--precision", "f64", "--json", "-", "--quiet"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found["energy"], np.array(found["forces"]), np.array(found["virial"])


def table(path):
    return np.loadtxt(path, comments="#", ndmin=2)

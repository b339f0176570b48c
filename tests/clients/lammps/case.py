"""What all cases share: where things are, and how a case is run and told."""

import os
import sys
import tempfile
import time
from pathlib import Path

WEIR, CLIENTS = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "examples/water/model.dp"
MODELS = ROOT / "tests/data/models"
PARITY = ROOT / "tests/data/parity"
FAST = os.environ.get("LAMMPS_FAST", "0") not in ("", "0")
WORDS = os.environ.get("LAMMPS_CASES", "").split()
WORK = Path(tempfile.mkdtemp(prefix="weir-lammps-"))
PASSED, FAILED = [], []


def case(function):
    """Runs a case at once."""
    if WORDS and not any(word in function.__name__ for word in WORDS):
        return
    begin = time.time()
    try:
        told = function() or ""
        PASSED.append(function.__name__)
        print(f"ok      {function.__name__} ({time.time() - begin:.1f} s) {told}", flush=True)
    except Exception as e:  # every failure is told, none ends the others
        FAILED.append(function.__name__)
        print(f"FAILED  {function.__name__}: {type(e).__name__}: {e}", flush=True)


def slow(function):
    """A case that LAMMPS_FAST leaves out."""
    if not FAST:
        case(function)


def end():
    if FAILED:
        print(f"inputs and outputs are in {WORK}")
    print(f"lammps: {len(PASSED)} passed, {len(FAILED)} failed")
    sys.exit(1 if FAILED or not PASSED else 0)

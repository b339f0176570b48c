#!/usr/bin/env python3
"""Opens every structure file in FOLDER with ASE and MDAnalysis and checks the numbers.

    cargo run -p weir-engine --example structures -- write FOLDER
    python3 tests/clients/open_with_ase.py FOLDER

NAME.extxyz is opened with both programs, NAME.xtc with MDAnalysis. Where NAME.json lies beside them (a list of frames), every
number must be the one in it: bit for bit from ASE, to f32 from MDAnalysis, to half a step of the precision from xtc. Without it
the files (say those of a `weir md` run) must open, be finite, and agree with each other.
Needs: pip install ase MDAnalysis
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")

import ase.io  # noqa: E402
import MDAnalysis  # noqa: E402

CHECKS = 0


def same(what, found, expected, tolerance=0.0):
    """Fails unless both have the same shape and differ by at most `tolerance`."""
    global CHECKS
    CHECKS += 1
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    if found.shape != expected.shape:
        raise SystemExit(f"FAILED {what}: shape {found.shape}, expected {expected.shape}")
    worst = np.abs(found - expected).max() if found.size else 0.0
    if not worst <= tolerance:
        raise SystemExit(f"FAILED {what}: differs by {worst}, allowed {tolerance}")


def is_true(what, condition):
    global CHECKS
    CHECKS += 1
    if not condition:
        raise SystemExit(f"FAILED {what}")


def with_ase(path, truth):
    frames = ase.io.read(path, index=":", format="extxyz")
    is_true(f"{path}: has frames", frames)
    for k, atoms in enumerate(frames):
        where = f"{path} frame {k + 1} in ASE"
        is_true(f"{where}: finite positions", np.isfinite(atoms.positions).all())
        is_true(f"{where}: periodic in all directions or none", atoms.pbc.all() or not atoms.pbc.any())
        if truth is None:
            continue
        expected = truth[k]
        same(f"{where}: positions", atoms.positions, expected["positions"])
        same(f"{where}: velocities", atoms.arrays["vel"], expected["velocities"])
        same(f"{where}: forces", atoms.get_forces(), expected["forces"])
        is_true(f"{where}: symbols", atoms.get_chemical_symbols() == expected["symbols"])
        is_true(f"{where}: step", atoms.info["step"] == expected["step"])
        same(f"{where}: time", atoms.info["time"], expected["time"])
        is_true(f"{where}: velocity unit", atoms.info["vel_unit"] == "A/ps")
        if expected["cell"] is None:
            is_true(f"{where}: no periodicity", not atoms.pbc.any())
        else:
            same(f"{where}: cell", atoms.cell.array, expected["cell"])
        if expected["energy"] is not None:
            same(f"{where}: energy", atoms.get_potential_energy(), expected["energy"])
            same(f"{where}: virial", atoms.info["virial"], expected["virial"])
    if truth is not None:
        is_true(f"{path}: {len(truth)} frames, not {len(frames)}", len(frames) == len(truth))
    return frames


def with_mdanalysis(path, frames):
    universe = MDAnalysis.Universe(str(path), format="XYZ", topology_format="XYZ")
    is_true(f"{path}: frames in MDAnalysis", len(universe.trajectory) == len(frames))
    for ts, atoms in zip(universe.trajectory, frames):
        where = f"{path} frame {ts.frame + 1} in MDAnalysis"
        same(f"{where}: positions", ts.positions, atoms.positions.astype(np.float32))
        is_true(f"{where}: names", list(universe.atoms.names) == atoms.get_chemical_symbols())


def with_xtc(path, frames, truth):
    xyz = path.with_suffix(".extxyz")
    universe = MDAnalysis.Universe(str(xyz), str(path), topology_format="XYZ")
    is_true(f"{path}: has frames", len(universe.trajectory) > 0)
    if truth is not None:
        is_true(f"{path}: {len(truth)} frames", len(universe.trajectory) == len(truth))
    # The two files may be written at different intervals: steps tell which frames belong together.
    by_step = {int(atoms.info["step"]): atoms for atoms in frames if "step" in atoms.info}
    for ts in universe.trajectory:
        where = f"{path} frame {ts.frame + 1} in MDAnalysis"
        is_true(f"{where}: finite positions", np.isfinite(ts.positions).all())
        atoms = by_step.get(int(ts.data["step"]))
        if atoms is None:
            is_true(f"{where}: step {ts.data['step']} known", truth is None)
            continue
        # Half a step of 0.01 A, and what f32 adds.
        same(f"{where}: positions", ts.positions, atoms.positions, 0.005 + 2e-7 * np.abs(atoms.positions).max() + 1e-5)
        same(f"{where}: time", ts.time, atoms.info["time"], 1e-6 * max(1.0, abs(atoms.info["time"])))
        if atoms.pbc.all():
            # Unlike triclinic_dimensions, the lengths and angles do not depend on the cell's orientation.
            expected = MDAnalysis.lib.mdamath.triclinic_box(*atoms.cell.array)
            same(f"{where}: box", ts.dimensions, expected, 1e-4)
        else:
            is_true(f"{where}: no box", ts.dimensions is None or not np.any(ts.dimensions[:3]))


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    files = sorted(folder.glob("*.extxyz"))
    is_true(f"{folder}: has .extxyz files", files)
    trajectories = 0
    for path in files:
        numbers = path.with_suffix(".json")
        truth = None
        if numbers.exists():
            truth = json.loads(numbers.read_text())
            truth = truth if isinstance(truth, list) and truth and "positions" in truth[0] else None
        frames = with_ase(path, truth)
        with_mdanalysis(path, frames)
        xtc = path.with_suffix(".xtc")
        if xtc.exists():
            with_xtc(xtc, frames, truth)
            trajectories += 1
    print(f"ok: {len(files)} extxyz and {trajectories} xtc files, {CHECKS} checks "
          f"(ASE {ase.__version__}, MDAnalysis {MDAnalysis.__version__})")


if __name__ == "__main__":
    main()

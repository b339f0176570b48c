#!/usr/bin/env python3
"""DeePMD-kit minus Weir on your own model and structure.

    examples/verify_with_deepmd.py MODEL STRUCTURE [--head HEAD] [--weir PROGRAM]

Runs `weir eval MODEL STRUCTURE --json -` and DeePMD-kit's DeepPot on the same frame and prints the differences of energy, energy of
each atom, forces and virial. The exit status is 1 when one of them is larger than the arithmetic explains:

  double precision   energy 1e-10 relative; forces, virial and atomic energies 1e-9 (eV, eV/A; relative where above 1)
  single precision   |Weir - exact| <= 2 |DeePMD-kit - exact| + floor, where exact is Weir in double precision; and, so that a wrong
                     exact value cannot hide behind a wide band, |DeePMD-kit - exact| itself within --noise: eV for atomic energies,
                     eV an atom for the energy, relative to the largest (where above 1) for forces, and that an atom for the virial

Needs: pip install "deepmd-kit[torch]" (tried with 3.2.0). ASE reads the structure where it is installed; without it only (ext)xyz.
A .dp, .yaml or .weir model is brought to .pth for DeepPot in a temporary folder.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np


class Refused(Exception):
    """What the user can put right."""


def read_xyz(path, frame):
    """Symbols, positions (N, 3) in A and cell rows (3, 3) in A or None of one frame of an (ext)xyz file."""
    with open(path) as lines:
        for _ in range(frame + 1):
            count = int(next(lines, "") or 0)
            comment = next(lines, "")
            rows = [next(lines, "").split() for _ in range(count)]
    if count == 0 or not all(rows):
        raise Refused(f"{path}: frame {frame} is missing or incomplete")
    columns = re.search(r'Properties="?([^"\s]+)', comment)
    first = 1
    if columns:
        named = re.findall(r"([^:]+):([A-Z]):(\d+)", columns.group(1))
        starts = dict(zip((n for n, _, _ in named), np.cumsum([0] + [int(k) for _, _, k in named])))
        if starts.get("species") != 0 or "pos" not in starts:
            raise Refused(f"{path}: columns {columns.group(1)}: install ase to read them")
        first = int(starts["pos"])
    lattice = re.search(r'Lattice="([^"]+)"', comment, re.IGNORECASE)
    periodic = re.search(r'pbc="([^"]+)"', comment, re.IGNORECASE)
    cell = np.array(lattice.group(1).split(), float).reshape(3, 3) if lattice else None
    if periodic:
        flags = {f.upper()[0] == "T" for f in periodic.group(1).split()}
        if len(flags) > 1:
            raise Refused(f"{path}: mixed periodicity")
        if not flags.pop():
            cell = None
    return [row[0] for row in rows], np.array([row[first:first + 3] for row in rows], float), cell


def read_structure(path, frame):
    """As `read_xyz`, with ASE where it is installed and for the formats that it knows."""
    xyz = Path(path).suffix.lower() in (".xyz", ".extxyz")
    try:
        import ase.io
    except ImportError:
        if xyz:
            return read_xyz(path, frame)
        raise Refused(f"{path}: install ase, or give an extxyz file") from None
    atoms = ase.io.read(path, index=frame, format="extxyz" if xyz else None)
    if atoms.pbc.any() and not atoms.pbc.all():
        raise Refused(f"{path}: mixed periodicity")
    return atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array if atoms.pbc.all() else None


def run(command):
    """Standard output of a program; its messages when it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def for_deepmd(args, folder):
    """The model in a form that DeepPot evaluates with forces, and its head."""
    path = Path(args.model)
    head = args.head
    if path.suffix == ".weir":
        run([args.weir, "model", "convert", path, "--out", folder / "model.dp"])
        path, head = folder / "model.dp", None
    if path.suffix in (".dp", ".yaml"):
        from deepmd.entrypoints.convert_backend import convert_backend
        convert_backend(INPUT=str(path), OUTPUT=str(folder / "model.pth"))
        path, head = folder / "model.pth", None
    return path, head


def with_deepmd(args, symbols, positions, cell):
    """Results of DeepPot: energy, atomic_energy (N), forces (N, 3), virial (3, 3)."""
    from deepmd.infer import DeepPot
    with tempfile.TemporaryDirectory() as folder:
        model, head = for_deepmd(args, Path(folder))
        pot = DeepPot(str(model), head=head) if head else DeepPot(str(model))
    index = {name: k for k, name in enumerate(pot.get_type_map())}
    unknown = sorted(set(symbols) - set(index) - {"X"})
    if unknown:
        raise Refused(f"elements that the model does not know: {' '.join(unknown)}")
    types = np.array([index.get(s, -1) for s in symbols])
    given = {}
    if args.fparam:
        given["fparam"] = np.array([float(v) for v in args.fparam.split(",")])
    if args.aparam:
        given["aparam"] = np.loadtxt(args.aparam, ndmin=2).reshape(1, len(types), -1)
    if args.charge_spin:
        given["charge_spin"] = np.array([float(v) for v in args.charge_spin.split(",")])
    box = None if cell is None else cell.reshape(1, 9)
    energy, force, virial, atomic = pot.eval(positions.reshape(1, -1), box, types, atomic=True, **given)[:4]
    n = len(types)
    return {
        "energy": np.array(energy, float).reshape(1),
        "atomic_energy": np.array(atomic, float).reshape(n),
        "forces": np.array(force, float).reshape(n, 3),
        "virial": np.array(virial, float).reshape(3, 3),
    }


def is_single(args):
    """Whether the model, or a part of it, works in single precision."""
    head = [f"--head={args.head}"] if args.head else []
    return "float32" in json.loads(run([args.weir, "model", "info", args.model, "--json", *head]))["architecture"]


def with_weir(args, precision):
    """The same of `weir eval`."""
    command = [args.weir, "eval", args.model, args.structure, "--json", "-", "--frames", args.frame, "--precision", precision]
    for name in ("head", "fparam", "aparam", "charge_spin"):
        value = getattr(args, name)
        if value:
            command.append(f"--{name.replace('_', '-')}={value}")
    line = json.loads(run(command).splitlines()[0])
    results = {name: np.array(line[name], float) for name in ("atomic_energy", "forces", "virial")}
    results["energy"] = np.array([line["energy"]])
    return results


def bands(deepmd, exact, single, noise):
    """The largest difference that each quantity may have, and whether DeePMD-kit itself is where it should be."""
    atoms = len(deepmd["forces"])
    allowed, sane = {}, {}
    for name, value in deepmd.items():
        scale = max(1.0, np.abs(value).max(initial=0.0))
        if not single:
            allowed[name] = (1e-10 if name == "energy" else 1e-9) * scale
            sane[name] = True
            continue
        own = np.abs(value - exact[name]).max(initial=0.0)
        floor = {"forces": 1e-6, "energy": atoms * 1e-6 + 1e-5}.get(name, 1e-5)
        allowed[name] = 2 * own + floor
        # Sums over atoms carry the noise of all of them. Energies are no measure of it: their bulk is a constant for each element.
        sane[name] = own <= noise * {"energy": atoms, "virial": atoms * scale, "forces": scale, "atomic_energy": 1}[name]
    return allowed, sane


def report(deepmd, weir, exact, single, noise):
    """Prints the differences; true when all are within their bands."""
    atoms = len(deepmd["forces"])
    allowed, sane = bands(deepmd, exact, single, noise)
    # In single precision the band is around the exact value.
    judged = exact if single else deepmd
    good = True
    what = {"energy": "energy (eV)", "atomic_energy": "atomic energy (eV)", "forces": "forces (eV/A)", "virial": "virial (eV)"}
    print(f"{'DeePMD-kit minus Weir':<24}{'largest':>12}{'RMSE':>12}{'judged':>12}{'allowed':>12}")
    for name, title in what.items():
        d = deepmd[name] - weir[name]
        j = np.abs(weir[name] - judged[name]).max(initial=0.0)
        fine = bool(j <= allowed[name]) and sane[name]
        good &= fine
        note = "" if fine else "  TOO LARGE" if sane[name] else "  DeePMD-kit is far from the exact value"
        print(f"{title:<24}{np.abs(d).max(initial=0.0):12.3e}{np.sqrt((d * d).mean()):12.3e}{j:12.3e}{allowed[name]:12.3e}{note}")
        if name == "energy":
            print(f"{'energy per atom (eV)':<24}{abs(d[0]) / atoms:12.3e}")
    if single:
        print("judged: Weir minus Weir in double precision")
    print(f"energy: DeePMD-kit {deepmd['energy'][0]:.9f} eV, Weir {weir['energy'][0]:.9f} eV")
    return good


def find_weir(given):
    """The program: --weir, on the PATH, or built beside this script."""
    root = Path(__file__).resolve().parent.parent
    built = [root / "target" / profile / "weir" for profile in ("release", "debug")]
    candidates = [given, shutil.which("weir")] + [str(b) for b in built if b.exists()]
    for candidate in candidates:
        if candidate:
            return candidate
    raise Refused("weir is not on the PATH: build it (cargo build --release) or give --weir PROGRAM")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("structure")
    parser.add_argument("--head", help="branch of a multi-task model")
    parser.add_argument("--weir", help="the weir program")
    parser.add_argument("--frame", type=int, default=0, help="frame of a trajectory, counted from 0")
    parser.add_argument("--fparam", help="frame parameters: A,B")
    parser.add_argument("--aparam", help="text file of atomic parameters, one row per atom")
    parser.add_argument("--charge-spin", help="total charge and spin: Q,M")
    parser.add_argument("--noise", type=float, default=1e-4, help="single precision: bound on DeePMD-kit's own error")
    args = parser.parse_args()
    try:
        args.weir = find_weir(args.weir)
        symbols, positions, cell = read_structure(args.structure, args.frame)
        print(f"{args.structure}: {len(symbols)} atoms, {'periodic' if cell is not None else 'not periodic'}")
        single = is_single(args)
        weir = with_weir(args, "model")
        if weir["forces"].shape != (len(symbols), 3):
            raise Refused(f"Weir sees {len(weir['forces'])} atoms, this script {len(symbols)}: give an extxyz file")
        exact = with_weir(args, "f64") if single else weir
        deepmd = with_deepmd(args, symbols, positions, cell)
    except (Refused, OSError, ValueError) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    if not all(np.isfinite(v).all() for v in deepmd.values()):
        print("verify: DeePMD-kit gives values that are not finite", file=sys.stderr)
        return 2
    print(f"model in {'single' if single else 'double'} precision")
    good = report(deepmd, weir, exact, single, args.noise)
    print("ok" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

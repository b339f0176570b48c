#!/usr/bin/env python3
"""ns/day of LAMMPS with Weir beside `weir md` of the same atoms, a JSON line a model: what a step costs in the client and out of it.

    benches/lammps.py WEIR CLIENTS [--threads 2] [--rounds 5] [--steps 200] [--model FILE --steps N]...

WEIR is a release build, CLIENTS the folder of tests/clients/lammps.sh (v/bin/lmp, plugin/ with the same build's libdeepmd_c.so). Without --model: the
shipped water model, and the shape of DPA-3.1-3M with random weights. 192 atoms of water, constant energy, 0.5 fs, the model's own precision. The two take
turns; seconds are of the steps alone (LAMMPS' loop, `weir md`'s loop), CPU seconds of all threads in them. Load is the mean over the last minute,
before and after: with more than one on the machine wall seconds say little.
"""
import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WATER = ROOT / "examples/water/start.extxyz"
FS = 0.5
MASSES = {"O": 15.999, "H": 1.008, "C": 12.011, "N": 14.007, "S": 32.06}


def run(command, folder, threads):
    """Standard output and error of a program that must end well, and its CPU seconds."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
    env |= {"WEIR_THREADS": str(threads), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(c) for c in command], cwd=folder, env=env, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout, done.stderr, sum(getattr(after, k) - getattr(before, k) for k in ("ru_utime", "ru_stime"))


def data(folder, path=WATER):
    """An extended xyz file as LAMMPS reads it (atoms.data): number of atoms, elements, and whether it is periodic. A cell must be orthogonal."""
    lines = path.read_text().splitlines()
    atoms = [line.split() for line in lines[2:]]
    elements = [e for e in MASSES if any(a[0] == e for a in atoms)]
    if missing := {a[0] for a in atoms} - set(elements):
        raise ValueError(f"{path}: no mass is known here of {', '.join(sorted(missing))}")
    cell = re.search(r'Lattice="([^"]*)"', lines[1])
    # Without a cell, room for what moves.
    low, high = [[f(float(a[k]) for a in atoms) + shift for k in (1, 2, 3)] for f, shift in ((min, -20.0), (max, 20.0))]
    if cell:
        rows = cell[1].split()
        if any(float(rows[k]) for k in (1, 2, 3, 5, 6, 7)):
            raise ValueError(f"{path}: the cell is not orthogonal")
        low, high = ["0"] * 3, rows[::4]
    text = f"{path.name}\n\n{len(atoms)} atoms\n{len(elements)} atom types\n\n" + "".join(f"{l} {h} {a}lo {a}hi\n" for a, l, h in zip("xyz", low, high))
    text += "\nMasses\n\n" + "".join(f"{k + 1} {MASSES[e]}\n" for k, e in enumerate(elements)) + "\nAtoms # atomic\n\n"
    text += "".join(f"{k + 1} {elements.index(a[0]) + 1} {a[1]} {a[2]} {a[3]}\n" for k, a in enumerate(atoms))
    (folder / "atoms.data").write_text(text)
    return len(atoms), elements, bool(cell)


def commands(plugin, model, steps, elements, periodic=True, kelvin=300, fs=FS, more=""):
    """What LAMMPS is to do with atoms.data: steps of constant energy, timed behind the first five."""
    return f"""units metal
atom_style atomic
atom_modify map yes
boundary {"p p p" if periodic else "f f f"}
read_data atoms.data
plugin load {plugin}/dpplugin.so
pair_style deepmd {model}
pair_coeff * * {" ".join(elements)}
neighbor 2.0 bin
{more}
velocity all create {kelvin} 2026 dist gaussian
timestep {fs / 1000}
fix 1 all nve
thermo {steps}
run 5
run {steps}
"""


def timed(out, steps):
    """Loop, pair, list and CPU seconds of a step, ns/day as LAMMPS prints it."""
    loop = re.findall(r"Loop time of (\S+) on .* for (\d+) steps", out)[-1]
    assert int(loop[1]) == steps, out
    share = re.findall(r"(\S+)% CPU use with", out)[-1]
    of = lambda part: float(re.findall(rf"^{part}\s+\|\s*\S+\s*\|\s*(\S+)", out, re.M)[-1]) / steps
    day = re.findall(r"Performance:\s+(\S+) ns/day", out)[-1]
    wall = float(loop[0]) / steps
    return {"s": wall, "pair_s": of("Pair"), "list_s": of("Neigh"), "cpu_s": wall * float(share) / 100, "ns_per_day": float(day)}


def lammps(clients, model, steps, folder, threads, elements):
    """Such a run on the CPU."""
    (folder / "in.bench").write_text(commands(clients / "plugin", model, steps, elements))
    out, _, _ = run([clients / "v/bin/lmp", "-in", "in.bench", "-log", "none"], folder, threads)
    return timed(out, steps)


def md(weir, model, steps, folder, threads):
    """Wall and CPU seconds of a step of `weir md`: a run less a run of one step, whose first call plans and starts threads (LAMMPS' setup does)."""

    def once(steps):
        text = f"""[model]
path = "{model}"
[structure]
path = "{WATER}"
[md]
ensemble = "nve"
timestep_fs = {FS}
steps = {steps}
temperature_K = 300.0
seed = 2026
[output]
prefix = "{folder}/md"
energy_every = {steps}
trajectory_every = {steps}
plot = false
overwrite = true
"""
        (folder / "md.toml").write_text(text)
        _, err, cpu = run([weir, "--log-format", "json", "md", "md.toml"], folder, threads)
        told = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
        return next(t["wall_seconds"] for t in told if t["event"] == "summary"), cpu

    (whole, cpu), (first, rest) = once(steps), once(1)
    wall = (whole - first) / (steps - 1)
    return {"s": wall, "cpu_s": (cpu - rest) / (steps - 1), "ns_per_day": 86400e-6 * FS / wall}


def load():
    return float(Path("/proc/loadavg").read_text().split()[0])


def output(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def main():
    a = argparse.ArgumentParser(usage=__doc__)
    a.add_argument("weir", type=Path)
    a.add_argument("clients", type=Path)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--model", type=Path, action="append", default=[])
    a.add_argument("--steps", type=int, action="append", default=[])
    a = a.parse_args()
    weir, clients = a.weir.resolve(), a.clients.resolve()
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        atoms, elements, _ = data(folder)
        models, steps = a.model, a.steps
        if not models:
            shape = folder / "dpa-3.1-3m-shape.dp"
            run([weir, "--quiet", "model", "new", "--preset", "dpa-3.1-3m", "--seed", 1, "-o", shape], folder, a.threads)
            models, steps = [ROOT / "examples/water/model.dp", shape], steps or [200, 10]
        for model, n in zip(models, steps, strict=True):
            before, pairs = load(), []
            for _ in range(a.rounds):
                pairs.append((lammps(clients, model.resolve(), n, folder, a.threads, elements), md(weir, model.resolve(), n, folder, a.threads)))
            middle = lambda side, key: statistics.median(p[side][key] for p in pairs)
            line = {"case": f"lammps_water_{atoms}", "model": model.name, "atoms": atoms, "steps": n, "rounds": a.rounds, "timestep_fs": FS, "threads": a.threads}
            line |= {f"lammps_{k}": middle(0, k) for k in ("ns_per_day", "s", "pair_s", "cpu_s")} | {f"md_{k}": middle(1, k) for k in ("ns_per_day", "s", "cpu_s")}
            line |= {f"{k.split('_')[0] if k != 's' else 'wall'}_overhead": statistics.median(p[0][k] / p[1][k] - 1 for p in pairs) for k in ("s", "cpu_s")}
            line |= {"load": [before, load()], "machine": cpu.group(1) if cpu else "unknown", "cores": os.cpu_count(),
                     "commit": output("git", "rev-parse", "--short", "HEAD"), "date": time.strftime("%Y-%m-%d")}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

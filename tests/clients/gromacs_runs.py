"""What the tests of the native GROMACS backend share: programs, files, runs, and the tally of checks. Arguments as of gromacs_native.py."""
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

gmx, top_folder, target = (Path(a).resolve() for a in sys.argv[1:4])
structures = Path(sys.argv[4]).resolve() if len(sys.argv) > 4 else None
weir = target / "weir"
water = Path(__file__).resolve().parents[2] / "examples/water/model.dp"
work = Path(tempfile.mkdtemp(prefix="gromacs-native-"))
EV = 96.48533212
# kJ/mol/nm3 in bar.
BAR = 16.6053907
environment = {
    **os.environ,
    "GMXLIB": str(top_folder),
    "GMX_WEIR_LIBRARY": str(target / "libweir.so"),
    "GMX_NN_DEVICE": "cpu",
    "GMX_MAXBACKUP": "-1",
    "OMP_NUM_THREADS": "1",
    "WEIR_THREADS": "2",
}
passed = failed = 0


def tally():
    """Checks passed and failed until now."""
    return passed, failed


def check(what, good, detail=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"{'ok    ' if good else 'FAILED'} {what}{': ' + detail if detail else ''}", flush=True)


def run(*args, env=None, text=None, good=True, seconds=1800):
    done = subprocess.run([str(a) for a in args], cwd=work, env={**environment, **(env or {})}, input=text, text=True, capture_output=True, timeout=seconds)
    if good and done.returncode:
        sys.exit(f"{' '.join(map(str, args))} failed:\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}")
    return done


def write(name, text):
    (work / name).write_text(text)
    return name


# --- structures ---


def read_gro(name):
    """Box (three vectors, nm), and for every atom (columns 1 to 20, position)."""
    lines = (work / name).read_text().splitlines()
    atoms = []
    for line in lines[2 : 2 + int(lines[1])]:
        width = line.index(".", line.index(".") + 1) - line.index(".")
        atoms.append((line[:20], [float(line[20 + width * k : 20 + width * (k + 1)]) for k in range(3)]))
    b = [float(w) for w in lines[2 + int(lines[1])].split()] + [0.0] * 6
    return [[b[0], b[3], b[4]], [b[5], b[1], b[6]], [b[7], b[8], b[2]]], atoms


def write_gro(name, box, atoms):
    b = [box[0][0], box[1][1], box[2][2], box[0][1], box[0][2], box[1][0], box[1][2], box[2][0], box[2][1]]
    rows = [f"{head}{x[0]:12.7f}{x[1]:12.7f}{x[2]:12.7f}" for head, x in atoms]
    return write(name, "\n".join(["t", str(len(atoms)), *rows, " ".join(f"{v:.7f}" for v in b)]) + "\n")


def scaled(box, atoms, factor):
    return [[v * factor for v in row] for row in box], [(head, [v * factor for v in x]) for head, x in atoms]


def volume(b):
    return b[0][0] * b[1][1] * b[2][2]


def evaluate(model, box, elements, positions):
    """Energy (kJ/mol), forces (kJ/mol/nm) and virial (kJ/mol) of `weir eval`; box None: isolated."""
    cell = f'Lattice="{" ".join(repr(10 * v) for row in box for v in row)}" pbc="T T T"' if box else 'pbc="F F F"'
    rows = [f"{e} {10 * x[0]!r} {10 * x[1]!r} {10 * x[2]!r}" for e, x in zip(elements, positions)]
    write("eval.extxyz", "\n".join([str(len(rows)), f"Properties=species:S:1:pos:R:3 {cell}", *rows]) + "\n")
    out = json.loads(run(weir, "eval", model, "eval.extxyz", "--json", "-", "-q", env={"WEIR_BACKEND": "cpu"}).stdout.splitlines()[-1])
    return out["energy"] * EV, [[f * EV * 10 for f in row] for row in out["forces"]], [[v * EV for v in row] for row in out["virial"]]


# --- runs ---

def mdp(name, model=None, group=None, cut=0.9, **options):
    """An .mdp file: one step of the whole system with all its forces, unless options say otherwise."""
    lines = {
        "cutoff-scheme": "Verlet",
        "coulombtype": "PME",
        "rcoulomb": cut,
        "rvdw": cut,
        "pbc": "xyz",
        "constraints": "none",
        "integrator": "md",
        "dt": 0.0005,
        "nsteps": 0,
        "nstcalcenergy": 1,
        "nstenergy": 1,
        "nstfout": 1,
    }
    lines.update({k.replace("_", "-"): v for k, v in options.items()})
    if model:
        lines.update({"nnpot-active": "yes", "nnpot-modelfile": model, "nnpot-input-group": group})
    return write(name, "".join(f"{k} = {v}\n" for k, v in lines.items()))


def grompp(mdp_file, gro, top, tpr, ndx="groups.ndx", good=True, env=None, warnings=0):
    allowed = ("-maxwarn", warnings) if warnings else ()
    return run(gmx, "grompp", "-f", mdp_file, "-c", gro, "-r", gro, "-p", top, "-n", ndx, "-o", tpr, "-po", "out.mdp", *allowed, good=good, env=env)


def mdrun(name, tpr, *more, good=True, env=None):
    ranks = () if "-ntmpi" in more else ("-ntmpi", 1)
    return run(gmx, "mdrun", "-s", tpr, "-deffnm", name, "-nb", "cpu", "-ntomp", 1, *ranks, *more, good=good, env=env)


def terms(name, *wanted):
    """Rows of the energy file in full single precision, in the order asked for (gmx energy has its own)."""
    run(gmx, "energy", "-f", f"{name}.edr", "-o", "e.xvg", "-dp", text="\n".join(wanted) + "\n\n")
    lines = (work / "e.xvg").read_text().splitlines()
    legends = [re.search(r'legend "(.*)"', line).group(1).replace(" ", "-") for line in lines if re.match(r"@ s\d+ legend", line)]
    assert sorted(legends) == sorted(wanted), (legends, wanted)
    columns = [1 + legends.index(w) for w in wanted]
    return [[float(line.split()[c]) for c in columns] for line in lines if line[0] not in "#@"]


def forces(name):
    out = run(gmx, "dump", "-f", f"{name}.trr").stdout
    return [[float(w) for w in m.split(",")] for m in re.findall(r"^ *f\[ *\d+\]=\{([^}]*)\}", out, re.M)]


def largest(a, b):
    """Largest difference between two lists of vectors."""
    return max(abs(x - y) for p, q in zip(a, b) for x, y in zip(p, q))


def minus(a, b):
    return [[x - y for x, y in zip(p, q)] for p, q in zip(a, b)]


VIRIAL = ["Vir-XX", "Vir-XY", "Vir-XZ", "Vir-YX", "Vir-YY", "Vir-YZ", "Vir-ZX", "Vir-ZY", "Vir-ZZ"]


def single(name, model, group, gro="start.gro", top="topol.top", *more, env=None, **options):
    """One step: NN energy, virial (9), forces of all atoms, volume and pressure."""
    grompp(mdp(f"{name}.mdp", model=model, group=group, **options), gro, top, f"{name}.tpr")
    mdrun(name, f"{name}.tpr", *more, env=env)
    row = terms(name, "NN-Potential", *VIRIAL, "Pressure")[0]
    return row[0], row[1:10], forces(name), row[10]


def elements_of(atoms):
    return [re.sub(r"\d", "", head[10:15]).strip()[0] for head, _ in atoms]


def hold(n):
    """posre.itp with all atoms of the group. A random model has no bonds: without springs, hydrogen falls into the next oxygen of the water in 10 fs."""
    write("posre.itp", "[ position_restraints ]\n" + "".join(f"{i + 1} 1 200000 200000 200000\n" for i in range(n)))


def model(name, seed):
    run(weir, "model", "new", "--preset", "tiny", "--seed", seed, "--out", name, "-q")
    return name


def trajectory(what, steps, gro, top, group, ndx="groups.ndx", more=(), env=None, **options):
    """Rows of NN, potential, kinetic and total energy of a run without thermostat, the group's atoms held by springs.

    GROMACS_ENERGIES names a file that gets them as a line of JSON (benches/results, docs/gromacs-native-energies.svg).
    """
    options = {"gen_vel": "yes", "gen_temp": 300, "gen_seed": 7, "verlet_buffer_tolerance": "0.0005", "define": "-DPOSRES", "comm_mode": "None", **options}
    grompp(mdp("nve.mdp", nsteps=steps, nstfout=0, model="a.weir", group=group, **options), gro, top, "nve.tpr", ndx)
    mdrun("nve", "nve.tpr", *more, env=env)
    rows = terms("nve", "NN-Potential", "Potential", "Kinetic-En.", "Total-Energy")
    if os.environ.get("GROMACS_ENERGIES"):
        line = {"run": what, "dt_ps": options["dt"], "date": date.today().isoformat(), "kinetic_swing": swings(rows)[2], "total": [row[3] for row in rows]}
        with open(os.environ["GROMACS_ENERGIES"], "a") as file:
            file.write(json.dumps(line) + "\n")
    return rows


def swings(rows):
    """Largest less smallest of NN, potential, kinetic and total energy."""
    return [max(column) - min(column) for column in zip(*rows)]


def spread(rows):
    """Largest less smallest total energy."""
    return swings(rows)[3]


def wandering(rows):
    moved, _, swing, off = swings(rows)
    return f"total {rows[0][3]:.2f} to {rows[-1][3]:.2f}, spread {off:.2f}; kinetic swings by {swing:.1f}, NN by {moved:.3f} kJ/mol"


def conserved(what, steps, *args, dt=0.0005, **options):
    """Checks that total energy keeps within 1 % of the kinetic energy's swing; gives its spread."""
    rows = trajectory(what, steps, *args, dt=dt, **options)
    moved, _, swing, off = swings(rows)
    check(f"energy is conserved ({what}, {steps} steps of {1000 * dt:g} fs)", len(rows) == steps + 1 and off < 0.01 * swing and moved > 0, wandering(rows))
    return off

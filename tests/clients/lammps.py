"""The cases of lammps.sh: LAMMPS on Weir's libdeepmd_c.so against `weir eval`, in double precision unless said otherwise.

    lammps.py WEIR FOLDER        FOLDER has v/ (a venv with lammps) and plugin/ (dpplugin.so, libdeepmd_c.so)
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
WORK = Path(tempfile.mkdtemp(prefix="weir-lammps-"))
# eV/A^3 in bar, as LAMMPS has it in units metal.
BAR = 1.6021765e6
PASSED, FAILED = [], []


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
    lines += ["", "Masses", ""] + [f"{k + 1} {dict(O=15.999, H=1.008)[s]}" for k, s in enumerate(order)]
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


def lammps(name, text, ranks=1, env=None, limit=600):
    """Runs an input; returns code, output, rows of thermo output."""
    folder = WORK / name
    folder.mkdir(exist_ok=True)
    (folder / "in.test").write_text(text)
    command = [CLIENTS / "v/bin/lmp", "-in", "in.test", "-log", "log.lammps"]
    if ranks > 1:
        command = [CLIENTS / "v/bin/mpirun", "-n", str(ranks)] + command
    variables = dict(os.environ, WEIR_PRECISION="f64", OMP_NUM_THREADS="1", WEIR_THREADS="2")
    variables.update(env or {})
    variables = {k: v for k, v in variables.items() if v}
    # pip's lmp starts the real one: both must go when time is up.
    child = subprocess.Popen(command, cwd=folder, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise
    rows, keys = [], None
    for line in out.splitlines():
        words = line.split()
        if words[:1] == ["Step"]:
            keys = words
        elif keys and len(words) == len(keys):
            try:
                rows.append(dict(zip(keys, map(float, words))))
            except ValueError:
                keys = None
    return child.returncode, out + err, rows


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


def compare(name, row, cell=None, model=MODEL, forces=1e-8, **options):
    """A thermo row and the last frame of last.dump against `weir eval`; `cell` replaces the frame's."""
    own, types, x, f = dumped(WORK / name / "last.dump")
    symbols = [{1: "O", 2: "H"}[t] for t in types]
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


def data(name, cell=CUBE, x=X, **options):
    path = WORK / f"{name}.data"
    write_data(path, SYMBOLS, x, cell, **options)
    return path


def case(function):
    begin = time.time()
    try:
        told = function() or ""
        PASSED.append(function.__name__)
        print(f"ok      {function.__name__} ({time.time() - begin:.1f} s) {told}", flush=True)
    except Exception as e:  # every failure is told, none ends the others
        FAILED.append(function.__name__)
        print(f"FAILED  {function.__name__}: {type(e).__name__}: {e}", flush=True)


@case
def one_step_equals_eval():
    row = good("single", head(data("single")) + SHOW + DUMP + "run 0\n")[-1]
    compare("single", row)


@case
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


@case
def directions_without_periodicity():
    text = head(data("slab"), boundary="boundary p p f") + "change_box all z final -1 30\n" + SHOW + DUMP + "run 0\n"
    rows = good("slab", text)
    cell, _, _, _ = dumped(WORK / "slab/last.dump")
    # Eval knows periodic cells only: the third vector goes far away.
    cell[2][2] = 200.0
    compare("slab", rows[-1], cell=cell)


@case
def nve_conserves_energy():
    text = head(data("nve")) + "velocity all create 300 4711 dist gaussian\nfix 1 all nve\ntimestep 0.0005\natom_modify sort 100 3.0\n"
    most = int(os.environ.get("CLIENT_SECONDS", "300"))
    text += SHOW + f"thermo 100\ntimer timeout 0:{most // 60}:{most % 60:02d} every 50\n" + DUMP.replace("all custom 1 ", "all custom 100 ") + "run 1000\n"
    begin = time.time()
    rows = good("nve", text, env={"WEIR_PRECISION": ""})
    total = [r["TotEng"] for r in rows]
    steps = int(rows[-1]["Step"])
    assert steps >= 50, f"only {steps} steps in {most} s"
    drift = max(total) - min(total)
    assert drift < 2e-4 * len(X), f"total energy varies by {drift} eV"
    return f"{steps} steps in {time.time() - begin:.0f} s, total energy within {drift:.2e} eV"


@case
def npt_follows_the_box():
    text = head(data("npt")) + "velocity all create 300 4711 dist gaussian\ntimestep 0.0005\n"
    text += "fix 1 all npt temp 300 300 0.05 aniso 0 0 0.1\n"
    text += SHOW + DUMP + "thermo 10\nrun 30\n"
    rows = good("npt", text)
    assert abs(rows[-1]["Volume"] - rows[0]["Volume"]) > 1e-3, "the box did not move"
    compare("npt", rows[-1])
    return f"volume {rows[0]['Volume']:.1f} -> {rows[-1]['Volume']:.1f} A^3"


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


@case
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
    assert code != 0 and "WEIR_HBM_BUDGET" in output, output[-800:]
    row = good("small", text, env={"WEIR_HBM_BUDGET": "24MiB", "WEIR_HOST_BUDGET": "256MiB", "WEIR_PLACEMENT": "hbm,system"})[-1]
    compare("small", row)


@case
def several_models_are_compared():
    text = head(data("devi"), pair="pair_coeff * * O H").replace(f"deepmd {MODEL}", f"deepmd {MODEL} {MODEL} out_freq 1 out_file md.out")
    row = good("devi", text + SHOW + DUMP + "run 2\n")[-1]
    compare("devi", row)
    lines = (WORK / "devi/md.out").read_text().splitlines()
    values = [float(v) for line in lines if not line.startswith("#") for v in line.split()[1:]]
    # One model beside itself.
    assert values and max(abs(v) for v in values) < 1e-10, lines


@case
def two_ranks_are_refused_at_once():
    begin = time.time()
    code, output, _ = lammps("ranks", head(data("ranks")) + SHOW + "run 0\n", ranks=2, limit=100)
    assert code != 0 and "2 MPI ranks" in output, output[-800:]
    return f"after {time.time() - begin:.1f} s"


print(f"lammps: {len(PASSED)} passed, {len(FAILED)} failed")
sys.exit(1 if FAILED else 0)

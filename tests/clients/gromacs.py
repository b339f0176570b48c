"""The cases of gromacs.sh: an unmodified GROMACS on Weir's libweir.so against `weir eval`.

    gromacs.py FOLDER        FOLDER has weir and libweir.so; GMX (and GMX_MPI, MPIRUN, PLUMED) name the programs, GMXLIB the force fields;
                             GROMACS_CASES="plumed restart" runs cases with one of these words in their names
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
from gromacs_plumed import CASES as WITH_PLUMED
from gromacs_tools import BAR, FAILED, GMX, GMX_MPI, KERNEL, MODEL, MPIRUN, PASSED, PROTEIN, ROOT, STEPS, WATER, WEIR, WORK
from gromacs_tools import call, case, energies, evaluate, good, mdrun, prepared, ran, same, symbols_of, trr, weir, xvg


def every_frame_has_the_forces_energy_and_pressure_of_weir_eval():
    folder = prepared("frames", MODEL, WATER, "--ensemble", "nve", mdp=dict(STEPS, nsteps=20), dat={"energy_every": 1})
    ran(folder)
    symbols, rows, told = symbols_of(WATER), xvg(folder / "weir_energy.xvg"), []
    terms = energies(folder, "Pressure", "Kinetic-En.", "Pres-XX", "Pres-YY", "Pres-ZZ")
    for frame in trr(folder / "traj.trr"):
        energy, forces, virial = evaluate(symbols, frame["x"], frame["box"])
        k = frame["step"]
        told.append(same(f"step {k}: forces", frame["f"], forces, 2e-3 * max(1, np.abs(forces).max() / 1000)))
        # Positions of the trajectory are single precision, as those that were computed from.
        same("energy", rows[k, 1], energy, 0.02)
        same("virial", rows[k, 2:5], np.diag(virial), 0.5)
        # 2 K + virial over the volume, GROMACS' kinetic energy being of the same step.
        pressure = (2 * terms[k, 2] + np.trace(virial)) / (3 * np.linalg.det(frame["box"])) * BAR
        told.append(same("pressure (bar)", terms[k, 1], pressure, 2.0 + 2e-3 * abs(pressure)))
    return ", ".join(told)


def energy_is_conserved():
    folder = prepared("nve", MODEL, WATER, "--ensemble", "nve", mdp=dict(STEPS, nsteps=100, dt=0.00025, nstxout=0, nstfout=0), dat={"energy_every": 1})
    ran(folder)
    kinetic, own = energies(folder, "Kinetic-En."), xvg(folder / "weir_energy.xvg")
    total = kinetic[:, 1] + own[:, 1]
    swing, drift = np.ptp(own[:, 1]), np.ptp(total)
    assert swing > 20, swing
    assert drift < 0.03 * swing, f"total {total[0]:.4f} -> {total[-1]:.4f}, range {drift:.4f}, potential moved {swing:.2f}"
    return f"{total[0]:.3f} -> {total[-1]:.3f} kJ/mol, range {drift:.3f}, potential moved by {swing:.1f}"


def the_box_responds_to_the_models_pressure():
    mdp = dict(STEPS, nsteps=60, nstxout=60, nstfout=60)
    mdp.update({"tau-p": 0.5, "nstpcouple": 5})
    folder = prepared("npt", MODEL, WATER, "--ensemble", "npt", mdp=mdp)
    ran(folder)
    terms = energies(folder, "Volume", "Pressure")
    frame = trr(folder / "traj.trr")[-1]
    _, forces, _ = evaluate(symbols_of(WATER), frame["x"], frame["box"])
    # 0.03 ps of a barostat with 0.5 ps, its noise in so small a box among it.
    assert 1e-5 < abs(terms[-1, 1] / terms[0, 1] - 1) < 0.1, terms[:, 1]
    return f"volume {terms[0, 1]:.5f} -> {terms[-1, 1]:.5f} nm^3; " + same("forces in the last box", frame["f"], forces, 5e-3 * max(1, np.abs(forces).max() / 1000))


def a_restart_continues_run_and_log():
    mdp = dict(STEPS, nsteps=20, nstxout=0, nstfout=0, nstvout=0)
    whole = prepared("whole", MODEL, WATER, "--ensemble", "nve", mdp=mdp, dat={"energy_every": 1})
    ran(whole)
    halves = WORK / "halves"
    shutil.copytree(whole, halves, ignore=shutil.ignore_patterns("*.xvg", "*.cpt", "*.edr", "*.log", "*.trr"))
    ran(halves, "-nsteps", "12", "-cpo", "state.cpt")
    ran(halves, "-cpi", "state.cpt", "-nsteps", "8")
    a, b = xvg(whole / "weir_energy.xvg"), xvg(halves / "weir_energy.xvg")
    assert len(a) == len(b) == 21, (len(a), len(b))
    same("times", a[:, 0], b[:, 0], 1e-9)
    return same("energies (kJ/mol)", a[:, 1], b[:, 1], 0.05)


def several_ranks_are_refused():
    folder = WORK / "nve"
    code, output = call([GMX, "mdrun", "-ntmpi", "2", "-ntomp", "1", "-s", "topol.tpr", "-deffnm", "two", "-plumed", "weir.dat"], folder)
    assert code != 0 and "rank" in output, output[-1500:]
    return "refused"


def what_is_wrong_is_a_clean_error_of_gromacs():
    folder, told = WORK / "nve", []
    right = (folder / "weir.dat").read_text()
    for change, words in [
        (lambda t: t.replace("model ", "modle "), ['unknown key "modle", did you mean "model"?']),
        (lambda t: t.replace(str(MODEL), "/no/such/model.dp"), ["/no/such/model.dp"]),
        (lambda t: t.replace("element O", "element Xe"), ["which the model does not know"]),
    ]:
        (folder / "weir.dat").write_text(change(right))
        code, output = mdrun(folder, "-s", "topol.tpr", "-deffnm", "wrong")
        assert code == 1 and all(w in output.replace("\n", " ") for w in words) and "Weir" in output, (code, output[-1500:])
        told.append("exit 1")
    (folder / "weir.dat").write_text(right)
    return ", ".join(told)


def a_protein_in_vacuum_runs():
    model = WORK / "tiny.dp"
    weir("model", "new", "--preset", "tiny", "--seed", "3", "-o", model)
    folder = prepared("protein", model, PROTEIN, "--vacuum", "--ensemble", "nve", mdp=dict(STEPS, nsteps=4, nstxout=2, nstfout=2), dat={"energy_every": 1})
    ran(folder)
    frames = trr(folder / "traj.trr")
    assert [f["step"] for f in frames] == [0, 2, 4]
    _, forces, _ = evaluate(symbols_of(PROTEIN), frames[-1]["x"], None, model=model)
    return same("forces after 4 steps", frames[-1]["f"], forces, 5e-3 * max(1, np.abs(forces).max() / 1000))


def threads_are_not_all_on_the_core_that_mdrun_pins():
    folder = WORK / "nve"
    ran(folder, "-s", "topol.tpr", "-deffnm", "pinned", "-nsteps", "4", "-pin", "on")
    return "runs pinned"


def the_mpi_program_runs_on_one_rank():
    if not GMX_MPI or not Path(GMX_MPI).exists():
        return "skipped: no gmx_mpi"
    folder = prepared("mpi", MODEL, WATER, "--ensemble", "nve", mdp=dict(STEPS, nsteps=4), dat={"energy_every": 1})
    code, output = mdrun(folder, program=GMX_MPI, ntmpi=False, env={"OMPI_MCA_plm": "isolated", "OPAL_PREFIX": os.environ.get("OPAL_PREFIX", "")})
    if code != 0 and ("opal_init" in output or "orte_init" in output or "prte" in output.lower() or "MPI_INIT" in output):
        return "skipped: Open MPI does not start here: " + " ".join(output.split()[-20:])
    assert code == 0, output[-2000:]
    assert len(xvg(folder / "weir_energy.xvg")) == 5
    return "5 steps"


CLASSICAL = """define = -DHELD
integrator = md
dt = 0.0002
nsteps = 30
cutoff-scheme = Verlet
coulombtype = PME
rcoulomb = 0.9
rvdw = 0.9
constraints = none
gen-vel = yes
gen-temp = 300
gen-seed = 7
nstxout = 10
nstfout = 10
nstenergy = 1
nstcalcenergy = 1
"""


def one_molecule_by_the_model_among_classical_ones():
    # 6 fs: hydrogen of TIP3P has no size, and only the small model's weak bond keeps it from the next oxygen.
    folder = WORK / "a group"
    folder.mkdir()
    (folder / "topol.top").write_text(
        '#include "amber99sb-ildn.ff/forcefield.itp"\n#include "amber99sb-ildn.ff/tip3p.itp"\n'
        "#ifdef HELD\n[ position_restraints ]\n1 1 1000 1000 1000\n#endif\n[ system ]\nwater\n[ molecules ]\n"
    )
    good([GMX, "solvate", "-cs", "spc216.gro", "-box", 2.2, 2.2, 2.2, "-p", "topol.top", "-o", "wet.gro"], folder)
    (folder / "one.ndx").write_text("[ One ]\n4 5 6\n")
    (folder / "md.mdp").write_text(CLASSICAL)
    arguments = ["wet.gro", "--group", "One", "--index", "one.ndx", "--topology", "topol.top", "--mdp", "md.mdp", "--out", "run"]
    told = good([WEIR, "--quiet", "gromacs", "prepare", MODEL, *arguments], folder)
    run = folder / "run"
    # The line as it is printed, which has no -maxwarn.
    line = next(line for line in told.splitlines() if "gmx grompp" in line)
    assert "-maxwarn" not in line and " -n " in line and " -r " in line, line
    good(["sh", "-c", line], run)
    (run / "weir.dat").write_text((run / "weir.dat").read_text().replace("energy_every 100", "energy_every 1"))
    ran(run)
    # What is left of the forces without Weir is the model's, and acts on three atoms only.
    good([GMX, "mdrun", "-ntmpi", "1", "-ntomp", "1", "-s", "topol.tpr", "-rerun", "traj.trr", "-deffnm", "classical"], run)
    told = []
    for frame, rest in zip(trr(run / "traj.trr"), trr(run / "classical.trr")):
        _, forces, _ = evaluate(["O", "H", "H"], frame["x"][3:6], frame["box"])
        own = frame["f"] - rest["f"]
        told.append(same("forces of the group", own[3:6], forces, 5e-3 * max(1, np.abs(frame["f"]).max() / 1000)))
        same("forces of the rest", np.delete(own, (3, 4, 5), axis=0), 0, 5e-3 * max(1, np.abs(frame["f"]).max() / 1000))
        assert np.abs(forces).max() > 100, forces
    assert len(told) == 4, len(told)
    terms, own = energies(run, "Kinetic-En.", "Potential"), xvg(run / "weir_energy.xvg")
    total = terms[:, 1] + terms[:, 2] + own[:, 1]
    swing = np.ptp(terms[:, 1])
    assert np.ptp(total) < 0.05 * swing, (np.ptp(total), swing)
    return f"{told[-1]}; total energy within {np.ptp(total):.2f} kJ/mol while the kinetic energy moved by {swing:.1f}"


def another_kernel_behind_gets_every_command_and_adds_its_forces():
    # A second Weir, of another file, stands for PLUMED: a kernel with real forces.
    second = WORK / "libsecond.so"
    shutil.copy(KERNEL, second)
    folder = prepared("behind", MODEL, WATER, "--ensemble", "nve", mdp=dict(STEPS, nsteps=10), dat={"energy_every": 1})
    (folder / "second.dat").write_text((folder / "weir.dat").read_text().replace("weir_energy.xvg", "second.xvg"))
    with open(folder / "weir.dat", "a") as dat:
        dat.write(f"plumed_kernel {second}\nplumed_file second.dat\n")
    ran(folder)
    frame = trr(folder / "traj.trr")[-1]
    _, forces, _ = evaluate(symbols_of(WATER), frame["x"], frame["box"])
    first, other = xvg(folder / "weir_energy.xvg"), xvg(folder / "second.xvg")
    assert len(first) == len(other) == 11 and np.array_equal(first, other)
    return same("twice the forces", frame["f"], 2 * forces, 4e-3 * max(1, np.abs(forces).max() / 1000))


def two_simulations_run_side_by_side():
    if not MPIRUN or not GMX_MPI:
        return "skipped: no mpirun and gmx_mpi"
    folders = [prepared(name, MODEL, WATER, "--ensemble", "nvt", mdp=dict(STEPS, nsteps=6, **{"gen-seed": seed, "ld-seed": 5}), dat={"energy_every": 1}) for name, seed in (("left", 3), ("right", 4))]
    command = [MPIRUN, "-n", 2, GMX_MPI, "mdrun", "-multidir", *folders, "-ntomp", 1, "-plumed", "weir.dat"]
    good(command, WORK, env={"WEIR_THREADS": "1"})
    logs = [xvg(folder / "weir_energy.xvg") for folder in folders]
    assert [len(log) for log in logs] == [7, 7] and logs[0][0, 1] == logs[1][0, 1] and logs[0][-1, 1] != logs[1][-1, 1], logs
    # Each is the run that it is alone.
    alone = WORK / "alone"
    shutil.copytree(folders[1], alone, ignore=shutil.ignore_patterns("*.xvg", "*.cpt", "*.edr", "*.log", "*.trr"))
    ran(alone)
    return same("energies against a run alone (kJ/mol)", logs[1][:, 1], xvg(alone / "weir_energy.xvg")[:, 1], 0.02)


def the_example_runs_from_a_pdb_file_to_ns_a_day():
    folder, model = WORK / "example", WORK / "tiny.dp"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("peptide.pdb"), folder / "p.pdb")
    good([ROOT / "examples/gromacs/run.sh", model, "p.pdb"], folder, env={"NSTEPS": "20", "NTOMP": "2"})
    logs = [(folder / "run" / name).read_text() for name in ("md.log", "by-model/md.log")]
    speeds = [line.split()[1] for log in logs for line in log.splitlines() if line.startswith("Performance:")]
    assert len(speeds) == 2 and all(float(speed) > 0 for speed in speeds), speeds
    assert len(xvg(folder / "run/by-model/weir_energy.xvg")) == 1
    return " and ".join(speeds) + " ns/day"


for function in (
    every_frame_has_the_forces_energy_and_pressure_of_weir_eval,
    energy_is_conserved,
    the_box_responds_to_the_models_pressure,
    a_restart_continues_run_and_log,
    several_ranks_are_refused,
    what_is_wrong_is_a_clean_error_of_gromacs,
    a_protein_in_vacuum_runs,
    threads_are_not_all_on_the_core_that_mdrun_pins,
    the_mpi_program_runs_on_one_rank,
    one_molecule_by_the_model_among_classical_ones,
    another_kernel_behind_gets_every_command_and_adds_its_forces,
    *WITH_PLUMED,
    two_simulations_run_side_by_side,
    the_example_runs_from_a_pdb_file_to_ns_a_day,
):
    case(function)
if not FAILED:
    shutil.rmtree(WORK)
print(f"gromacs: {len(PASSED)} passed, {len(FAILED)} failed")
sys.exit(bool(FAILED) or not PASSED)

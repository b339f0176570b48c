"""Runs of many steps, at constant energy and pressure, minimisation, restart, the example."""

import os
import subprocess
import time

import numpy as np
from case import CLIENTS, FAST, ROOT, WORK, case
from compare import compare, same
from start import good, thermo
from write import DUMP, SHOW, START, X, data, goes_on, head


def long_run(name, fixes):
    """1,000 steps (fewer where CLIENT_SECONDS are over), single precision; rows of thermo output and what to tell."""
    text = head(data(name)) + START + "atom_modify sort 100 3.0\n" + fixes
    most, steps = int(os.environ.get("CLIENT_SECONDS", "300")), 1000
    # No terms of atoms: the plugin asks for their virials with their energies, three more passes.
    text += "thermo_style custom step temp pe etotal press vol\nthermo_modify format float %.15g\n"
    text += f"thermo {steps // 100}\ntimer timeout 0:{most // 60}:{most % 60:02d} every 20\n"
    text += f"run {steps}\n"
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
    assert np.ptp([r["PotEng"] for r in rows]) > 10 * drift, "nothing moved"
    return f"{told}, total energy within {drift:.2e} eV"


@case
def npt_follows_the_box():
    rows, told = long_run("npt", "fix 1 all npt temp 300 300 0.05 aniso 1 1 0.5\n")
    assert all(0 < r["Temp"] < 1000 for r in rows), rows
    assert abs(rows[-1]["Volume"] - rows[0]["Volume"]) > 1e-3, "the box did not move"
    # Numbers of a box that moved, in double precision.
    text = head(data("npt64")) + START + "fix 1 all npt temp 300 300 0.05 tri 0 0 0.1\n" + SHOW + DUMP + "thermo 10\nrun 20\n"
    last = good("npt64", text.replace("pair_style", "change_box all triclinic\npair_style", 1))[-1]
    compare("npt64", last)
    return f"{told}, volume {rows[0]['Volume']:.1f} -> {rows[-1]['Volume']:.1f} A^3"


@case
def minimisation_goes_down():
    text = head(data("minimize")) + SHOW + DUMP + "thermo 10\nminimize 0 1e-2 10 30\n"
    rows = good("minimize", text)
    assert rows[-1]["PotEng"] < rows[0]["PotEng"] - 0.1, (rows[0], rows[-1])
    compare("minimize", rows[-1])
    return f"{rows[0]['PotEng']:.3f} -> {rows[-1]['PotEng']:.3f} eV"


@case
def run_0_after_a_restart_gives_the_same_step():
    begin = head(data("before")) + START + "fix 1 all nve\n"
    before = good("before", begin + SHOW + "run 10\nwrite_restart ten.restart\n")[-1]
    after = good("after", goes_on(WORK / "before/ten.restart") + SHOW + DUMP + "run 0\n")[-1]
    compare("after", after)
    same("energy", before["PotEng"], after["PotEng"], 1e-9 * len(X))


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

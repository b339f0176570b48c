"""The cases of dp_ipi.sh: DeePMD-kit's own i-PI driver on Weir's libdeepmd_c.so, with ASE and i-PI as servers.

    dp_ipi.py DRIVER        `weir`, `i-pi` and `python` with ASE are on PATH
"""

import json
import os
import subprocess
import sys
import time

import numpy as np
from ase import units
from ase.calculators.socketio import SocketIOCalculator
from ase.io import read, write
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from sockets import MODEL, ROOT, WATER, WORK, case, end, evaluate, table

DRIVER = sys.argv[1]
# The driver's hartree; energies are 30,000 eV, so its last digits show.
SCALE = units.Hartree / 27.21138602


def start(atoms, name, model=MODEL, **more):
    """Starts the driver on a Unix socket."""
    write(WORK / f"{name}.xyz", atoms, format="xyz")
    settings = dict(verbose=False, use_unix=True, port=31415, host=name, graph_file=str(model))
    settings.update(coord_file=str(WORK / f"{name}.xyz"), atom_type={"O": 0, "H": 1})
    path = WORK / f"{name}.json"
    path.write_text(json.dumps(settings))
    environment = {**os.environ, "WEIR_PRECISION": "f64", "WEIR_THREADS": "2", "OMP_NUM_THREADS": "1", **more}
    return subprocess.Popen([DRIVER, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


class Served:
    def __init__(self, atoms, name):
        self.atoms, self.name = atoms, f"{name}-{os.getpid()}"

    def __enter__(self):
        self.calculator = SocketIOCalculator(unixsocket=self.name)
        self.calculator.__enter__()
        self.driver = start(self.atoms, self.name)
        self.atoms.calc = self.calculator

    def __exit__(self, *error):
        self.calculator.close()
        _, said = self.driver.communicate(timeout=60)
        # It does not know EXIT, nor does it take a closed socket for an end: no fault of ours.
        assert "unexpected header" in said or "server has quit" in said, said


def numbers_in_ase_are_those_of_eval():
    atoms = read(WATER)
    # A sheared cell tells rows from columns; the driver sorts atoms by type.
    atoms.set_cell(atoms.cell[:] @ np.array([[1, 0, 0], [0.03, 1.01, 0], [-0.02, 0.05, 0.99]]), scale_atoms=True)
    with Served(atoms, "weir-numbers"):
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
    expected, there, virial = evaluate(atoms)
    # Bohr of both sides differ by 1e-9, so positions do.
    assert abs(energy - expected * SCALE) < 2e-6, (energy, expected * SCALE)
    assert np.abs(forces - there).max() < 2e-6
    assert np.abs(-0.5 * (virial + virial.T) / atoms.get_volume() - stress).max() < 1e-8


def ase_conserves_energy():
    atoms = read(WATER)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(7))
    energies = []
    with Served(atoms, "weir-verlet"):
        dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
        dynamics.attach(lambda: energies.append(atoms.get_total_energy()), interval=5)
        dynamics.run(50)
    assert len(energies) > 10 and np.ptp(energies) < 0.02, energies


def i_pi_conserves_energy():
    (WORK / "start.extxyz").write_text(WATER.read_text())
    text = (ROOT / "examples/ipi/nve.xml").read_text().replace("weir-nve", f"weir-dp-{os.getpid()}")
    (WORK / "dp.xml").write_text(text.replace("prefix='nve'", "prefix='dp'").replace("<total_steps>100", "<total_steps>50"))
    server = subprocess.Popen(["i-pi", "dp.xml"], cwd=WORK, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # The driver does not wait for a server.
    for _ in range(600):
        if os.path.exists(f"/tmp/ipi_weir-dp-{os.getpid()}"):
            break
        assert server.poll() is None, server.communicate()[0][-2000:]
        time.sleep(0.1)
    driver = start(read(WATER), f"weir-dp-{os.getpid()}")
    out, _ = server.communicate(timeout=300)
    driver.communicate(timeout=60)
    assert server.returncode == 0, out[-2000:]
    rows = table(WORK / "dp.out")
    assert len(rows) == 51
    assert abs(rows[0, 4] * 27.21138602 - evaluate(read(WATER))[0]) < 1e-3, rows[0]
    assert np.ptp(rows[:, 2]) < 0.02, np.ptp(rows[:, 2])
    assert np.ptp(rows[:, 4]) * 27.2 > 10 * np.ptp(rows[:, 2])


def what_is_wrong_is_told_once_by_the_driver():
    junk = WORK / "junk.dp"
    junk.write_text("this is no model")
    heads = ROOT / "tests/data/models/multitask.pt"
    atoms = read(WATER)
    for model, more, words in (
        (junk, {}, "junk.dp"),
        (WORK / "missing.dp", {}, "missing.dp"),
        (MODEL, {"WEIR_HBM_BUDGET": "much"}, "WEIR_HBM_BUDGET"),
        (heads, {"WEIR_HEAD": "H2O_Z"}, 'no head "H2O_Z"'),
    ):
        driver = start(atoms, "weir-none", model, **more)
        _, said = driver.communicate(timeout=60)
        assert driver.returncode != 0 and said.count(words) >= 1 and "C API Error" in said, (driver.returncode, said)


for run in (numbers_in_ase_are_those_of_eval, ase_conserves_energy, i_pi_conserves_energy, what_is_wrong_is_told_once_by_the_driver):
    case(run)
end("dp_ipi")

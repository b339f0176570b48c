"""The cases of ipi.sh: ASE and i-PI with forces by `weir serve`. `weir`, `i-pi` and `python` with ASE are on PATH."""

import os
import subprocess
import sys

import numpy as np
from ase import units
from ase.calculators.socketio import SocketIOCalculator
from ase.io import read, write
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from sockets import MODEL, ROOT, WATER, WORK, case, end, evaluate, table

# ASE's hartree (CODATA 2014) over ours (2022): 8e-9 of 30,000 eV would show.
HARTREE = 27.211386245981
SCALE = units.Hartree / HARTREE


class Served:
    """A SocketIOCalculator with a driver; both leave cleanly."""

    def __init__(self, atoms, structure=WATER, **socket):
        self.socket, self.structure, self.atoms = socket, structure, atoms

    def __enter__(self):
        self.calculator = SocketIOCalculator(**self.socket)
        self.calculator.__enter__()
        address = f"unix:{self.socket['unixsocket']}" if "unixsocket" in self.socket else f"localhost:{self.socket['port']}"
        command = ["weir", "serve", "--quiet", "--precision", "f64", "--ipi", address, MODEL, self.structure]
        self.driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.atoms.calc = self.calculator
        return self

    def __exit__(self, *error):
        self.calculator.close()
        out, _ = self.driver.communicate(timeout=60)
        assert self.driver.returncode == 0, self.driver.returncode
        assert "force calls" in out, out


def numbers_of_ase_are_those_of_eval():
    for socket in (dict(unixsocket=f"weir-test-{os.getpid()}"), dict(port=31419)):
        atoms = read(WATER)
        # A sheared cell tells rows from columns.
        atoms.set_cell(atoms.cell[:] @ np.array([[1, 0, 0], [0.03, 1.01, 0], [-0.02, 0.05, 0.99]]), scale_atoms=True)
        path = WORK / "sheared.extxyz"
        write(path, atoms)
        with Served(atoms, path, **socket):
            energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
        expected, there, virial = evaluate(atoms)
        assert abs(energy - expected * SCALE) < 1e-7, (energy, expected)
        assert np.abs(forces - there * SCALE).max() < 1e-8
        assert np.abs(-0.5 * (virial + virial.T) / atoms.get_volume() - stress).max() < 1e-9


def ase_relaxes_and_its_stress_is_the_strain_derivative():
    atoms = read(WATER)
    with Served(atoms, unixsocket=f"weir-test-{os.getpid()}"):
        before = np.abs(atoms.get_forces()).max()
        BFGS(atoms, logfile=None).run(fmax=0.05, steps=15)
        after, energy, stress = np.abs(atoms.get_forces()).max(), atoms.get_potential_energy(), atoms.get_stress(voigt=False)
        assert after < 0.5 * before, (before, after)
        start, volume = atoms.copy(), atoms.get_volume()
        for a, b in ((0, 0), (1, 2)):
            values = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[a, b] += sign * 1e-4
                atoms.set_cell(start.cell[:] @ strain.T)
                atoms.set_positions(start.get_positions() @ strain.T)
                values.append(atoms.get_potential_energy())
            numeric = (values[0] - values[1]) / 2e-4 / volume
            assert abs(numeric - stress[a, b]) < 1e-6, (numeric, stress[a, b])
    assert abs(evaluate(start)[0] * SCALE - energy) < 1e-7


def ase_conserves_energy():
    atoms = read(WATER)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(7))
    energies = []
    with Served(atoms, unixsocket=f"weir-test-{os.getpid()}"):
        dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
        dynamics.attach(lambda: energies.append(atoms.get_total_energy()), interval=5)
        dynamics.run(200)
    # The start is not in equilibrium; what is left is the integrator's O(dt^2), some meV of 192 atoms.
    assert np.ptp(energies) < 0.02, np.ptp(energies)


def i_pi_conserves_energy_and_starts_from_the_energy_of_eval():
    subprocess.run([ROOT / "examples/ipi/run.sh", "nve", WORK], check=True, timeout=600, env={**os.environ, "WEIR_PRECISION": "f64"})
    rows = table(WORK / "nve.out")
    assert len(rows) == 101
    assert abs(rows[0, 4] - evaluate(read(WATER))[0] / HARTREE) < 1e-5, rows[0]
    # Over 25 fs; potential and kinetic energy exchange a hundred times that.
    assert np.ptp(rows[:, 2]) < 0.02, np.ptp(rows[:, 2])
    assert np.ptp(rows[:, 4]) * HARTREE > 10 * np.ptp(rows[:, 2])


def i_pi_runs_a_path_integral_with_two_drivers():
    environment = {**os.environ, "DRIVERS": "2", "WEIR_THREADS": "1", "WEIR_PRECISION": "f64"}
    subprocess.run([ROOT / "examples/ipi/run.sh", "pimd", WORK], check=True, timeout=900, env=environment)
    rows = table(WORK / "pimd.out")
    assert len(rows) == 21
    # The potential of i-PI is the mean over beads, which start together.
    assert abs(rows[0, 5] - evaluate(read(WATER))[0] / HARTREE) < 1e-5, rows[0]
    assert np.ptp(rows[:, 2]) < 0.05, np.ptp(rows[:, 2])


def the_example_of_ase_runs():
    out = subprocess.run([sys.executable, ROOT / "examples/ase/relax_and_run.py"], check=True, timeout=600, capture_output=True, text=True).stdout
    assert out.count("total energy") == 5, out


def another_number_of_atoms_ends_both_with_the_reason():
    atoms = read(WATER)[:30]
    calculator = SocketIOCalculator(unixsocket=f"weir-test-{os.getpid()}")
    command = ["weir", "serve", "--quiet", "--ipi", f"unix:weir-test-{os.getpid()}", MODEL, WATER]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    atoms.calc = calculator
    try:
        atoms.get_forces()
        raise AssertionError("forces of other atoms")
    except OSError:
        pass
    finally:
        calculator.close()
    _, text = driver.communicate(timeout=60)
    assert driver.returncode == 1 and "30 atoms, the structure has 192" in text, text


for run in (
    numbers_of_ase_are_those_of_eval,
    ase_relaxes_and_its_stress_is_the_strain_derivative,
    ase_conserves_energy,
    another_number_of_atoms_ends_both_with_the_reason,
    the_example_of_ase_runs,
    i_pi_conserves_energy_and_starts_from_the_energy_of_eval,
    i_pi_runs_a_path_integral_with_two_drivers,
):
    case(run)
end("ipi")

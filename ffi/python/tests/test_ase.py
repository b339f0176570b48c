"""ASE drives: dynamics, relaxation, changes of everything that can change."""

import ast
import copy
import pickle

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import Trajectory
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from conftest import MODEL, MULTITASK, ROOT, molecule, water

import weir


def test_energy_is_conserved(calculator):
    atoms = water()
    spread = np.sqrt(units.kB * 300 * atoms.get_masses())[:, None]
    atoms.set_momenta(np.random.default_rng(7).normal(0, 1, (192, 3)) * spread)
    atoms.calc = calculator(precision="f64")
    energies = []
    dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(40)
    assert np.ptp(energies) < 0.02


def test_bfgs_relaxes(calculator, tmp_path):
    atoms = molecule(5)
    atoms.calc = calculator(precision="f64")
    path = tmp_path / "relaxed.traj"
    assert BFGS(atoms, logfile=None, trajectory=str(path)).run(fmax=0.01, steps=60)
    last = Trajectory(path)[-1]
    assert last.get_potential_energy() == atoms.get_potential_energy()
    assert last.calc.name == "weir"


def test_changes_of_atoms_cell_and_periodicity_are_seen(calculator):
    calc = calculator()
    for atoms in (water(), molecule(), water()[:96], molecule()[[1, 0, 2]], Atoms("O"), water()):
        atoms.calc = calc
        fresh = atoms.copy()
        fresh.calc = calculator()
        assert atoms.get_potential_energy() == fresh.get_potential_energy()
        assert np.array_equal(atoms.get_forces(), fresh.get_forces())
    seen = [atoms.get_potential_energy()]
    atoms.pbc = False
    seen.append(atoms.get_potential_energy())
    atoms.pbc = True
    atoms.set_cell(atoms.cell * 1.1)
    seen.append(atoms.get_potential_energy())
    atoms.numbers[0] = 9 - atoms.numbers[0]
    seen.append(atoms.get_potential_energy())
    assert len(set(seen)) == 4
    # Charges are none of ours: nothing is computed again.
    atoms.set_initial_charges(np.ones(192))
    assert not calc.calculation_required(atoms, ["energy", "forces"])


def test_mixed_periodicity_is_refused(calculator):
    atoms = water()
    atoms.calc = calculator()
    atoms.pbc = (True, True, False)
    with pytest.raises(weir.ArgumentError, match=r'pbc="T T F".*vacuum gap'):
        atoms.get_potential_energy()


def test_stress_needs_a_cell(calculator):
    atoms = molecule()
    atoms.calc = calculator()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    assert atoms.get_forces().shape == (3, 3)


def test_type_dict_and_unknown_elements(calculator):
    atoms = molecule()
    atoms.calc = calculator()
    energy = atoms.get_potential_energy()
    other = Atoms("SHH", atoms.positions)
    other.calc = calculator()
    with pytest.raises(weir.ArgumentError, match="atom 0 is S, which the model does not know: O H"):
        other.get_potential_energy()
    other.calc = calculator(type_dict={"S": 0, "H": 1})
    assert other.get_potential_energy() == energy
    # A dummy atom is not seen.
    dummy = atoms + Atoms("X", [[0, 0, 3.0]])
    dummy.calc = calculator()
    assert dummy.get_potential_energy() == energy and not dummy.get_forces()[3].any()


def test_pickles_and_copies_compute_the_same(calculator):
    atoms = molecule()
    atoms.calc = calculator(threads=1)
    energy = atoms.get_potential_energy()
    for again in (pickle.loads(pickle.dumps(atoms.calc)), copy.deepcopy(atoms.calc), pickle.loads(pickle.dumps(atoms)).calc):
        assert again.parameters["threads"] == 1
        other = molecule()
        other.calc = again
        assert other.get_potential_energy() == energy
        again.reset()
        assert other.get_potential_energy() == energy


def test_parameters_that_the_model_does_not_take_are_refused(calculator):
    atoms = molecule()
    atoms.info["fparam"] = [1.0]
    atoms.calc = calculator()
    # The structure may carry them for another model.
    atoms.get_potential_energy()
    atoms.calc = calculator(fparam=[1.0])
    with pytest.raises(weir.ArgumentError, match="takes no frame parameters"):
        atoms.get_potential_energy()


def test_settings_are_keywords(calculator):
    with pytest.raises(weir.SettingError, match="did you mean threads"):
        calculator(thread=2)
    with pytest.raises(weir.SettingError, match="argument threads"):
        calculator(threads="many")
    with pytest.raises(weir.SettingError, match="argument hbm_budget"):
        calculator(hbm_budget=12)
    # Of the wrong kind, or of another module's: all that is wrong with a setting is one class of error.
    with pytest.raises(weir.SettingError, match="argument threads.*float"):
        calculator(threads=2.5)
    with pytest.raises(weir.SettingError, match="log level"):
        calculator(log="loud")
    with pytest.raises(weir.ModelError, match='no head "ice".*H2O_A'):
        calculator(MULTITASK, head="ice")
    assert calculator(placement=["hbm", "system"], hbm_budget="1GiB", host_budget="1GiB").parameters["hbm_budget"] == "1GiB"


def test_the_list_of_settings_is_one_list(calculator):
    stub = ast.parse((ROOT / "ffi/python/python/weir/_settings.pyi").read_text())
    body = next(node for node in stub.body if isinstance(node, ast.ClassDef)).body
    assert {line.target.id for line in body} | {"head"} == set(weir.SETTINGS)
    # Each is a keyword: a wrong value is told as a value, not as an unknown name.
    for name in weir.SETTINGS:
        with pytest.raises(weir.SettingError) as caught:
            calculator(**{name: 1.5})
        assert f"argument {name}" in str(caught.value)


def test_a_budget_that_is_too_small_names_what_would_do(calculator):
    atoms = water()
    with pytest.raises(weir.BudgetError, match="hbm") as caught:
        # Told when the calculator is made where not even an atom fits, else at the first step.
        atoms.calc = calculator(hbm_budget="1MiB")
        atoms.get_potential_energy()
    assert isinstance(caught.value, MemoryError) and isinstance(caught.value, weir.WeirError)


def test_the_calculator_names_its_model(calculator):
    assert calculator().todict()["model"] == str(MODEL)

"""Same numbers as `weir eval`, bit for bit, and as calculus wants them."""

import numpy as np
import pytest
from conftest import MULTITASK, SHARED, TINY, evaluate, molecule, water

import weir


def same(expected, energy, forces, virial):
    assert energy == expected["energy"]
    assert np.array_equal(forces, expected["forces"])
    assert np.array_equal(np.reshape(virial, (3, 3)), expected["virial"])


def sheared():
    atoms = water()
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0, 0], [0.03, 1.01, 0], [-0.02, 0.05, 0.99]]), scale_atoms=True)
    return atoms


@pytest.mark.parametrize("settings", [{}, {"precision": "f64", "threads": 1}, {"hbm_budget": "15MiB", "checkpoint": "every:2"}])
def test_ase_has_the_bits_of_eval(tmp_path, calculator, settings):
    atoms = sheared()
    flags = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    expected = evaluate(tmp_path, atoms, *flags)
    atoms.calc = calculator(**settings)
    same(expected, atoms.get_potential_energy(), atoms.get_forces(), atoms.calc.results["virial"])
    assert np.array_equal(atoms.get_potential_energies(), expected["atomic_energy"])
    # Later steps too: nothing that was computed before shows.
    for seed in (1, 2):
        atoms.rattle(0.02, seed=seed)
        atoms.get_forces()
    expected = evaluate(tmp_path, atoms, *flags)
    same(expected, atoms.get_potential_energy(), atoms.get_forces(), atoms.calc.results["virial"])


def test_deep_pot_has_the_bits_of_eval_in_batches(tmp_path, deep_pot):
    frames = [water() for _ in range(3)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    expected = evaluate(tmp_path, frames, "--atomic")
    dp = deep_pot()
    types = [dp.get_type_map().index(s) for s in frames[0].symbols]
    x, box = np.array([a.positions for a in frames]), np.array([a.cell.array for a in frames])
    e, f, v, ae, av = dp.eval(x, box, types, atomic=True)
    assert (e.shape, f.shape, v.shape, ae.shape, av.shape) == ((3, 1), (3, 192, 3), (3, 9), (3, 192, 1), (3, 192, 9))
    for k, frame in enumerate(expected):
        same(frame, e[k, 0], f[k], v[k])
        assert np.array_equal(ae[k, :, 0], frame["atomic_energy"])
        assert np.array_equal(av[k], frame["atomic_virial"])
    # Flat arrays, one by one, backwards.
    for k in reversed(range(3)):
        one = dp.eval(x[k].reshape(1, -1), box[k].reshape(1, -1), types)
        assert len(one) == 3 and all(np.array_equal(a, b[k : k + 1]) for a, b in zip(one, (e, f, v)))


def test_a_molecule_without_a_cell_has_the_bits_of_eval(tmp_path, calculator, deep_pot):
    atoms = molecule()
    expected = evaluate(tmp_path, atoms)
    atoms.calc = calculator()
    same(expected, atoms.get_potential_energy(), atoms.get_forces(), atoms.calc.results["virial"])
    e, f, v = deep_pot().eval(atoms.positions, None, [0, 1, 1])
    same(expected, e[0, 0], f[0], v[0])


def test_heads_have_the_bits_of_eval(tmp_path, calculator):
    assert "H2O_A" in [h.name for h in weir.heads(MULTITASK)]
    atoms = molecule()
    expected = evaluate(tmp_path, atoms, "--head", "water-a", model=MULTITASK)
    atoms.calc = calculator(MULTITASK, head="water-a")
    same(expected, atoms.get_potential_energy(), atoms.get_forces(), atoms.calc.results["virial"])


@pytest.mark.parametrize("workers", [1, 2])
def test_mixed_frames_and_workers_give_the_numbers_of_single_frames(deep_pot, workers):
    dp = deep_pot(workers=workers)
    kinds = [[0, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, -1]]
    frames = []
    for seed, kind in enumerate(kinds):
        atoms = molecule(seed)
        o, h = atoms.positions[:1], list(atoms.positions[1:])
        frames.append(np.array([o[0] if t == 0 else h.pop() for t in kind]))
    e, f, v, ae, av = dp.eval(np.array(frames), None, kinds, mixed_type=True, atomic=True)
    alone = deep_pot()
    for k, kind in enumerate(kinds):
        one = alone.eval(frames[k][None], None, kind, atomic=True)
        assert all(np.array_equal(a, b[k : k + 1]) for a, b in zip(one, (e, f, v, ae, av)))
    assert ae[5, 2, 0] == 0 and not f[5, 2].any()


def test_forces_are_minus_the_gradient(calculator):
    atoms = water()
    atoms.rattle(0.02, seed=3)
    atoms.calc = calculator(precision="f64")
    forces = atoms.get_forces()
    for i, a in ((0, 0), (77, 1), (191, 2)):
        values = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions[i, a] += sign * 1e-4
            values.append(moved.get_potential_energy())
        assert abs((values[1] - values[0]) / 2e-4 - forces[i, a]) < 1e-6


def test_stress_is_the_strain_derivative_and_the_sum_of_stresses(calculator):
    atoms = sheared()
    atoms.calc = calculator(precision="f64")
    stress, stresses = atoms.get_stress(voigt=False), atoms.get_stresses()
    assert stresses.shape == (192, 6)
    assert np.abs(stresses.sum(axis=0) - atoms.get_stress()).max() < 1e-12
    for a, b in ((0, 0), (1, 2), (2, 0)):
        values = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * 1e-4
            bent = atoms.copy()
            bent.calc = atoms.calc
            bent.set_cell(atoms.cell.array @ strain.T)
            bent.positions = atoms.positions @ strain.T
            values.append(bent.get_potential_energy())
        assert abs((values[0] - values[1]) / 2e-4 / atoms.get_volume() - stress[a, b]) < 1e-6


def test_facts_of_the_model(deep_pot):
    dp = deep_pot()
    assert (dp.get_rcut(), dp.get_ntypes(), dp.get_type_map()) == (5.0, 2, ["O", "H"])
    assert (dp.get_dim_fparam(), dp.get_dim_aparam(), dp.get_sel_type(), dp.get_ntypes_spin()) == (0, 0, [], 0)
    assert not (dp.has_efield or dp.has_spin or dp.has_hessian or dp.has_chg_spin_ebd() or dp.has_default_fparam())
    assert dp.plan() is None
    dp.eval(molecule().positions, None, [0, 1, 1])
    assert "hbm peak" in dp.plan() and dp.memory()["hbm"] > 0 and "f32 arithmetic" in dp.summary()
    assert weir.DeepPot(TINY, backend="cpu").get_type_map() == ["H", "C", "N", "O", "S"]
    assert weir.__version__.count(".") == 2


@pytest.mark.parametrize("name", ["fparam_aparam", "default_fparam", "chg_spin"])
def test_parameters_have_the_bits_of_eval(tmp_path, name):
    model = SHARED / "fixtures/models" / name / "model.dp"
    if not model.exists():
        pytest.skip("the fixtures are not here")
    atoms = molecule()
    atoms.calc = weir.Calculator(model, backend="cpu")
    native, flags = atoms.calc.potential.native, []
    if native.dim_fparam:
        atoms.info["fparam"] = [0.25 * (k + 1) for k in range(native.dim_fparam)]
        flags += ["--fparam", ",".join(map(repr, atoms.info["fparam"]))]
    if native.dim_aparam:
        atoms.arrays["aparam"] = np.random.default_rng(1).random((3, native.dim_aparam))
        (tmp_path / "aparam").write_text("\n".join(" ".join(map(repr, row)) for row in atoms.arrays["aparam"].tolist()))
        flags += ["--aparam", str(tmp_path / "aparam")]
    if native.has_charge_spin:
        atoms.info["charge_spin"] = (1, 2)
        flags += ["--charge-spin", "1,2"]
    expected = evaluate(tmp_path, atoms, *flags, model=model)
    same(expected, atoms.get_potential_energy(), atoms.get_forces(), atoms.calc.results["virial"])
    # Each frame may have its own, and a change in atoms.info is seen.
    types = [native.type_map.index(s) for s in atoms.symbols]
    given = {key: [atoms.info[key], np.ones(np.shape(atoms.info[key]))] for key in ("fparam", "charge_spin") if key in atoms.info}
    e, f, v = weir.DeepPot(model, backend="cpu").eval(
        np.repeat(atoms.positions[None], 2, axis=0), None, types, aparam=atoms.arrays.get("aparam"), **given
    )
    same(expected, e[0, 0], f[0], v[0])
    # No frame at all has nothing to compute; whatever is given for none must be nothing, or one row for all of them.
    dp = weir.DeepPot(model, backend="cpu")
    for wide in ({key: values[0] for key, values in given.items()}, {key: np.zeros((0, len(values[0]))) for key, values in given.items()}):
        e0, f0, v0 = dp.eval(np.zeros((0, 9)), None, types, aparam=atoms.arrays.get("aparam"), **wide)
        assert (e0.shape, f0.shape, v0.shape) == ((0, 1), (0, 3, 3), (0, 9))
    for key, values in given.items():
        with pytest.raises(weir.ArgumentError, match=f"{key} of shape .* needed"):
            dp.eval(np.zeros((0, 9)), None, types, **{key: np.ones((3, len(values[0])))})
    atoms.info.update({key: values[1] for key, values in given.items()})
    assert atoms.get_potential_energy() == e[1, 0] != e[0, 0]

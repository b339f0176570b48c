"""One step: cells, lists, atom maps, terms of atoms."""

import numpy as np
from case import MODELS, WORK, case, slow
from compare import BAR, compare, evaluate, same
from start import dumped, good, lammps
from write import DUMP, FIVE, SHOW, SIDE, SYMBOLS, TILTED, X, data, head, mixture


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

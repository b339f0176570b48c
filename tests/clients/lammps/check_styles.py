"""Units and pair styles: real, hybrid/overlay, the deviation of two models."""

import numpy as np
from case import MODEL, PARITY, WORK, case, slow
from compare import BAR, compare, evaluate, same
from start import dumped, good
from write import DUMP, FIVE, SHOW, SYMBOLS, X, data, head, mixture

# kcal/mol in eV, as LAMMPS has it in units real.
KCAL = 23.060549


@slow
def units_real_are_converted():
    text = head(data("real")).replace("units metal", "units real") + SHOW + DUMP + "run 0\n"
    row = good("real", text)[-1]
    cell, _, x, f = dumped(WORK / "real/last.dump")
    energy, force, _, _ = evaluate("real", SYMBOLS, x, cell)
    same("energy", row["PotEng"] / energy, KCAL, 1e-5)
    same("forces", f, KCAL * force, 1e-6 * np.max(np.abs(f)))


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

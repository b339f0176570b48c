"""Models and settings: heads, wrong files, variables, budgets. What is wrong is told once, by LAMMPS, before the first step."""

from case import MODELS, WORK, case
from compare import compare
from start import good, lammps
from write import DUMP, SHOW, data, head


def told_by_lammps(output, word):
    """The one line with the word is LAMMPS' error, and no step was begun."""
    lines = [line for line in output.splitlines() if word in line]
    assert len(lines) == 1 and lines[0].startswith("ERROR"), output[-800:]
    assert "Setting up" not in output and "Step " not in output, output[-800:]


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
    told_by_lammps(output, "H2O_Z")


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
    told_by_lammps(output, "WEIR_HBM_BUDGET")


@case
def budgets_hold_in_lammps():
    text = head(data("small")) + SHOW + DUMP + "run 0\n"
    # Less than the model itself takes.
    code, output, _ = lammps("small", text, env={"WEIR_HBM_BUDGET": "1MiB"})
    assert code != 0, output[-800:]
    told_by_lammps(output, "WEIR_HBM_BUDGET")
    row = good("small", text, env={"WEIR_HBM_BUDGET": "24MiB", "WEIR_HOST_BUDGET": "256MiB", "WEIR_PLACEMENT": "hbm,system"})[-1]
    compare("small", row)

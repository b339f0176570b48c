"""Runs gmx with Weir's NNPot backend and compares with `weir eval`: gromacs_native.py GMX TOPOLOGIES TARGET [STRUCTURES].

GMX: a gmx built with the backend. TOPOLOGIES: GROMACS' share/top. TARGET: folder of weir and libweir.so. See gromacs_native.sh.
"""
import math
import re
import shutil
import sys
from pathlib import Path

import gromacs_far_pairs as far_pairs
from gromacs_runs import (
    BAR, check, conserved, elements_of, evaluate, forces, gmx, grompp, hold, largest, mdp, mdrun, minus, model, read_gro, run, scaled, single, structures,
    tally, terms, top_folder, volume, water, weir, work, write, write_gro
)

# --- a peptide in water ---

PEPTIDE = Path(__file__).with_name("peptide.pdb").read_text()


def peptide():
    write("p.pdb", PEPTIDE)
    run(gmx, "pdb2gmx", "-f", "p.pdb", "-o", "p.gro", "-p", "topol.top", "-ff", "amber99sb-ildn", "-water", "tip3p", "-ignh")
    hold(sum("SOL" not in head for head, _ in read_gro("p.gro")[1]))
    run(gmx, "editconf", "-f", "p.gro", "-o", "boxed.gro", "-box", 2.6, 2.6, 2.6, "-c")
    run(gmx, "solvate", "-cp", "boxed.gro", "-cs", "spc216.gro", "-o", "solvated.gro", "-p", "topol.top")
    box, atoms = read_gro("solvated.gro")
    n = sum("SOL" not in head for head, _ in atoms)
    names = [head[10:15].strip() for head, _ in atoms[:n]]
    side = [i + 1 for i, name in enumerate(names) if name in ("CB", "HB1", "HB2", "HB3")]
    write(
        "groups.ndx",
        "[ System ]\n" + "\n".join(str(i + 1) for i in range(len(atoms))) + "\n[ Peptide ]\n" + " ".join(str(i + 1) for i in range(n))
        + "\n[ Side ]\n" + " ".join(map(str, side)) + "\n",
    )
    grompp(mdp("em.mdp", integrator="steep", nsteps=100, nstfout=0), "solvated.gro", "topol.top", "em.tpr")
    mdrun("em", "em.tpr")
    box, atoms = read_gro("em.gro")
    write_gro("start.gro", box, atoms)
    return n, side


def hybrid(n):
    box, atoms = read_gro("start.gro")
    elements, positions = elements_of(atoms)[:n], [x for _, x in atoms[:n]]
    a, b = (single(name, f"{name}.weir", "Peptide") for name in ("a", "b"))
    ea, eb = (evaluate(f"{name}.weir", box, elements, positions) for name in ("a", "b"))
    check("NN energy in the energy file is that of weir eval", abs(a[0] - ea[0]) < 1e-6 * abs(ea[0]), f"{a[0]:.4f} {ea[0]:.4f} kJ/mol")
    # Two models in the same classical surroundings: what differs is the models' alone.
    ours, theirs = minus(ea[1], eb[1]), minus(a[2], b[2])
    scale = max(abs(f) for row in ours for f in row)
    whole = max(abs(f) for row in a[2] for f in row)
    check("forces of the group are those of weir eval", largest(ours, theirs[:n]) < 3e-5 * whole, f"differ by {largest(ours, theirs[:n]):.2g} of {scale:.3g} kJ/mol/nm (classical up to {whole:.3g})")
    rest = max(abs(f) for row in theirs[n:] for f in row)
    check("water feels nothing of the model", rest < 3e-5 * whole, f"{rest:.2g}")
    told = [x - y for x, y in zip(a[1], b[1])]
    expected = [-0.5 * (x - y) for p, q in zip(ea[2], eb[2]) for x, y in zip(p, q)]
    off = max(abs(x - y) for x, y in zip(told, expected))
    check("virial is that of weir eval", off < 0.02 + 1e-3 * max(map(abs, expected)), f"differs by {off:.2g} of {max(map(abs, expected)):.3g} kJ/mol")
    two = single("a2", "a.weir", "Peptide", "start.gro", "topol.top", "-ntmpi", 2)
    check("two ranks: same energy, forces, pressure", abs(two[0] - a[0]) < 1e-6 * abs(a[0]) and largest(two[2], a[2]) < 3e-5 * whole and abs(two[3] - a[3]) < 0.5, f"forces differ by {largest(two[2], a[2]):.2g}, pressure {two[3]:.2f} {a[3]:.2f} bar")
    return a


def pressure(group, name):
    """Pressure's difference between two models against -dE/dV of their energies."""
    box, atoms = read_gro("start.gro")
    at = {}
    for step in (-1, 0, 1):
        write_gro("scaled.gro", *scaled(box, atoms, 1 + 0.004 * step))
        at[step] = [single("fd", f"{m}.weir", group, "scaled.gro") for m in ("a", "b")]
    energy = {s: at[s][0][0] - at[s][1][0] for s in at}
    v = volume(box)
    told = at[0][0][3] - at[0][1][3]
    expected = -(energy[1] - energy[-1]) / (v * (1.004**3 - 0.996**3)) * BAR
    check(f"pressure is -dE/dV ({name})", abs(told - expected) < 0.03 * abs(expected) + 0.3, f"{told:.3f} {expected:.3f} bar")


def links(side):
    box, atoms = read_gro("start.gro")
    ca = next(i for i, (head, _) in enumerate(atoms) if head[10:15].strip() == "CA")
    cb = side[0] - 1
    bond = [p - q for p, q in zip(atoms[ca][1], atoms[cb][1])]
    length = math.sqrt(sum(d * d for d in bond))
    elements = [elements_of(atoms)[i - 1] for i in side] + ["H"]

    def expected(m, distance):
        link = [q + distance * d / length for q, d in zip(atoms[cb][1], bond)]
        return evaluate(m, box, elements, [atoms[i - 1][1] for i in side] + [link])

    a, b = (single(f"l{m}", f"{m}.weir", "Side") for m in "ab")
    ea, eb = (expected(f"{m}.weir", 0.1) for m in "ab")
    check("link atom: energy of the capped group", abs(a[0] - ea[0]) < 1e-6 * abs(ea[0]), f"{a[0]:.4f} {ea[0]:.4f}")
    f, whole = minus(ea[1], eb[1]), max(abs(f) for row in a[2] for f in row)
    unit = [d / length for d in bond]
    along = sum(u * v for u, v in zip(unit, f[4]))
    on_ca = [0.1 / length * (v - along * u) for u, v in zip(unit, f[4])]
    want = [[x + y - z for x, y, z in zip(f[0], f[4], on_ca)], *f[1:4], on_ca]
    told = minus(a[2], b[2])
    off = largest(want, [told[i - 1] for i in side] + [told[ca]])
    check("link atom: its force is spread over both ends", off < 3e-5 * whole, f"differ by {off:.2g} of {max(abs(v) for row in f for v in row):.3g}")
    far = single("l11", "a.weir", "Side", nnpot_link_distance=0.11)
    e11 = expected("a.weir", 0.11)[0]
    check("nnpot-link-distance is followed", abs(far[0] - e11) < 1e-6 * abs(e11) and abs(e11 - ea[0]) > 1e-5 * abs(e11), f"{far[0]:.4f} {e11:.4f}")
    # The wall of the box goes through the cut bond.
    middle = [0.5 * (p + q) for p, q in zip(atoms[ca][1], atoms[cb][1])]
    moved = [(head, [(v - m) % box[k][k] for k, (v, m) in enumerate(zip(x, middle))]) for head, x in atoms]
    write_gro("wall.gro", box, moved)
    wall = single("lw", "a.weir", "Side", "wall.gro")
    check("a cut bond across the wall of the box", abs(wall[0] - ea[0]) < 1e-5 * abs(ea[0]), f"{wall[0]:.4f} {ea[0]:.4f}")
    pressure("Side", "link atom")
    two = mdrun("l2", "la.tpr", "-ntmpi", 2, good=False)
    check("link atoms on two ranks: computed or refused with a sentence", two.returncode == 0 or "need a single rank" in " ".join(two.stderr.split()), f"exit code {two.returncode}")


def npt():
    grompp(mdp("npt.mdp", dt=0.001, nsteps=100, nstfout=0, model="a.weir", group="Peptide", gen_vel="yes", gen_temp=300, gen_seed=7, tcoupl="v-rescale", tc_grps="System", tau_t="0.1", ref_t="300", pcoupl="c-rescale", tau_p="1", ref_p="1", compressibility="4.5e-5"), "start.gro", "topol.top", "npt.tpr")
    mdrun("npt", "npt.tpr")
    rows = terms("npt", "Pressure", "Volume")
    check("constant pressure runs and the box answers", len(rows) == 101 and abs(rows[-1][1] - rows[0][1]) > 1e-6 and all(math.isfinite(r[0]) for r in rows), f"volume {rows[0][1]:.4f} to {rows[-1][1]:.4f} nm3")


def refusals(n):
    def refused(what, text, **kw):
        done = grompp(kw.pop("mdp_file"), "start.gro", "topol.top", "x.tpr", good=False, **kw)
        # gmx breaks lines of its messages.
        said = " ".join(done.stderr.split())
        check(what, done.returncode == 1 and text in said, said[said.find("Error"):][:200] if text not in said else "")

    (work / "bad.dp").write_text("nothing of a model\n")
    refused("a file that is no model", "bad.dp", mdp_file=mdp("r.mdp", model="bad.dp", group="Peptide"))
    refused("a model without the group's elements", "Weir:", mdp_file=mdp("r.mdp", model=str(water), group="Peptide"))
    refused("a library that is not there", "GMX_WEIR_LIBRARY", mdp_file=mdp("r.mdp", model="a.weir", group="Peptide"), env={"GMX_WEIR_LIBRARY": "/nonexistent/libweir.so"})
    refused("electrostatic embedding", "electrostatic embedding", mdp_file=mdp("r.mdp", model="a.weir", group="Peptide", nnpot_embedding="electrostatic-model"))
    for ranks in (1, 2):
        done = mdrun("r", "a.tpr", "-ntmpi", ranks, good=False, env={"GMX_WEIR_LIBRARY": "/nonexistent/libweir.so"})
        check(f"mdrun without the library ends with the reason ({ranks} ranks)", done.returncode != 0 and "GMX_WEIR_LIBRARY" in done.stderr, f"exit code {done.returncode}")
    done = mdrun("r", "a.tpr", good=False, env={"GMX_NN_DEVICE": "banana"})
    check("an unknown GMX_NN_DEVICE", done.returncode != 0 and "banana" in done.stderr)
    box, atoms = read_gro("start.gro")
    write_gro("inside.gro", box, [(head, [v % box[k][k] for k, v in enumerate(x)]) for head, x in atoms])
    grompp(mdp("xy.mdp", model="a.weir", group="Peptide", pbc="xy", coulombtype="cut-off", rlist=0.9, verlet_buffer_tolerance=-1, nwall=2, wall_type="12-6", wall_atomtype="CT CT", wall_r_linpot=1), "inside.gro", "topol.top", "xy.tpr")
    done = mdrun("xy", "xy.tpr", good=False)
    check("periodic in two directions", done.returncode != 0 and "pbc = xyz or no" in " ".join(done.stderr.split()))
    run(weir, "model", "convert", "a.weir", "--out", "a.dp")
    dp = single("dp", "a.dp", "Peptide")
    check("the same model as .dp", abs(dp[0] - terms("a", "NN-Potential")[0][0]) < 1e-6 * abs(dp[0]))


# --- 1YRF in water ---


def protein():
    for name in ("1YRF_solvated.gro", "1YRF.ndx"):
        (work / name).write_bytes((structures / name).read_bytes())
    top = write("yrf.top", (structures / "1YRF_top/topol.top").read_text())
    box, atoms = read_gro("1YRF_solvated.gro")
    n = 582
    hold(n)
    elements, positions = elements_of(atoms)[:n], [x for _, x in atoms[:n]]
    grompp(mdp("y.mdp", model="a.weir", group="Protein", cut=0.7), "1YRF_solvated.gro", top, "y.tpr", "1YRF.ndx")
    check("1YRF: grompp without -maxwarn", True)
    mdrun("y", "y.tpr")
    grompp(mdp("yb.mdp", model="b.weir", group="Protein", cut=0.7), "1YRF_solvated.gro", top, "yb.tpr", "1YRF.ndx")
    mdrun("yb", "yb.tpr")
    ea, eb = (evaluate(f"{m}.weir", box, elements, positions) for m in "ab")
    told = terms("y", "NN-Potential")[0][0]
    check("1YRF: NN energy is that of weir eval", abs(told - ea[0]) < 1e-6 * abs(ea[0]), f"{told:.3f} {ea[0]:.3f} kJ/mol")
    ours, theirs, fa = minus(ea[1], eb[1]), None, forces("y")
    theirs = minus(fa, forces("yb"))
    whole = max(abs(f) for row in fa for f in row)
    off = largest(ours, theirs[:n])
    check("1YRF: forces of the group are those of weir eval", off < 3e-5 * whole, f"differ by {off:.2g} of {max(abs(f) for row in ours for f in row):.3g} kJ/mol/nm (classical up to {whole:.3g})")
    far_pairs.check_all(top, box, atoms, n, ea)


print(f"in {work}", flush=True)
count, side_chain = peptide()
model("a.weir", 1)
model("b.weir", 2)
hybrid(count)
pressure("Peptide", "whole molecule")
conserved("peptide", 200, "start.gro", "topol.top", "Peptide")
npt()
far_pairs.narrow()
form = int(re.search(r"GMX_WEIR_INTERFACE (\d+)", (top_folder.parents[1] / "src/gromacs/applied_forces/nnpot/weirinterface.h").read_text()).group(1))
if form >= 2026:
    links(side_chain)
refusals(count)
if structures:
    protein()
passed, failed = tally()
if not failed:
    shutil.rmtree(work)
print(f"gromacs-native: {passed} passed, {failed} failed")
sys.exit(failed > 0)

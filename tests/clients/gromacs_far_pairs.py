"""What classical electrostatics keeps between atoms of a charged group beyond the cutoff is taken out: 1YRF. Part of gromacs_native.py."""
import math
import re

from gromacs_runs import BAR, check, conserved, forces, grompp, largest, mdp, mdrun, minus, scaled, single, spread, structures, terms, trajectory, volume, wandering, work, write, write_gro

KEEP = {"GMX_WEIR_FAR_PAIRS": "keep"}
ELECTRIC = 138.935458
# A finer mesh than usual, so that it does not hide what is looked for.
FINE = {"pme_order": 6, "fourierspacing": 0.06, "ewald_rtol": "1e-6"}


def charges_of(top):
    rows = re.search(r"\[ atoms \]\n(.*?)\n\[", (work / top).read_text(), re.S).group(1).splitlines()
    return [float(row.split()[6]) for row in rows if row.strip() and row.split()[0].isdigit()]


# --- expected values, by other means than the backend's ---


def nearest(box, d):
    """The shortest image of a vector (box lower triangular, reduced)."""
    for k in (2, 1, 0):
        n = round(d[k] / box[k][k])
        d = [v - n * b for v, b in zip(d, box[k])]
    # Beyond half the smallest distance between images another one may be nearer.
    if sum(v * v for v in d) > 0.25 * min(box[0][0], box[1][1], box[2][2]) ** 2:
        d = min(images(box, d), key=lambda e: sum(v * v for v in e))
    return d


SHIFTS = [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]


def images(box, d):
    return [[v + i * a + j * b + k * c for v, a, b, c in zip(d, *box)] for i, j, k in SHIFTS]


def pairs(box, positions):
    """(i, j, nearest vector, distance) of every pair."""
    for i, p in enumerate(positions):
        for j in range(i):
            d = nearest(box, [a - b for a, b in zip(p, positions[j])])
            yield i, j, d, math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])


def of_images(box, positions, charges):
    """Coulomb energy and forces of the periodic images alone: an Ewald sum (with a neutralising background) less the nearest image of every pair."""
    beta, reach, sharp = 1.5, 2.8, 14.5
    n, v = len(positions), volume(box)
    energy = -beta / math.sqrt(math.pi) * sum(q * q for q in charges) - math.pi / (2 * v * beta * beta) * sum(charges) ** 2
    force = [[0.0] * 3 for _ in range(n)]
    # A second image within reach needs a nearest one that is farther than this.
    alone = min(box[0][0], box[1][1], math.sqrt(sum(c * c for c in box[2]))) - reach
    for i, j, d, r in pairs(box, positions):
        qq = charges[i] * charges[j]
        for image in images(box, d) if r > alone else [d]:
            s = math.sqrt(sum(c * c for c in image))
            if image is d or s < r + 1e-9:
                e = -math.erf(beta * s) / s
                f = (2 * beta / math.sqrt(math.pi) * math.exp(-((beta * s) ** 2)) + e) / s**2
            elif s < reach:
                e = math.erfc(beta * s) / s
                f = (2 * beta / math.sqrt(math.pi) * math.exp(-((beta * s) ** 2)) + e) / s**2
            else:
                continue
            energy += qq * e
            for k in range(3):
                force[i][k] += qq * f * image[k]
                force[j][k] -= qq * f * image[k]
    (ax, _, _), (bx, by, _), (cx, cy, cz) = box
    most = [int(sharp * math.sqrt(sum(c * c for c in row)) / (2 * math.pi)) + 1 for row in box]
    for h in range(most[0] + 1):
        for k in range(-most[1], most[1] + 1):
            for l in range(-most[2], most[2] + 1):
                if h == 0 and (k < 0 or (k == 0 and l <= 0)):
                    continue
                # Rows of the inverse box, lower triangular.
                gx = 2 * math.pi * h / ax
                gy = (2 * math.pi * k - bx * gx) / by
                gz = (2 * math.pi * l - cx * gx - cy * gy) / cz
                g2 = gx * gx + gy * gy + gz * gz
                if g2 > sharp * sharp:
                    continue
                phases = [gx * p[0] + gy * p[1] + gz * p[2] for p in positions]
                cosines, sines = [q * math.cos(a) for q, a in zip(charges, phases)], [q * math.sin(a) for q, a in zip(charges, phases)]
                c, s = sum(cosines), sum(sines)
                weight = 4 * math.pi / v * math.exp(-g2 / (4 * beta * beta)) / g2
                energy += weight * (c * c + s * s)
                for i in range(n):
                    f = 2 * weight * (sines[i] * c - cosines[i] * s)
                    force[i][0] += f * gx
                    force[i][1] += f * gy
                    force[i][2] += f * gz
    return ELECTRIC * energy, [[ELECTRIC * f for f in row] for row in force]


# --- checks ---


def rms(vectors):
    return math.sqrt(sum(v * v for row in vectors for v in row) / (3 * len(vectors)))


class Alone:
    """The group alone in its box, all of it computed by the model: what is not the model's is classical electrostatics of the group with itself."""

    def __init__(self, top, box, atoms, n):
        self.box, self.atoms = box, atoms[:n]
        self.charges = charges_of(top)
        assert len(self.charges) == n
        write("alone.top", re.sub(r"^(SOL|NA|CL)\s+\d+\s*$", "", (work / top).read_text(), flags=re.M))
        write("alone.ndx", "[ System ]\n" + "\n".join(str(i + 1) for i in range(n)) + "\n")

    def run(self, factor=1.0, env=None, **options):
        """Classical energy and forces of everything, pressure of everything, potential less the model's energy."""
        write_gro("alone.gro", *scaled(self.box, self.atoms, factor))
        # The protein alone is charged, which grompp warns of; PME adds a neutralising background.
        grompp(mdp("alone.mdp", model="a.weir", group="System", **options), "alone.gro", "alone.top", "alone.tpr", "alone.ndx", warnings=2)
        mdrun("alone", "alone.tpr", env=env)
        parts = ["LJ-(SR)", "Coulomb-(SR)"] + (["Coul.-recip."] if options.get("coulombtype", "PME") == "PME" else [])
        row = terms("alone", "NN-Potential", "Potential", "Pressure", *parts)[0]
        # The sum of parts keeps more digits than a difference of wholes.
        return sum(row[3:]), forces("alone"), row[2], row[1] - row[0]


def residue(alone, expected):
    """What is left of the group's electrostatics is that of periodic images; without Weir's doing it is the Coulomb part beyond the cutoff, too."""
    positions = [x for _, x in alone.atoms]
    energy, force = of_images(alone.box, positions, alone.charges)
    print(f"       images of the isolated group: {energy:.2f} kJ/mol, forces rms {rms(force):.2f}, largest {max(abs(v) for row in force for v in row):.2f} kJ/mol/nm", flush=True)
    for cut in (0.7, 1.2):
        kept = alone.run(cut=cut, env=KEEP)
        usual = alone.run(cut=cut)
        fine = alone.run(cut=cut, **FINE)
        of_kept, of_usual, of_fine = (minus(r[1], expected[1]) for r in (kept, usual, fine))
        off = minus(of_fine, force)
        check(
            f"of the isolated group only images are left (cutoff {cut} nm)",
            abs(fine[0] - energy) < 0.5 and abs(fine[3] - fine[0]) < 0.1 and rms(off) < 0.3,
            f"{fine[0]:.2f} kJ/mol (usual mesh {usual[0]:.2f}, expected {energy:.2f}, with far pairs {kept[0]:.2f}); forces rms {rms(of_fine):.2f}, off by {rms(off):.3f} "
            f"(usual mesh {rms(minus(of_usual, force)):.3f}); with far pairs rms {rms(of_kept):.2f}, largest {max(abs(v) for row in of_kept for v in row):.1f} kJ/mol/nm",
        )


def others(alone, expected):
    """Reaction field and plain cutoff: no force changes, and pairs beyond the cutoff have the energy of one at the cutoff."""
    positions, cut = [x for _, x in alone.atoms], 0.7
    far = ELECTRIC * sum(alone.charges[i] * alone.charges[j] for i, j, _, r in pairs(alone.box, positions) if r >= cut)
    for name, options, at_cutoff in (
        ("reaction field", {"coulombtype": "reaction-field", "epsilon_rf": 78}, -1 / cut),
        ("shifted cutoff", {"coulombtype": "cut-off"}, -1 / cut),
        ("plain cutoff", {"coulombtype": "cut-off", "coulomb_modifier": "none"}, 0),
    ):
        kept, now = alone.run(cut=cut, env=KEEP, **options), alone.run(cut=cut, **options)
        told = now[3] - kept[3]
        check(f"{name}: far pairs have the energy of one at the cutoff", abs(told - far * at_cutoff) < 0.05 and largest(kept[1], now[1]) == 0, f"{told:.2f} {far * at_cutoff:.2f} kJ/mol")


def pressure(alone, expected):
    """Pressure of the group's electrostatics against -dE/dV in scaled boxes."""
    v = volume(alone.box)
    of_model = sum(expected[2][k][k] for k in range(3)) / (3 * v) * BAR
    # The same mesh in every box.
    options = {"cut": 0.7, "pme_order": 6, "ewald_rtol": "1e-6", "fourier_nx": 56, "fourier_ny": 56, "fourier_nz": 56}
    told, slopes = {}, {}
    for name, env in (("taken out", None), ("kept", KEEP)):
        energy = {s: alone.run(1 + 0.002 * s, env=env, **options)[0] for s in (-1, 1)}
        slopes[name] = -(energy[1] - energy[-1]) / (v * (1.002**3 - 0.998**3)) * BAR
        told[name] = alone.run(env=env, **options)[2] - of_model
    check(
        "pressure of the group's electrostatics is -dE/dV (isolated group)",
        abs(told["taken out"] - slopes["taken out"]) < 0.01 * abs(slopes["taken out"]) + 0.3,
        f"{told['taken out']:.3f} {slopes['taken out']:.3f} bar (far pairs kept: {told['kept']:.3f} {slopes['kept']:.3f})",
    )


def trajectories(gro, top, ndx):
    args = (gro, top, "Protein", ndx)
    # An excluded pair that comes in between two searches must be in the list, or the kernels pass it over: the automatic buffer does not care (docs/gromacs-native.md).
    buffer = {"verlet_buffer_tolerance": -1, "rlist": 0.9, "nstlist": 10}
    text = "Pairs of the NNPot group that come within the cutoff"
    told = {}
    for name, options in (("automatic", {}), ("by hand", buffer)):
        grompp(mdp("warn.mdp", model="a.weir", group="Protein", cut=0.7, **options), gro, top, "warn.tpr", ndx)
        told[name] = text in " ".join(mdrun("warn", "warn.tpr").stderr.split())
    check("a pair list without a buffer is warned of", told == {"automatic": True, "by hand": False}, str(told))
    rows = trajectory("1YRF, automatic buffer", 200, *args, cut=0.7, dt=0.0005)
    print(f"       1YRF, automatic buffer, 200 steps of 0.5 fs: {wandering(rows)}", flush=True)
    rows = trajectory("1YRF, far pairs kept", 200, *args, cut=0.7, dt=0.0005, env=KEEP, **buffer)
    print(f"       1YRF, far pairs kept, 200 steps of 0.5 fs: {wandering(rows)}", flush=True)
    before = spread(rows)
    whole = conserved("1YRF with its charges", 200, *args, cut=0.7, **buffer)
    half = conserved("1YRF with its charges", 400, *args, cut=0.7, dt=0.00025, **buffer)
    check("half the time step gives a quarter of the fluctuation", 0.15 < half / whole < 0.4 and before > 5 * whole, f"{half:.2f} of {whole:.2f} kJ/mol; far pairs kept {before:.0f}")
    # A mesh of 256^3 on a rank of its own is slow enough that tuning begins, after 30 steps here: it went on to a cutoff of 1.073 nm.
    conserved("1YRF, a rank for PME, which is tuned", 100, *args, cut=0.7, fourierspacing=0.02, **{**buffer, "nstlist": 5}, more=("-ntmpi", 3, "-npme", 1, "-tunepme"))
    print("       cutoffs tried: " + " ".join(re.findall(r"timed with pme grid .*coulomb cutoff +([\d.]+)", (work / "nve.log").read_text())), flush=True)
    conserved("1YRF, reaction field", 200, *args, cut=0.7, coulombtype="reaction-field", epsilon_rf=0, **buffer)


def ranks(gro, top, ndx):
    def one(*more):
        grompp(mdp("fr.mdp", model="a.weir", group="Protein", cut=0.7), gro, top, "fr.tpr", ndx)
        mdrun("fr", "fr.tpr", *more)
        return *terms("fr", "Coul.-recip.", "Pressure")[0], forces("fr")

    # Not the whole energy: the kernels' sums of 150,000 kJ/mol in single precision differ by several kJ/mol between one rank and two.
    a, b, c = one(), one("-ntmpi", 2), one("-ntmpi", 3, "-npme", 1)
    whole = max(abs(f) for row in a[2] for f in row)
    for name, other in (("two ranks", b), ("two ranks and one for PME", c)):
        check(
            f"1YRF, {name}: same energy, forces, pressure",
            abs(other[0] - a[0]) < 0.1 and abs(other[1] - a[1]) < 0.6 and largest(other[2], a[2]) < 3e-5 * whole,
            f"Coul. recip. {other[0]:.3f} {a[0]:.3f} kJ/mol, pressure {other[1]:.2f} {a[1]:.2f} bar, forces differ by {largest(other[2], a[2]):.2g} of {whole:.3g} kJ/mol/nm",
        )


def cost(name):
    """What taking the pairs out costs, printed: wall time of a step with and without, by turns, the model's included (the smallest of three)."""
    for file in (f"{name}_solvated.gro", f"{name}.ndx"):
        (work / file).write_bytes((structures / file).read_bytes())
    for file in (structures / f"{name}_top").iterdir():
        (work / ("cost.top" if file.name == "topol.top" else file.name)).write_bytes(file.read_bytes())
    grompp(mdp("cost.mdp", model="a.weir", group="Protein", cut=0.7, nsteps=4, nstlist=2, nstfout=0, verlet_buffer_tolerance=-1, rlist=0.9), f"{name}_solvated.gro", "cost.top", "cost.tpr", f"{name}.ndx")
    seconds = {}
    for _ in range(3):
        for env in (None, KEEP):
            # The first step pays for memory and plans. (Counters that are reset want a search afterwards: without one GROMACS 2026.3 divides by zero.)
            mdrun("cost", "cost.tpr", "-resetstep", 1, env=env)
            log = (work / "cost.log").read_text()
            seconds.setdefault(env is None, []).append(float(re.search(r"^ *Time: +[\d.]+ +([\d.]+)", log, re.M).group(1)) / 4)
            if env is None:
                told = re.search(r"\(now [\d.]+ nm, (\d+) pairs", " ".join(log.split()))
    print(f"       {name}, {told.group(1)} far pairs: {min(seconds[True]):.3f} s a step, {min(seconds[False]):.3f} s where they are kept", flush=True)


def refusals(alone, gro, top, ndx):
    def refused(what, text, env=None):
        done = mdrun("fr", "fr.tpr", good=False, env=env)
        said = " ".join(done.stderr.split())
        check(what, done.returncode != 0 and text in said, "" if text in said else said[-300:])

    grompp(mdp("fr.mdp", model="a.weir", group="Protein", cut=0.7, vdwtype="PME"), gro, top, "fr.tpr", ndx)
    refused("LJ-PME with a wide group", "use vdwtype = cut-off")
    mdrun("fr", "fr.tpr", env=KEEP)
    refused("an unknown GMX_WEIR_FAR_PAIRS", "GMX_WEIR_FAR_PAIRS=off", env={"GMX_WEIR_FAR_PAIRS": "off"})
    # The first atom gets a charge in state B.
    text = (work / top).read_text()
    row = re.search(r"^( +1 +(\S+) +\d+ +\S+ +\S+ +\d+ +(-?[\d.]+) +([\d.]+)).*$", text, re.M)
    write("perturbed.top", text.replace(row.group(0), f"{row.group(1)} {row.group(2)} {float(row.group(3)) + 0.1} {row.group(4)}", 1))
    grompp(mdp("fr.mdp", model="a.weir", group="Protein", cut=0.7, free_energy="yes", init_lambda=0), gro, "perturbed.top", "fr.tpr", ndx, warnings=2)
    # GROMACS itself refuses excluded pairs beyond the list where one atom is perturbed; Weir's own refusal is for narrow groups (ffi/weir-c/tests/gromacs.rs).
    refused("a perturbed charge in a wide group", "excluded")


def check_all(top, box, atoms, n, expected):
    gro, ndx = "1YRF_solvated.gro", "1YRF.ndx"
    alone = Alone(top, box, atoms, n)
    residue(alone, expected)
    pressure(alone, expected)
    others(alone, expected)
    ranks(gro, top, ndx)
    trajectories(gro, top, ndx)
    refusals(alone, gro, top, ndx)
    cost("2PTC")


def narrow():
    """A peptide narrower than the cutoff: nothing changes, not a bit."""
    kept = single("narrow", "a.weir", "Peptide", env=KEEP, cut=1.1)
    potential = terms("narrow", "Potential")
    now = single("narrow", "a.weir", "Peptide", cut=1.1)
    same = kept == now and potential == terms("narrow", "Potential")
    check("a group narrower than the cutoff: the same bits as without", same and "beyond the cutoff" not in (work / "narrow.log").read_text())

#!/usr/bin/env python3
"""Draws the energies of a run at constant energy: scripts/draw_energies.py TABLE OUT.svg [TITLE]

TABLE is LAMMPS' output (a thermo block with Step, PotEng, TotEng; 0.5 fs a step, as in examples/lammps) or i-PI's table of properties (time in
femtosecond, conserved in electronvolt, potential in atomic_unit, as in examples/ipi). Both energies are drawn from their first value on.
"""

import sys
from pathlib import Path

HARTREE = 27.211386245981
# Of examples/lammps, fs.
STEP = 0.5


def lammps(lines):
    """Time (fs), potential and total energy (eV) of the first block that has them and is longer than one line."""
    block, keys = [], None
    for line in lines:
        words = line.split()
        if words[:1] == ["Step"]:
            if len(block) > 1:
                break
            block, keys = [], words
        elif keys and "PotEng" in keys and "TotEng" in keys and len(words) == len(keys):
            try:
                row = dict(zip(keys, map(float, words)))
            except ValueError:
                continue
            block.append((row["Step"] * STEP, row["PotEng"], row["TotEng"]))
    return block


def ipi(lines):
    """The same of a table whose columns are named in its head: `# column   2     --> time{femtosecond} : ...`."""
    columns = {}
    for line in lines:
        if line.startswith("#") and "-->" in line:
            number, name = line.split("column", 1)[1].split("-->")
            columns[name.split(":")[0].strip()] = int(number.split()[0].split("-")[0]) - 1
    pick = [columns[n] for n in ("time{femtosecond}", "potential{atomic_unit}", "conserved{electronvolt}")]
    rows = [[float(w) for w in line.split()] for line in lines if line.strip() and not line.startswith("#")]
    return [(r[pick[0]], r[pick[1]] * HARTREE, r[pick[2]]) for r in rows]


def draw(rows, title):
    time, potential, total = zip(*rows)
    curves = [([e - series[0] for e in series], colour, name) for series, colour, name in ((potential, "#c0504d", "potential"), (total, "#1f4e79", "total"))]
    low, high = min(min(c[0]) for c in curves), max(max(c[0]) for c in curves)
    x = lambda t: 60 + 520 * (t - time[0]) / (time[-1] - time[0])
    y = lambda e: 230 - 190 * (e - low) / (high - low)
    text = lambda at, to, words, colour="black", anchor="start": (
        f'<text x="{at}" y="{to:.1f}" font-family="sans-serif" font-size="12" fill="{colour}" text-anchor="{anchor}">{words}</text>'
    )
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="600" height="260"><rect width="600" height="260" fill="white"/>']
    parts += [f'<line x1="60" x2="580" y1="{y(0):.1f}" y2="{y(0):.1f}" stroke="#ccc"/>', text(64, 20, title)]
    for at, (series, colour, name) in enumerate(curves):
        points = " ".join(f"{x(t):.1f},{y(e):.1f}" for t, e in zip(time, series))
        parts += [f'<polyline fill="none" stroke="{colour}" points="{points}"/>', text(580 - 60 * at, 20, name, colour, "end")]
    parts += [text(54, y(v) + 4, f"{v:.1f}", anchor="end") for v in {0.0, low, high} if v == 0 or abs(y(v) - y(0)) > 14]
    parts.append(text(580, 252, f"{time[-1]:.0f} fs", anchor="end"))
    spread = max(curves[1][0]) - min(curves[1][0])
    return "\n".join(parts) + "\n</svg>\n", spread


lines = Path(sys.argv[1]).read_text().splitlines()
rows = ipi(lines) if any(line.startswith("#") and "-->" in line for line in lines) else lammps(lines)
if len(rows) < 2:
    sys.exit(f"{sys.argv[1]}: no table of energies")
picture, spread = draw(rows, sys.argv[3] if len(sys.argv) > 3 else "energy minus its first value, eV")
Path(sys.argv[2]).write_text(picture)
print(f"{sys.argv[2]}: {len(rows)} rows, {rows[-1][0]:.0f} fs, total energy within {1e3 * spread:.2f} meV")

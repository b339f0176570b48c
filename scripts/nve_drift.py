#!/usr/bin/env python3
"""Energy drift of a velocity-Verlet run: scripts/nve_drift.py ENERGIES.csv TRAJECTORY.extxyz TIMESTEP_FS LIMIT

Both files hold every step. Besides the total energy's slope, which the integrator's own fluctuation of order dt^2 makes uncertain,
the slope of the shadow energy is printed, which velocity Verlet conserves to order dt^4:

    H + dt^2 (v.V''.v / 12 - F.F/m / 24),   V''.v = -(F(t + dt) - F(t - dt)) / (2 dt)

(backward error analysis of the kick-drift-kick splitting). Exit code 1 when its slope is above LIMIT eV/atom/ps.
"""
import csv
import sys

MASS = {"H": 1.008, "O": 15.999}
# eV/A/amu to A/fs^2
ACCELERATION = 9.648533212331e-3


def frames(path):
    """Species, velocities (A/fs) and forces (eV/A) of each frame."""
    with open(path) as file:
        while line := file.readline():
            atoms = int(line)
            comment = file.readline()
            fields = comment.split("Properties=")[1].split()[0].split(":")
            velocity = 1e-3 if "vel_unit=A/ps" in comment else 1.0
            start, at = {}, 0
            for name, count in zip(fields[0::3], fields[2::3]):
                start[name] = at
                at += int(count)
            v, f = start["velocities" if "velocities" in start else "vel"], start["forces"]
            rows = [file.readline().split() for _ in range(atoms)]
            yield (
                [r[0] for r in rows],
                [[float(x) * velocity for x in r[v : v + 3]] for r in rows],
                [[float(x) for x in r[f : f + 3]] for r in rows],
            )


def slope(times, values):
    """Least squares, and the standard deviation from the line."""
    n = len(times)
    mt, mv = sum(times) / n, sum(values) / n
    s = sum((t - mt) * (v - mv) for t, v in zip(times, values)) / sum((t - mt) ** 2 for t in times)
    rest = [v - mv - s * (t - mt) for t, v in zip(times, values)]
    return s, (sum(r * r for r in rest) / n) ** 0.5


def main():
    energies, trajectory, dt, limit = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    total = [float(row["conserved_eV"]) for row in csv.DictReader(open(energies))]
    window, shadow, times, plain = [], [], [], []
    atoms = 0
    for k, frame in enumerate(frames(trajectory)):
        window.append(frame)
        if len(window) < 3:
            continue
        species, v, f = window[1]
        atoms = len(species)
        before, after = window[0][2], window[2][2]
        stiff = kicks = 0.0
        for i, name in enumerate(species):
            mass = MASS[name]
            for c in range(3):
                stiff -= v[i][c] * (after[i][c] - before[i][c]) / (2 * dt)
                kicks += f[i][c] * f[i][c] / mass * ACCELERATION
        window.pop(0)
        times.append((k - 1) * dt * 1e-3)
        plain.append(total[k - 1])
        shadow.append(total[k - 1] + dt * dt * (stiff / 12 - kicks / 24))
    for name, values in (("total energy", plain), ("shadow energy", shadow)):
        s, deviation = slope(times, values)
        print(f"NVE drift of the {name}: {s / atoms:.2e} eV/atom/ps over {times[-1]:.2f} ps (deviation from the line {deviation * 1e3:.3f} meV)")
    sys.exit(0 if abs(slope(times, shadow)[0]) / atoms < limit else 1)


main()

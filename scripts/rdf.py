#!/usr/bin/env python3
"""O-O radial distribution of a trajectory beside a stored one: rdf.py TRAJECTORY.extxyz DATA.csv OUT.csv (standard library only).

DATA.csv has columns r, model, data (A). Uses the second half of the frames, cubic cells.
"""
import math
import re
import sys


def frames(path):
    with open(path) as file:
        while line := file.readline():
            count = int(line)
            cell = [float(x) for x in re.search(r'Lattice="([^"]+)"', file.readline()).group(1).split()]
            rows = [file.readline().split() for _ in range(count)]
            yield cell[0], [[float(x) for x in row[1:4]] for row in rows if row[0] == "O"]


trajectory, data, out = sys.argv[1:4]
stored = [[float(x) for x in line.split(",")] for line in open(data).read().split("\n")[1:] if line.strip()]
width = stored[1][0] - stored[0][0]
counts = [0.0] * len(stored)
every = list(frames(trajectory))
used = every[len(every) // 2 :]
for side, oxygen in used:
    for i, a in enumerate(oxygen):
        for b in oxygen[:i]:
            d = [x - y - side * round((x - y) / side) for x, y in zip(a, b)]
            k = int(math.sqrt(sum(x * x for x in d)) / width)
            if k < len(counts):
                counts[k] += 2.0
side, oxygen = used[0]
density = len(oxygen) / side**3
g = []
for k, count in enumerate(counts):
    shell = 4.0 / 3.0 * math.pi * width**3 * ((k + 1) ** 3 - k**3)
    g.append(count / (len(used) * len(oxygen) * density * shell))
with open(out, "w") as file:
    file.write("r_A,g_this_run,g_data\n")
    for row, value in zip(stored, g):
        file.write(f"{row[0]:.4f},{value:.4f},{row[2]:.4f}\n")


def peak(values):
    k = max((k for k, row in enumerate(stored) if 2.3 < row[0] < 3.3), key=lambda k: values[k])
    return f"{stored[k][0]:.3f} A, height {values[k]:.2f}"


print(f"O-O first peak over {len(used)} frames: this run {peak(g)}; data {peak([row[2] for row in stored])}")
sys.exit(0 if 2.5 < stored[max(range(len(g)), key=lambda k: g[k] if stored[k][0] < 3.3 else 0)][0] < 3.0 else 1)

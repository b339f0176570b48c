"""From what the hot kernels' instructions take to a whole step: a prediction, not a measurement. Used by instructions.py.

A kernel takes the longest of its busiest unit, its bytes at the rate of device memory and, for those whose machine code is not counted, its
FLOP; what a launch costs is added. Bytes, FLOP and launches are those that the emulated device counted on 192 atoms of water
(benches/results/*traffic.json), per atom, edge, angle edge or angle; the launches of a step are taken for the same in every structure (one tile).
What caches of multiprocessors fetch from the second cache, and what they write to it, is counted too. Left out here: latencies (waits.py), barriers. The tail of a launch is bounded from both sides: as if one block had
all of its multiprocessor's rate, and as if it ran no faster when the others have done. What a launch costs is too much for recorded steps.
"""

import functools
import heapq
import json
import math
import re
import tomllib
from collections import defaultdict

from machine_code import ROOT, TEXT
from targets import MILLISECONDS

# What runs beside the kernels of angles (backends/src/gpu/execute), in this order, where a step has two streams.
BESIDE = {"angle_forward": ("node_update", "project"), "angle_backward": ("gather", "finish", "node_backward")}
# Kernels of nodes: blocks of R_NODE nodes, whose products matrix units make where there are any.
OF_NODES = ("project", "node_update", "node_backward", "finish")
# Blocks of theirs that a multiprocessor's shared memory is laid out for (`Shape::fitted`).
BLOCKS_OF_NODES = 2
# Angle edges of a centre from which on two blocks share them.
SHARED_FROM = int(re.search(r"#define SHARED_FROM (\d+)", (TEXT / "shape.h").read_text())[1])
# Centres that are put in order together (`arrange`, neighbours.h).
WINDOW = 4096
# Bounds that all multiprocessors share.
MEMORIES = "device memory", "second cache"


@functools.cache
def machine():
    """Bytes/s of device memory and seconds of a launch, from the facts that the planner works with."""
    facts = tomllib.loads((ROOT / "hardware-notes/machines/h100-80-pcie-host.toml").read_text())
    memory, launch = facts["tier"][0]["bandwidth_gbs"], facts["compute"]["launch_us"]
    return {"bytes_per_s": memory["value"] * 1e9, "launch_s": launch["value"] * 1e-6, "launch_source": launch.get("source", "")}


@functools.cache
def traffic():
    files = sorted((ROOT / "benches/results").glob("*-traffic.json"))
    if not files:
        raise SystemExit("benches/results has no *-traffic.json: `cargo bench --features emulated --bench traffic` writes one")
    return json.loads(files[-1].read_text()), files[-1].name


def structure(name):
    path = ROOT / f"examples/proteins/{name}.extxyz"
    if not path.exists():
        raise SystemExit(f"{path} is not there: the prediction is one for {', '.join(MILLISECONDS)} of examples/proteins")
    return path


def counts_of(path):
    """Edges within 6 A and angle edges within 4 A of every atom of an extended xyz file without a cell."""
    x = [tuple(map(float, line.split()[1:4])) for line in path.read_text().splitlines()[2:]]
    cells = defaultdict(list)
    for a in x:
        cells[tuple(int(c // 6) for c in a)].append(a)
    out = []
    for a in x:
        home = [int(c // 6) for c in a]
        near = (b for d in range(27) for b in cells.get((home[0] + d % 3 - 1, home[1] + d // 3 % 3 - 1, home[2] + d // 9 - 1), ()))
        squares = [sum((p - q) ** 2 for p, q in zip(a, b)) for b in near]
        out.append((sum(q < 36 for q in squares) - 1, sum(q < 16 for q in squares) - 1))
    return out


def in_turn(centres):
    """The centres (edges, angle edges) as blocks take them: within windows those with most angle edges first. Windows here follow the file's
    order, not that along the curve."""
    windows = math.ceil(len(centres) / WINDOW)
    length = math.ceil(len(centres) / windows)
    return [c for k in range(0, len(centres), length) for c in sorted(centres[k:k + length], key=lambda c: -c[1])]


def parts_of(m):
    """Receiving edges of each block that a centre with m angle edges has (`cut_at`, angle.h)."""
    first = m if m < SHARED_FROM else (m // 2 + 3) // 8 * 8
    return [first, m - first] if m > first else [first]


def factor_of_scheduling(costs, places):
    """How much longer blocks of such costs take, each begun by the place that is free first, than their mean load on every place."""
    free = [0.0] * places
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    return max(free) * places / sum(costs)


def blocks_of(registers, most):
    """Blocks of 128 threads on a multiprocessor, by their registers (handed out by eight); `most` that shared memory has room for."""
    return min(most, 65536 // (128 * 8 * math.ceil(registers / 8)))


def factors(centres, blocks, multiprocessors):
    """Kernel -> least and largest factor of scheduling: a block at the rate of its multiprocessor, or at its share of it. A block of the edge
    kernels costs as its edges, one of the angle kernels as its angles."""
    order = in_turn(centres)
    costs = {"edge": [n for n, _ in order], "angle": [m * part for k in (1, 0) for _, m in order for part in parts_of(m)[k:k + 1]]}
    return {kernel: [factor_of_scheduling(costs[kernel.split("_")[0]], multiprocessors * b) for b in (1, most)]
            for kernel, most in blocks.items()}


def predicted(centres, hot, scheduling, products, rates, node_rows, passed):
    """The step of a structure, with the largest factors of `scheduling` and in `least_ms` with the least. `hot`: milliseconds of the busiest unit
    of each counted kernel, before those factors. `rates`: FLOP/s of `fp32`, `fp64` and `tensor`, multiprocessors. `passed`: kernel -> milliseconds of
    the second cache, from what its work grows with and how much there is of that."""
    least, most = (bounded(centres, hot, {k: f[side] for k, f in scheduling.items()}, products, rates, node_rows, places, passed)
                   for side, places in enumerate((1, BLOCKS_OF_NODES)))
    shown = {k: [round(f, 3) for f in v] for k, v in scheduling.items()}
    return most | dict(least_ms=least["ms"], least_two_streams_ms=least["two_streams_ms"], least_four_ms=least["four_ms"], least_others_ms=least["others_ms"], scheduling=shown)


def bounded(centres, hot, scheduling, products, rates, node_rows, node_blocks, passed):
    """The step with one factor for each counted kernel, nodes with so many blocks to a multiprocessor: kernel -> milliseconds and what bounds it."""
    counted, name = traffic()
    facts = machine()
    unit = {"atom": len(centres), "edge": sum(n for n, _ in centres), "angle edge": sum(m for _, m in centres), "angle": sum(m * m for _, m in centres)}
    kernels, launches, spread = {}, 0.0, {}
    for kernel, k in counted["kernels"].items():
        count = unit[k["per"]]
        moved = (k["read_bytes_per_step"] + k["written_bytes_per_step"]) * count + k["weights_bytes"]
        bounds = {"device memory": 1e3 * moved / facts["bytes_per_s"], "second cache": passed(kernel, k["per"], count)}
        if kernel in hot:
            bounds["instructions"] = hot[kernel] * scheduling[kernel]
        else:
            rate, work, rounds = rates["fp64" if kernel == "fit" else "fp32"], 1.0, 1.0
            if kernel in OF_NODES:
                # Whole rounds of blocks; a tile of 16 rows is half full.
                blocks = count / node_rows
                places = rates["multiprocessors"] * node_blocks
                rounds = math.ceil(blocks / places) * places / blocks
                if products != "plain":
                    rate, work = rates["tensor"], 16 / node_rows * {"tf32": 1, "tf32x3": 3, "f16x3": 3}[products]
                bounds["L1 and shared"] = 1e3 * rates["block_cycles"][kernel] * k["launches"] * blocks * rounds / rates["cycles"]
                # Of all multiprocessors, if none waited.
                spread[kernel] = max(1e3 * k["flop_per_step"] * count * work / rate, bounds["L1 and shared"] / rounds)
            bounds["FLOP"] = 1e3 * k["flop_per_step"] * count * work * rounds / rate
        by = max(bounds, key=bounds.get)
        kernels[kernel] = dict(ms=bounds[by], by=by, memories={m: bounds[m] for m in MEMORIES})
        launches += k["launches"]
    two, two_launches = in_two_streams(kernels, counted["kernels"], spread, facts["launch_s"])
    four = sum(kernels[k]["ms"] for k in hot)
    others = sum(k["ms"] for k in kernels.values()) - four
    starts = 1e3 * launches * facts["launch_s"]
    shown = {k: dict(ms=round(v["ms"], 3), by=v["by"]) for k, v in kernels.items() if v["ms"] >= 0.01}
    return dict(atoms=len(centres), four_ms=round(four, 3), others_ms=round(others, 3), launches=launches, launches_ms=round(starts, 3),
                ms=round(four + others + starts, 3), two_streams_ms=round(four + others + starts - two, 3), launches_beside=two_launches, kernels=shown, traffic=name)


def in_two_streams(kernels, counted, spread, launch_s):
    """Milliseconds that a step takes less where BESIDE runs in a stream of its own, and the launches there: all that it takes, less what it
    takes of multiprocessors (its products, as if spread over all of them) and of memories beyond what the kernel of angles leaves of them in its time,
    as long as its chain is no longer than the kernel it runs beside. The last layer has no angles to run beside."""
    saved, launches = 0.0, 0
    for main, chain in BESIDE.items():
        times = counted[main]["launches"]
        share = {k: times / counted[k]["launches"] for k in chain if k in kernels}
        if any(counted[k]["launches_beside"] == 0 or s > 1 for k, s in share.items()):
            raise SystemExit("the counted step had one stream, or made slopes again: count it anew")
        own = sum(kernels[k]["ms"] * s for k, s in share.items())
        starts = 1e3 * launch_s * times * len(share)
        cost = sum(spread.get(k, 0.0) * s for k, s in share.items())
        # What memories give both in the time of the main one is free.
        cost += max(0.0, *(kernels[main]["memories"][m] + sum(kernels[k]["memories"][m] * s for k, s in share.items()) - kernels[main]["ms"] for m in MEMORIES))
        longer = max(0.0, own + starts - kernels[main]["ms"])
        saved += own + starts - max(cost, longer)
        launches += times * len(share)
    return saved, launches

#!/usr/bin/env python3
"""Instructions of the hot kernels, counted in their machine code, and what they would take on an H100: a prediction, not a measurement.

    python benches/gpu/instructions.py --nvrtc libnvrtc.so.12 --nvdisasm nvdisasm [--products plain tf32x3] [--json FILE]

Compiles the kernel text for sm_90a with NVRTC (as the library does, plus line tables), disassembles it with nvdisasm and gives every
instruction to a statement of the text: to the inner loop of a product (so many times for each step of k), to what surrounds it (once for each
tile of the result), or to a loop over elements. How often statements run in a step of 2PTC follows from its counts of atoms, edges and angles and
from the rows in shared memory; each kernel's time is then bounded by the busiest of its pipes.

What is assumed is in ASSUMED below and in the comments of `statements`; latencies, barriers, the caches' misses and the tail of a launch
are left out, so a kernel with too few waves will be slower than this says. Device memory is bounded apart (benches/traffic.rs).
"""

import argparse
import json
import math
import re
import time
from collections import Counter, defaultdict
from pathlib import Path

from machine_code import TEXT, compiled, disassembled, kind, pipe, version, wavefronts, wide

# H100 SXM: 132 multiprocessors of four schedulers at 1.755 GHz. Warp instructions a cycle and multiprocessor by pipe: issue 4; FP32 128 lanes;
# integer and logic 64; conversions and special functions 16; one wavefront of 128 bytes by the shared memory and L1 pipe. An m16n8k8 of TF32
# takes a tensor core 4 cycles at the published dense rate (494.7 TFLOP/s), of which mma.sync reaches 0.62 (published microbenchmarks).
ASSUMED = {
    "multiprocessors": 132, "GHz": 1.755, "issue": 4.0, "fp32": 4.0, "integer": 2.0, "special": 0.5, "memory": 1.0, "fp64": 2.0, "tensor": 4 * 0.62 / 4.0,
}
# 2PTC, and the layers of the shape that do a kernel's work: (forward) the last layer has no angles and no edge update; the last but one no
# angle update.
ATOMS, EDGES, ANGLE_EDGES, ANGLES = 4114, 299_380, 93_642, 2_257_334
NP, EP, AP, EC = 128, 64, 32, 32
WA, WD = EP + AP, NP + EP
SIGMOID = 1 / (1 + math.exp(-3.0))
# As `Shape::fitted` (kernels/src/source.rs) chooses for an H100; how many receiving edges are projected together depends on the products.
ROWS = dict(R_EDGE=32, R_EDGE_BACK=32, R_SUMS=32, R_ANGLE=64, R_ANGLE_BACK=48, R_SECOND=6, R_NODE=8)
# Angle edges of a centre: 24.1 in the mean of the angles.
M, NE = 24, EDGES / ATOMS


def defines(products, rows):
    """Macros of DPA-3.1-3M in f32 (kernels/src/source.rs, `Source::dpa3`)."""
    out = dict(REAL="float", THREADS=128, N_DIM=NP, NP=NP, E_DIM=EP, EP=EP, A_DIM=AP, AP=AP, EC=EC, HEADS=1, AXIS=4,
               PRODUCTS=["plain", "tf32", "tf32x3"].index(products), ACTIVATION=8, STORE=0, EXP_SWITCH=1, RAW_DISTANCE=0, SMOOTH=1,
               ACTIVATION_THRESHOLD=3.0, ACTIVATION_SLOPE=SIGMOID * (1 + 3 * (1 - SIGMOID)), ACTIVATION_OFFSET=3 * SIGMOID, E_CUT=6.0, E_SMOOTH=5.3, A_CUT=4.0, A_SMOOTH=3.5, PROTECTION=0.0,
               EDGE_ROOT=120**-0.5, ANGLE_ROOT=30**-0.25, COSINE=(1 - 1e-6) / math.pi**0.5)
    return {**out, **rows}


def line_of(file, pattern, after=0):
    for n, line in enumerate((TEXT / file).read_text().splitlines(), 1):
        if n > after and re.search(pattern, line):
            return n
    raise SystemExit(f"{file} has no line like {pattern} behind {after}: bring the statements of this script up to date")


def rows_of_thread(rows, most=4):
    share = max(1, rows // 8)
    while most > 1 and share % most:
        most -= 1
    return most


class Product:
    """A product of `rows` (in shared memory) of length k with k x n weights. Passes of warps: a pass makes 32 x 32 (16 x 16 where `thread_rows`
    is 1; the lower half only where there are rows for it, taken for half a pass) elements by matrix units, else `thread_rows` x 4 in each thread, of rows 128 / `lanes` apart."""

    def __init__(self, tensor, k, n, rows, thread_rows, lanes=16):
        self.k, self.n, self.rows, self.thread_rows, self.tensor, self.lanes = k, n, rows, thread_rows, tensor, lanes

    all, share = None, 1.0

    def tiles(self):
        return (16 if self.thread_rows == 1 else 32) // 8

    def below(self):
        return 1 if self.thread_rows == 1 else 2

    def passes(self):
        if self.tensor:
            return math.ceil(self.rows / 16) / self.below() * math.ceil(self.n / (8 * self.tiles()))
        groups = 128 // self.lanes
        passes = 0
        for r0 in range(0, math.ceil(self.rows), groups * self.thread_rows):
            passes += sum(1 for w in range(4) if r0 + groups // 4 * w < self.rows)
        return passes * math.ceil(self.n / (4 * self.lanes))


class Loop:
    """A loop over elements, of which a warp does 32 at a time: `marker` is the instruction that each element has once, `needed` how many
    elements there are."""

    def __init__(self, marker, needed):
        self.marker, self.needed = marker, needed


def two_uses(file, call, product, widths, rest=None):
    """A product of columns of two uses (`product_of_two`): what it multiplies, and its two last words. `rest`: rows of a thread and groups of
    columns of the second use in plain products."""
    second = line_of(file, "LAMBDA", line_of(file, "LAMBDA", call - 1))
    p = product
    of = [Product(p.tensor, p.k, n, p.rows, *how) for n, how in zip(widths, ((p.thread_rows, p.lanes), rest or (p.thread_rows, p.lanes)))]
    for k in (0, 1):
        # Compilers tell activations of both last words as those of one: of two texts or one, all columns run through one.
        of[k].all = p if p.tensor else None
    here = line_of("product.h", r"void product_of_two")
    plain = [line_of("product.h", w, here) for w in (r"product_rows<TR, LANES_C>", "product_rows<TR_REST")]
    return [(file, call, product), (file, line_of(file, "LAMBDA", call - 1) + 1, of[0]), (file, second, of[1]),
            ("product.h", plain[0], of[0]), ("product.h", plain[1], of[1]), ("product.h", plain[1] + 1, None)]


def statements(products, rows):
    """Kernel -> (runs of a chunk in a step, [(file, first line, statement)]). A statement ends where the next one of its file begins."""
    t = products != "plain"
    L = line_of
    out = {}
    # edge_forward: a chunk of a centre's edges.
    chunks = math.ceil(NE / rows["R_EDGE"])
    r, tr = NE / chunks, rows_of_thread(rows["R_EDGE"])
    k = L("edge.h", r"^KERNEL\(edge_forward\)")
    first = L("edge.h", "product(_\\w+)?<", k)
    out["edge_forward"] = (16 * ATOMS * chunks, [
        ("edge.h", L("edge.h", r"stage_edges\(e,", k), Loop("STS", r * EP)),
        *two_uses("edge.h", first, Product(t, EP, WD, r, tr), (NP, EP)),
        ("edge.h", L("edge.h", r"if \(wa && k0 < t.m\)", k), Product(False, EC, WA, M / chunks, rows_of_thread(rows["R_EDGE"] // 2), 8)),
        ("edge.h", L("edge.h", r"real s = sum\[c\]", k) - 1, Loop("LDS", r * NP)),
        ("edge.h", L("edge.h", r"c < EP \+ NP", k), Loop("FFMA", 3 * r * (EP + NP))),
        ("edge.h", L("edge.h", r"^  if \(with_nodes\) \{", L("edge.h", r"c < EP \+ NP", k)), None),
    ])
    # edge_backward.
    chunks = math.ceil(NE / rows["R_EDGE_BACK"])
    r, tr = NE / chunks, rows_of_thread(rows["R_EDGE_BACK"])
    k = L("edge.h", r"^KERNEL\(edge_backward\)")
    first = L("edge.h", "product(_\\w+)?<", k)
    second = L("edge.h", "product(_\\w+)?<", k)
    third = L("edge.h", "product(_\\w+)?<", L("edge.h", "joins it in one rounding", first))
    out["edge_backward"] = (16 * ATOMS * chunks, [
        ("edge.h", L("edge.h", r"stage_edges\(e,", k), Loop("STS", r * EP)),
        *two_uses("edge.h", first, Product(t, EP, WD, r, tr), (NP, EP)),
        ("edge.h", L("edge.h", r"c < wd; c \+= THREADS", second), Loop("LDS", r * WD)),
        ("edge.h", L("edge.h", r"at < rows \* 4", second), Loop("FFMA", 3 * r * (EP + NP))),
        ("edge.h", L("edge.h", r"r < rows; r \+= THREADS", second), Loop("DFMA", 3 * r)),
        ("edge.h", third, Product(t, WD, EP, r, tr)),
        ("edge.h", L("edge.h", r"if \(wa && k0 < t.m\)", third), Product(False, WA, EC, M / chunks, 1, 8)),
        ("edge.h", L("edge.h", r"at < rows \* EP", third), Loop("STG", r * EP)),
        ("edge.h", L("edge.h", r"centre_bar\[ci", third), None),
    ])
    # Angles: chunks of `g` receiving edges times `span` others; what a receiving edge needs once is spread over its chunks.
    def angles(most, together):
        g = max(1, min(int(most // M), together)) if M <= most else 1
        parts = math.ceil(M / most)
        return g, M / parts, math.ceil(M / g) * parts
    g, span, chunks = angles(rows["R_ANGLE"], rows["R_SUMS"])
    r, tr = g * span, rows_of_thread(rows["R_ANGLE"])
    sums = rows_of_thread(rows["R_SUMS"])
    k = L("angle.h", r"^KERNEL\(angle_forward\)")
    own, stage, ahead, add = (L("angle.h", f"DEVICE void {w}") for w in ("project_own", "stage_angles", "stage_ahead", "sum_messages"))
    per = math.ceil(M / rows["R_SUMS"]) / chunks
    main = L("angle.h", "product(_\\w+)?<", k)
    out["angle_forward"] = (15 * ANGLE_EDGES / M * chunks, [
        ("angle.h", own, Loop("STS", M * EC / chunks)),
        ("angle.h", L("angle.h", "product(_\\w+)?<", own), Scaled(Product(False, EC, WA, M / math.ceil(M / rows["R_SUMS"]), rows_of_thread(rows["R_SUMS"] // 2), 8), per)),
        ("angle.h", k, Scaled(Loop("STS", 0), per)),
        ("angle.h", L("angle.h", "u32 g = group_at", k), None),
        ("angle.h", stage, Scaled(Loop("STS", r * AP), 0 if t else 1)),
        # Where tensor cores are, copies ahead take the place of that in all layers but the first.
        ("angle.h", ahead, Loop("LDGSTS", r * AP if t else 0)),
        ("angle.h", add, Loop("FFMA", r * EP)),
        *two_uses("angle.h", main, Product(t, AP, WA, r, tr), (EP, AP), (rows_of_thread(rows["R_ANGLE"] // 2), 8)),
        ("angle.h", L("angle.h", "product(_\\w+)?<", main), Scaled(Product(False, EP, EP, M / math.ceil(M / rows["R_SUMS"]), sums), per)),
        ("angle.h", L("angle.h", "if \\(only_angles \\|\\| !rest", main), None),
    ])
    g, span, chunks = angles(rows["R_ANGLE_BACK"], rows["R_SECOND"])
    r, tr = g * span, rows_of_thread(rows["R_ANGLE_BACK"])
    parts = math.ceil(M / rows["R_ANGLE_BACK"])
    again, owns = L("angle_back.h", "^DEVICE void recompute"), math.ceil(M / rows["R_OWN"])
    k = L("angle_back.h", r"^KERNEL\w*\(angle_backward\)")
    second = L("angle_back.h", "Adjoint of S through", k)
    dot = L("angle_back.h", "What S owes", k)
    settle = L("angle_back.h", "DEVICE void settle_rows")
    slopes = L("angle_back.h", "settle_rows\\(", k)
    out["angle_backward"] = (15 * ANGLE_EDGES / M * chunks, [
        ("angle.h", own, Loop("STS", g * EC / parts)),
        ("angle.h", L("angle.h", "product(_\\w+)?<", own), Scaled(Product(False, EC, WA, M / owns, rows_of_thread(rows["R_OWN"] // 2), 8), owns / chunks)),
        ("angle.h", L("angle.h", "^KERNEL\\(angle_forward"), None),
        *two_uses("angle_back.h", again + 2, Product(t, AP, WA, r, tr), (EP, AP), (rows_of_thread(rows["R_ANGLE_BACK"] // 2), 8)),
        ("angle_back.h", k, Scaled(Loop("STS", 0), 0)),
        ("angle.h", stage, Scaled(Loop("STS", r * AP), 0 if t else 1)),
        # Where tensor cores are, copies ahead take the place of that in all layers but the first.
        ("angle.h", ahead, Loop("LDGSTS", r * AP if t else 0)),
        ("angle.h", add, Loop("FFMA", r * EP)),
        ("angle_back.h", L("angle_back.h", "u32 rows = rows_of", k), None),
        ("angle_back.h", second, Scaled(Product(False, EP, EP, g, 1), 1 / parts)),
        ("angle_back.h", L("angle_back.h", "linear2_adjoint, EP", second) - 1, Scaled(Product(False, EP, EP, g, 1), 1 / parts)),
        ("angle_back.h", dot, Loop("FFMA", r * EP)),
        ("angle_back.h", settle, Loop("STS", r * WA)),
        ("angle_back.h", L("angle_back.h", "Adjoint of a tile's angles", settle), None),
        ("angle_back.h", L("angle_back.h", "v of the other edges and", slopes), Loop("DFMA", r)),
        ("angle_back.h", L("angle_back.h", "e < g; e \\+= THREADS", slopes), Loop("DFMA", r)),
        ("angle_back.h", L("angle_back.h", "f0 \\+ q.span == m", slopes), Loop("LDS", 5 * g * WA)),
        ("angle_back.h", L("angle_back.h", "product<TR", slopes), Product(t, WA, AP, r, rows_of_thread(rows["R_ANGLE_BACK"] // 2), 8)),
        ("angle_back.h", L("angle_back.h", "real x = sum\\[c\\]", slopes) - 1, Scaled(Loop("FADD", g * WA), 1 / parts)),
        ("angle_back.h", L("angle_back.h", "own_adjoint, EC", slopes) - 1, Scaled(Product(False, WA, EC, M / owns, rows_of_thread(rows["R_OWN"] // 2), 8), owns / chunks)),
        ("angle_back.h", L("angle_back.h", "centre_bar\\[ci", slopes), None),
    ])
    return out


class Scaled:
    """A statement that runs so many times for each chunk."""

    def __init__(self, statement, times):
        self.statement, self.times = statement, times


def weights(code, statement):
    """How often each instruction of a statement runs, in warps, for one chunk."""
    if isinstance(statement, Scaled):
        return [w * statement.times for w in weights(code, statement.statement)]
    loops = defaultdict(list)
    for i in code:
        if i.inner:
            loops[i.loop].append(i)
    if isinstance(statement, Product):
        passes = statement.passes()
        factor = "HMMA" if statement.tensor else "FFMA"
        def multiplies(body):
            return sum(1 for i in body if i.op.startswith(factor) and i.chain and any(f in ("product.h", "tensor.h") for f, _ in i.chain[:2]))
        steps = {}
        for head, body in loops.items():
            n = multiplies(body)
            # A loop of activations' code is none of the product's.
            if statement.tensor:
                steps[head] = 8 * n / (PASSES_OF_TF32 * statement.tiles() * statement.below())
            else:
                steps[head] = n / (4 * statement.thread_rows) if n >= 4 * statement.thread_rows else 0
        total = sum(steps.values())
        inner = {h for h, n in steps.items() if n}
        # The loop over chains of sixteen: the inner loop itself, or the nearest one around it.
        around = [h for h in {i.loop for i in code} - {None} - set(loops) if inner and h <= min(inner)]
        chains = max(around, default=None) if max(steps.values(), default=16) < 16 else None
        out = []
        for i in code:
            if i.inner and i.loop in inner:
                # Several loops over k (unrolled chains of sixteen) share it.
                out.append(passes * statement.k / total)
            elif chains is not None and i.loop == chains:
                out.append(passes * statement.k / 16)
            elif statement.all and any(f in ("math.h", "prelude.h") for f, _ in i.chain):
                out.append(statement.all.passes() * statement.share)
            else:
                out.append(passes)
        return out
    def marked(body):
        # An access of 128 bits is four elements.
        return sum(wide(i.op) for i in body if i.op.startswith(statement.marker) and not first_layer(i))
    best = max(loops.values(), key=marked, default=[])
    marks = marked(best)
    times = statement.needed / 32 / marks if marks else 0
    head = best[0].loop if marks else None
    # Remainders of unrolled loops, and what stands around a loop, run once in each of the four warps.
    return [times if i.inner and i.loop == head else (4 if i.loop is None or not i.inner else 0) for i in code]


PASSES_OF_TF32 = 3


def first_layer(i):
    """Whether an instruction makes layer 0's features, which one layer alone does."""
    embed, cosine = line_of("geometry.h", "embed_edge\\("), line_of("geometry.h", "^KERNEL\\(edge_gradients")
    stage = line_of("angle.h", "DEVICE void stage_angles")
    loop = line_of("angle.h", "at < rows \\* AP", stage)
    return any((f == "geometry.h" and embed <= n < cosine) or (f == "angle.h" and stage < n < loop) for f, n in i.chain)


def counted(code, runs, table):
    """Statements with what they cost."""
    table = sorted(table, key=lambda s: (s[0], s[1]))
    parts = defaultdict(list)
    for i in code:
        for file, line in i.chain:
            here = [k for k, s in enumerate(table) if s[0] == file and s[1] <= line]
            if here and table[here[-1]][2] is not None:
                parts[here[-1]].append(i)
                break
    words = [k for k, s in enumerate(table) if s[0] != "product.h" and getattr(s[2], "all", None)]
    powers = sum(i.op.startswith("MUFU.EX2") for k in words for i in parts[k])
    for k in words:
        product = table[k][2].all
        table[k][2].share = 4 * product.tiles() * product.below() / max(1, powers)
    out = []
    for k, some in sorted(parts.items()):
        w = weights(some, table[k][2])
        counts, pipes, opcodes = Counter(), Counter(), Counter()
        for i, times in zip(some, w):
            times *= runs * (1 / 15 if first_layer(i) else 1)
            counts[kind(i.op)] += times
            pipes[pipe(i.op)] += times * (wavefronts(i) if pipe(i.op) == "memory" else 1)
            pipes["all"] += times
            opcodes[i.op] += times
        out.append((f"{table[k][0]}:{table[k][1]}", counts, pipes, opcodes))
    return out


def milliseconds(pipes):
    hertz = ASSUMED["GHz"] * 1e9 * ASSUMED["multiprocessors"]
    of = {p: pipes[p] / ASSUMED[p] / hertz * 1e3 for p in ("fp32", "integer", "special", "memory", "tensor", "fp64")}
    of["issue"] = pipes["all"] / ASSUMED["issue"] / hertz * 1e3
    return of


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nvrtc", required=True)
    parser.add_argument("--nvdisasm", required=True)
    parser.add_argument("--products", nargs="+", default=["plain", "tf32x3"])
    parser.add_argument("--rows", help="NAME=N,...: instead of those that an H100 would get")
    parser.add_argument("--statements", action="store_true", help="one line for each statement of the text too")
    parser.add_argument("--opcodes", type=int, default=0, help="so many opcodes of each statement, with their shares of its instructions")
    parser.add_argument("--keep", help="folder for compiled images")
    parser.add_argument("--json", help="file for the counts")
    parser.add_argument("--before", help="such a file of an older text, whose times are kept beside these")
    args = parser.parse_args()
    changes = {k: int(v) for k, v in (w.split("=") for w in args.rows.split(","))} if args.rows else {}
    result = {}
    for products in args.products:
        rows = {**ROWS, "R_OWN": 8 if products == "plain" else 16, **changes}
        image, log = compiled(args.nvrtc, defines(products, rows), args.keep)
        kernels = disassembled(args.nvdisasm, image)
        for kernel, (runs, table) in statements(products, rows).items():
            parts = counted(kernels[kernel], runs, table)
            pipes, counts = Counter(), Counter()
            for line, c, p, o in parts:
                pipes.update(p)
                counts.update(c)
                if args.statements:
                    ms = milliseconds(p)
                    print(f"    {kernel} {line}: " + " ".join(f"{k} {v:.2f}" for k, v in ms.items() if v > 0.005))
                    if args.opcodes:
                        print("      " + " ".join(f"{k} {v / max(1, p['all']):.3f}" for k, v in o.most_common(args.opcodes)))
            ms = milliseconds(pipes)
            used = re.search(rf"entry function '{kernel}'.*?(\d+) bytes spill stores.*?Used (\d+) registers", log, re.S)
            result.setdefault(products, {})[kernel] = dict(
                static=len(kernels[kernel]), registers=int(used[2]), spills=int(used[1]), milliseconds=ms,
                counts={k: v for k, v in counts.items()})
            worst = max(ms, key=ms.get)
            print(f"{products:7} {kernel:15} {len(kernels[kernel]):5} instructions, {used[2]} registers, {used[1]} spilled: "
                  f"{ms[worst]:.2f} ms by {worst}; " + ", ".join(f"{k} {v:.2f}" for k, v in sorted(ms.items(), key=lambda kv: -kv[1]) if v > 0.05))
        total = sum(max(k["milliseconds"].values()) for k in result[products].values())
        print(f"{products:7} sum of the four {total:.1f} ms")
    if args.json:
        out = dict(what="instructions of kernels in machine code, and what they would take: a prediction", date=time.strftime("%F"), compiler=version(args.nvrtc),
                   chip="sm_90a", assumed=ASSUMED, counts=dict(atoms=ATOMS, edges=EDGES, angle_edges=ANGLE_EDGES, angles=ANGLES), rows={**ROWS, **changes}, kernels=result)
        if args.before:
            out["before"] = json.loads(Path(args.before).read_text())["kernels"]
        Path(args.json).write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()

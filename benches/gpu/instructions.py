#!/usr/bin/env python3
"""Instructions of the hot kernels, counted in their machine code, and what a step would take on an H100: a prediction, not a measurement.

    python benches/gpu/instructions.py --nvrtc libnvrtc.so.12 --nvdisasm nvdisasm [--products plain tf32x3 f16x3] [--json FILE]

Compiles the kernel text for sm_90a with NVRTC (as the library does, plus line tables), disassembles it with nvdisasm and gives every
instruction to a statement of the text: to the inner loop of a product (so many times for each step of k), to what surrounds it (once for each
tile of the result), or to a loop over elements. How often statements run in a step follows from the edges and angle edges of every atom of the
protein, which its positions tell, and from the rows in shared memory; each kernel's time is then bounded by the busiest of its pipes.

What is assumed is in ASSUMED below and in the comments of kernel_statements.py. Beside the busiest pipe stands what waves wait for (waits.py): how long the
slowest wave of every block would take if alone, over the blocks of a multiprocessor, and what those take together; barriers and the caches' misses
are left out. The sums of the four are of 2PTC; the whole steps behind them, of all four proteins of
examples/proteins, add device memory, the tails of launches and all other kernels (whole_step.py).
"""

import argparse
import functools
import json
import math
import re
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path

import waits
import whole_step
from kernel_statements import AP, EC, EP, NP, Beside, Product, Scaled, statements
from machine_code import ROOT, TEXT, compiled, disassembled, kind, lanes, line_of, pipe, registers_of, version, wavefronts, wide
from targets import MILLISECONDS

# H100 SXM: 132 multiprocessors of four schedulers at 1.755 GHz. Warp instructions a cycle and multiprocessor by pipe: issue 4; FP32 128 lanes;
# integer, logic and conversions between f32 and f16 64; other conversions and special functions 16; one wavefront of 128 bytes by the shared memory and L1 pipe. An m16n8k8 of TF32
# takes a tensor core 4 cycles at the published dense rate (494.7 TFLOP/s), as an m16n8k16 of halves does (989.4), of which mma.sync reaches 0.62 (published microbenchmarks).
# The second cache gives 5120 bytes a cycle by its specification (9.0 TB/s), of which microbenchmarks of H100s have seen five to six TB/s.
ASSUMED = {
    "multiprocessors": 132, "GHz": 1.755, "issue": 4.0, "fp32": 4.0, "integer": 2.0, "special": 0.5, "memory": 1.0, "fp64": 2.0, "tensor": 4 * 0.62 / 4.0,
    "second_cache_bytes_per_s": 5.5e12,
}
# 2PTC, and the layers of the shape that do a kernel's work: (forward) the last layer has no angles and no edge update; the last but one no
# angle update.
ATOMS, EDGES, ANGLE_EDGES, ANGLES = 4114, 299_380, 93_642, 2_257_334
SIGMOID = 1 / (1 + math.exp(-3.0))
# Share of waves in which an activation goes the long way, beyond silut's threshold: none in this shape with random weights and in a trained
# model of water, 0.10 to 0.23 in small fixtures (four columns to a thread, counted on the emulated device, 2026-11-29).
BEYOND = 0.1
# Rows as `Shape::fitted` (kernels/src/source.rs) chooses them for an H100, by products.
UNIT_ROWS = dict(R_EDGE=32, R_EDGE_BACK=32, R_SUMS=32, R_ANGLE=64, R_ANGLE_BACK=64, R_SECOND=6, R_OWN=16, R_NODE=16)
UNITS = ("tf32", "tf32x3", "f16x3")
ROWS = {"plain": {**UNIT_ROWS, "R_ANGLE_BACK": 48, "R_SECOND": 5, "R_NODE": 8}, **dict.fromkeys(UNITS, UNIT_ROWS), "f16x3": {**UNIT_ROWS, "R_SUMS": 16}}
# Numbers of the text (`Products::number`; 3 are AMD's units).
NUMBERS = {"plain": 0, "tf32": 1, "tf32x3": 2, "f16x3": 4}


def defines(products, rows):
    """Macros of DPA-3.1-3M in f32 (kernels/src/source.rs, `Source::dpa3`)."""
    out = dict(REAL="float", THREADS=128, N_DIM=NP, NP=NP, E_DIM=EP, EP=EP, A_DIM=AP, AP=AP, EC=EC, HEADS=1, AXIS=4,
               PRODUCTS=NUMBERS[products], ACTIVATION=8, STORE=0, EXP_SWITCH=1, RAW_DISTANCE=0, SMOOTH=1,
               ACTIVATION_THRESHOLD=3.0, ACTIVATION_SLOPE=SIGMOID * (1 + 3 * (1 - SIGMOID)), ACTIVATION_OFFSET=3 * SIGMOID, E_CUT=6.0, E_SMOOTH=5.3, A_CUT=4.0, A_SMOOTH=3.5, PROTECTION=0.0,
               EDGE_ROOT=120**-0.5, ANGLE_ROOT=30**-0.25, COSINE=(1 - 1e-6) / math.pi**0.5)
    return {**out, **rows}


def weights(code, statement):
    """How often each instruction of a statement runs, in warps, for one chunk."""
    if isinstance(statement, Scaled):
        return [w * statement.times for w in weights(code, statement.statement)]
    if isinstance(statement, Beside):
        return weights(code, statement.statement)
    loops = defaultdict(list)
    for i in code:
        if i.inner:
            loops[i.loop].append(i)
    if isinstance(statement, Product):
        passes = statement.passes()
        factor = "HMMA" if statement.tensor else "FFMA"
        def multiplies(body):
            return sum(depths(i) for i in body if i.op.startswith(factor) and i.chain and any(f in ("product.h", "tensor.h") for f, _ in i.chain[:2]))
        steps = {}
        for head, body in loops.items():
            n = multiplies(body)
            # A loop of activations' code is none of the product's.
            if statement.tensor:
                steps[head] = n / (PASSES * statement.tiles() * statement.below())
            else:
                steps[head] = n / (4 * statement.thread_rows) if n >= 4 * statement.thread_rows else 0
        total = sum(steps.values())
        inner = {h for h, n in steps.items() if n}
        # Chains of a matrix product that stand outside the loop over the others.
        straight = multiplies([i for i in code if i.loop not in inner or not i.inner]) / (PASSES * statement.tiles() * statement.below()) if statement.tensor else 0
        # The loop over chains of sixteen: the inner loop itself, or the nearest one around it.
        around = [h for h in {i.loop for i in code} - {None} - set(loops) if inner and h <= min(inner)]
        chains = max(around, default=None) if max(steps.values(), default=16) < 16 else None
        out = []
        for i in code:
            if i.inner and i.loop in inner:
                # Several loops over k (unrolled chains of sixteen) share it.
                out.append((passes if statement.tensor and multiplied(i) else statement.units()) * (statement.k - straight) / total)
            elif chains is not None and i.loop == chains:
                out.append(passes * statement.k / 16)
            elif statement.all and i.shared:
                out.append(statement.all.passes())
            elif statement.all and any(f in ("math.h", "prelude.h") for f, _ in i.chain):
                out.append(statement.all.passes() * statement.share)
            else:
                out.append(passes if statement.all or (statement.tensor and multiplied(i)) else statement.units())
        return out

    def marked(body):
        # An access of 128 bits is four elements.
        return sum(wide(i.op) for i in body if i.op.startswith(statement.marker) and not first_layer(i))
    best = max(loops.values(), key=marked, default=[])
    marks = sum(map(marked, loops.values())) if statement.every else marked(best)
    times = statement.needed / 32 / marks if marks and statement.marker else 0
    head = best[0].loop if times else None
    if statement.every:
        return [times if i.inner and marked(loops[i.loop]) else (4 if i.loop is None or not i.inner else 0) for i in code]
    # Remainders of unrolled loops, and what stands around a loop, run once in each of the four warps.
    return [times if i.inner and i.loop == head else (4 if i.loop is None or not i.inner else 0) for i in code]


PASSES = 3


def depths(i):
    """Of a matrix unit's instruction: 16 of halves (HMMA.16816), 8 of TF32 (HMMA.1688); a multiply-add has one."""
    return 1 if not i.op.startswith("HMMA") else 16 if ".16816" in i.op else 8


@functools.cache
def of_tiles():
    """Lines of tensor.h that run for each tile of rows: cutting its numbers and multiplying, and the loops over tiles (sums begin, a chain, sums are
    handed on)."""
    cutting, ends = line_of("tensor.h", "s \\+= a b of a tile"), line_of("tensor.h", "As `product_rows`")
    begin = line_of("tensor.h", "t < BELOW", ends)
    chains = line_of("tensor.h", "Chains of K_BLOCK", begin)
    chain = line_of("tensor.h", "t < BELOW", chains)
    end = line_of("tensor.h", "undef HERE", chain)
    return (cutting, ends), (begin, chains), (chain, end), (line_of("tensor.h", "t < BELOW", end), 10**6)


def multiplied(i):
    """Whether a tile of rows needs the instruction for itself, rather than a unit of several."""
    return i.op.startswith("HMMA") or any(f == "tensor.h" and any(a <= n < b for a, b in of_tiles()) for f, n in i.chain)


@functools.cache
def layer_zero():
    embed, cosine = line_of("geometry.h", "embed_edge\\("), line_of("geometry.h", "^KERNEL\\(edge_gradients")
    stage = line_of("angle.h", "DEVICE void stage_angles")
    return embed, cosine, stage, line_of("angle.h", "at < rows \\* AP", stage)


def first_layer(i):
    """Whether an instruction makes layer 0's features, which one layer alone does."""
    embed, cosine, stage, loop = layer_zero()
    return any((f == "geometry.h" and embed <= n < cosine) or (f == "angle.h" and stage < n < loop) for f, n in i.chain)


@functools.cache
def long_way():
    start = line_of("math.h", "DEVICE void activate")
    start = line_of("math.h", "^#endif", start)
    return start, line_of("math.h", "^}", start)


def beyond(i):
    """Whether an instruction belongs to the long way of an activation (`activate` of math.h)."""
    a, b = long_way()
    return any(f == "math.h" and a < n < b for f, n in i.chain)


@functools.cache
def of_parts():
    return ("angle.h", line_of("angle.h", "DEVICE u32 inverse_of")), ("angle.h", line_of("angle.h", "span == m \\?"))


def share(i):
    """How often an instruction runs where its statement does."""
    if all(line in i.chain for line in of_parts()):
        # Of centres whose angles do not fit together, which are not described here.
        return 0
    if first_layer(i):
        return 1 / 15
    return BEYOND if beyond(i) else 1


def mark_shared(code):
    """Marks what compilers have moved before the branch between the last words of a product of two uses: it runs for the columns of both."""
    border = "product.h", line_of("product.h", r"if \(c < border\)")
    for end in code:
        if end.op.startswith("BRA") and border in end.chain:
            for i in reversed(code[:end.at]):
                if i.op.startswith(("BRA", "BSYNC", "EXIT", "CALL", "RET")):
                    break
                i.shared = True


def counted(products, kernel, code, kinds):
    """Statements with what they cost, all kinds of chunks together."""
    mark_shared(code)
    kinds = [(runs, sorted(table, key=lambda s: (s[0], s[1]))) for runs, table in kinds]
    table = kinds[0][1]
    parts = defaultdict(list)
    for i in code:
        for file, line in i.chain:
            here = [k for k, s in enumerate(table) if s[0] == file and s[1] <= line]
            if here and table[here[-1]][2] is not None:
                parts[here[-1]].append(i)
                break
    for k, (file, line, statement) in enumerate(table):
        called = re.search(r"product(_rows|_seen|_of_few|_of_pairs|_apart)?<", "".join((TEXT / file).read_text().splitlines()[line - 1:line + 2]))
        if file != "product.h" and called and not any(i.op.startswith(("FFMA", "HMMA")) for i in parts[k]):
            # ptxas leaves a call out of its line table that stands in a line of the same number as the call around it.
            raise SystemExit(f"{file}:{line}: no multiplication comes from this product; move its call by a line")
    words = [k for k, s in enumerate(table) if getattr(s[2], "all", None)]
    powers = sum(i.op.startswith("MUFU.EX2") and not beyond(i) for k in words for i in parts[k])
    out, alone = [], waits.alone(code)
    for k, some in sorted(parts.items()):
        w, slowest = [0.0] * len(some), [0.0] * len(some)
        for runs, table in kinds:
            if k in words:
                product = table[k][2].all
                table[k][2].share = 4 * product.tiles() * product.below() / max(1, powers)
            run = weights(some, table[k][2])
            for at, (mean, longest) in enumerate(zip(run, waits.scaled(some, table[k][2], run))):
                w[at] += runs * mean
                slowest[at] += runs * longest
        counts, pipes, opcodes = Counter(), Counter(), Counter()
        for i, times, longest in zip(some, w, slowest):
            times *= share(i)
            pipes["alone"] += times * alone[i.at]
            pipes["slowest"] += longest * share(i) * alone[i.at]
            counts[kind(i.op)] += times
            cycles, known = wavefronts(products, kernel, i) if pipe(i.op) == "memory" else (1, True)
            pipes[pipe(i.op)] += times * cycles
            pipes["unknown"] += 0 if known else times * cycles
            pipes["all"] += times
            opcodes[i.op] += times
        out.append((f"{table[k][0]}:{table[k][1]}", counts, pipes, opcodes))
    return out


def milliseconds(pipes):
    hertz = ASSUMED["GHz"] * 1e9 * ASSUMED["multiprocessors"]
    of = {p: pipes[p] / ASSUMED[p] / hertz * 1e3 for p in ("fp32", "integer", "special", "memory", "tensor", "fp64")}
    of["issue"] = pipes["all"] / ASSUMED["issue"] / hertz * 1e3
    return of


def waiting(pipes, kernel, products, rows, registers):
    """Milliseconds of a step if every scheduler had one wave: the mean wave's and the slowest one's of every block; blocks of a multiprocessor, and what
    those take together."""
    hertz = ASSUMED["GHz"] * 1e9 * ASSUMED["multiprocessors"]
    alone, slowest = (pipes[k] / ASSUMED["issue"] / hertz * 1e3 for k in ("alone", "slowest"))
    ms = milliseconds(pipes)
    blocks = waits.resident(registers, waits.shared_bytes(kernel, rows, products))
    together = max(waits.together(ms["issue"], slowest, blocks), *ms.values())
    return dict(alone_ms=alone, slowest_ms=slowest, blocks=blocks, together_ms=together)


def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def hot_milliseconds(kernels, products, rows, registers, centres):
    """Kernel -> milliseconds of its busiest pipe in a step of these centres; and of its waves together."""
    busiest, together = {}, {}
    for kernel, kinds in statements(products, rows, centres).items():
        pipes = Counter()
        for _, _, p, _ in counted(products, kernel, kernels[kernel], kinds):
            pipes.update(p)
        busiest[kernel] = max(milliseconds(pipes).values())
        together[kernel] = waiting(pipes, kernel, products, rows, registers[kernel])["together_ms"]
    return busiest, together


def steps(kernels, products, rows, registers, proteins):
    """Protein -> the whole step, predicted."""
    hertz = ASSUMED["GHz"] * 1e9 * ASSUMED["multiprocessors"]
    # Multiply-adds of a warp instruction; an m16n8k8 of TF32 has 1024, an m16n8k16 of halves in the same time twice as many.
    multiply_adds = 16 * 8 * (16 if products == "f16x3" else 8)
    rates = dict(fp32=2 * 32 * ASSUMED["fp32"] * hertz, fp64=2 * 32 * ASSUMED["fp64"] * hertz, tensor=2 * multiply_adds * ASSUMED["tensor"] * hertz, multiprocessors=ASSUMED["multiprocessors"], cycles=ASSUMED["memory"] * hertz, block_cycles=lanes(products)[1])
    passed = lanes(products)[2]
    out = {}
    for name, centres in proteins.items():
        blocks = {k: waits.resident(r, waits.shared_bytes(k, rows, products)) for k, r in registers.items()}
        scheduling = whole_step.factors(centres, blocks, ASSUMED["multiprocessors"])
        busiest, together = hot_milliseconds(kernels, products, rows, registers, centres)
        second = lambda kernel, per, count: 1e3 * passed.bytes(kernel, per, count, blocks.get(kernel)) / ASSUMED["second_cache_bytes_per_s"]
        step, waited = (whole_step.predicted(centres, hot, scheduling, products, rates, rows["R_NODE"], second) for hot in (busiest, together))
        out[name] = step | dict(target_ms=MILLISECONDS[name], waited_least_ms=waited["least_two_streams_ms"], waited_ms=waited["two_streams_ms"])
        print(f"{products:7} {name} ({step['atoms']} atoms): {step['least_two_streams_ms']:.1f} to {step['two_streams_ms']:.1f} ms a step, with waits {waited['least_two_streams_ms']:.1f} to {waited['two_streams_ms']:.1f} (in one stream {step['least_ms']:.1f} to {step['ms']:.1f}; target {MILLISECONDS[name]}): the four "
              f"with their tails and device memory {step['least_four_ms']:.1f} to {step['four_ms']:.1f}, others {step['least_others_ms']:.1f} to {step['others_ms']:.1f}, "
              f"{step['launches']:.0f} launches {step['launches_ms']:.2f}; scheduling " + " ".join(f"{k} {a:.2f}-{b:.2f}" for k, (a, b) in step["scheduling"].items()))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nvrtc", required=True)
    parser.add_argument("--nvdisasm", required=True)
    parser.add_argument("--products", nargs="+", default=["plain", "tf32x3", "f16x3"])
    parser.add_argument("--rows", help="NAME=N,...: instead of those that an H100 would get")
    parser.add_argument("--statements", action="store_true", help="one line for each statement of the text too")
    parser.add_argument("--opcodes", type=int, default=0, help="so many opcodes of each statement, with their shares of its instructions")
    parser.add_argument("--keep", help="folder for compiled images")
    parser.add_argument("--json", help="file for the counts")
    parser.add_argument("--before", help="such a file of an older text, whose times are kept beside these")
    args = parser.parse_args()
    changes = {k: int(v) for k, v in (w.split("=") for w in args.rows.split(","))} if args.rows else {}
    proteins = {name: whole_step.counts_of(whole_step.structure(name)) for name in MILLISECONDS}
    centres = proteins["2PTC"]
    found = len(centres), sum(n for n, _ in centres), sum(m for _, m in centres), sum(m * m for _, m in centres)
    assert found == (ATOMS, EDGES, ANGLE_EDGES, ANGLES), f"2PTC has other counts: {found}"
    result, whole = {}, {}
    for products in args.products:
        rows = {**ROWS[products], **changes}
        image, log = compiled(args.nvrtc, defines(products, rows), args.keep)
        kernels = disassembled(args.nvdisasm, image)
        for kernel, kinds in statements(products, rows, centres).items():
            parts = counted(products, kernel, kernels[kernel], kinds)
            pipes, counts = Counter(), Counter()
            for line, c, p, o in parts:
                pipes.update(p)
                counts.update(c)
                if args.statements:
                    ms = milliseconds(p)
                    slowest = p["slowest"] / ASSUMED["issue"] / (ASSUMED["GHz"] * 1e6 * ASSUMED["multiprocessors"])
                    print(f"    {kernel} {line}: " + " ".join(f"{k} {v:.2f}" for k, v in ms.items() if v > 0.005) + f" slowest wave alone {slowest:.2f}")
                    if args.opcodes:
                        print("      " + " ".join(f"{k} {v / max(1, p['all']):.3f}" for k, v in o.most_common(args.opcodes)))
            ms = milliseconds(pipes)
            registers, spills = registers_of(log, kernel)
            waited = waiting(pipes, kernel, products, rows, registers)
            gb = lanes(products)[2].bytes(kernel, *(("angle", ANGLES) if kernel.startswith("angle") else ("edge", EDGES)), waited["blocks"]) / 1e9
            result.setdefault(products, {})[kernel] = dict(
                static=len(kernels[kernel]), registers=registers, spills=spills, milliseconds=ms, waits=waited, second_cache_gb=gb,
                counts={k: v for k, v in counts.items()})
            unknown = pipes["unknown"] / pipes["memory"]
            worst = max(ms, key=ms.get)
            print(f"{products:7} {kernel:15} {len(kernels[kernel]):5} instructions, {registers} registers, {spills} spilled: "
                  f"{ms[worst]:.2f} ms by {worst}, {waited['together_ms']:.2f} with waits ({waited['slowest_ms']:.2f} over {waited['blocks']} blocks), {gb:.1f} GB by the second cache; " + ", ".join(f"{k} {v:.2f}" for k, v in sorted(ms.items(), key=lambda kv: -kv[1]) if v > 0.05) + f"; {unknown:.1%} of memory not counted by lanes")
        total = sum(max(k["milliseconds"].values()) for k in result[products].values())
        print(f"{products:7} sum of the four {total:.1f} ms, with waits {sum(k['waits']['together_ms'] for k in result[products].values()):.1f}")
        registers = {kernel: k["registers"] for kernel, k in result[products].items()}
        whole[products] = steps(kernels, products, rows, registers, proteins)
    if args.json:
        out = dict(what="instructions of kernels in machine code, and what they would take: a prediction", date=time.strftime("%F"), commit=commit(), compiler=version(args.nvrtc),
                   chip="sm_90a", assumed=ASSUMED, counts=dict(atoms=ATOMS, edges=EDGES, angle_edges=ANGLE_EDGES, angles=ANGLES), rows={p: {**ROWS[p], **changes} for p in args.products}, kernels=result, whole_steps=dict(launch_s=whole_step.machine()["launch_s"], launch_source=whole_step.machine()["launch_source"], steps=whole))
        if args.before:
            out["before"] = json.loads(Path(args.before).read_text())["kernels"]
        Path(args.json).write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()

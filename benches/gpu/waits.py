"""How long waves wait, from the schedule that ptxas writes into every instruction: an estimate, not a measurement. Used by instructions.py.

An instruction says for how many cycles its wave issues nothing behind it, which of six marks it sets until its result is there, and for which it
waits (bits 105 to 121 of it, as open assemblers for these chips read them). Put one after the other in the order of the text they give the time of a
wave that has its scheduler for itself. Between two barriers a block takes as long as its slowest wave; of several blocks on a multiprocessor each
scheduler has as many waves, which wait for each other's turns as well (`together`). Left out: barriers themselves, misses of the first cache.
"""

import math

from kernel_statements import AP, EP, NP, WA, Beside, Loop, Product, Scaled
from whole_step import blocks_of

# Cycles until what is asked for is there: H100, by published microbenchmarks (shared memory 29, first cache about 40) or of their order; others 15.
LATENCY = {"LDS": 30, "LDG": 40, "LD": 40, "LDC": 35, "ULDC": 35, "S2R": 25, "S2UR": 25, "MUFU": 22, "F2F": 22, "F2I": 22, "I2F": 22, "ATOM": 400}
# More for 16 bytes; and until what an instruction reads may be written again.
WIDE, READ = 6, 12
# Shared memory of a multiprocessor, and what every block takes beside its own.
SHARED_BYTES, BLOCK_BYTES = 228 * 1024, 1024


def schedule(word):
    """Of an instruction's upper half: cycles, mark of its result, mark of its operands (7: none), marks that it waits for."""
    bits = word >> 41
    return bits & 15, bits >> 5 & 7, bits >> 8 & 7, bits >> 11 & 63


def latency(op):
    name = op.split(".")[0]
    found = next((LATENCY[k] for k in sorted(LATENCY, key=len, reverse=True) if name.startswith(k)), 15)
    return found + WIDE * (name.startswith("LD") and ".128" in op)


def alone(code):
    """Cycles of each instruction for a wave alone."""
    now, there, out = 0, [0] * 6, []
    for i in code:
        cycles, result, operands, waits = schedule(i.word)
        start = max([now] + [there[m] for m in range(6) if waits >> m & 1])
        for mark, until in ((result, start + latency(i.op)), (operands, start + READ)):
            if mark < 6:
                there[mark] = max(there[mark], until)
        out.append(start + max(1, cycles) - now)
        now = start + max(1, cycles)
    return out


def tiles_of_waves(product):
    """Tiles of rows that each of a block's four waves multiplies, where waves take units in turn."""
    tiles, waves = math.ceil(product.rows / 16), [0] * 4
    columns = math.ceil(product.n / (8 * product.tiles()))
    for unit in range(math.ceil(tiles / product.below()) * columns):
        waves[unit % 4] += min(product.below(), tiles - unit // columns * product.below())
    return waves


def slowest(statement):
    """How much longer the slowest wave of a block takes for a statement than its four waves on average."""
    if isinstance(statement, Product):
        whole = statement.all or statement
        waves = tiles_of_waves(whole) if whole.tensor and whole.rows else [1]
        return max(waves) * len(waves) / sum(waves)
    busy = getattr(statement, "busy", None) or math.ceil(statement.needed / 128) or 4
    return math.ceil(busy / 4) * 4 / busy


def scaled(code, statement, weights):
    """Those weights as the slowest wave has them."""
    if isinstance(statement, Scaled):
        return scaled(code, statement.statement, weights)
    if isinstance(statement, Beside):
        return [0 if statement.hidden else w for w in scaled(code, statement.statement, weights)]
    longer = slowest(statement)
    # What stands around a loop runs in all four.
    return [w if isinstance(statement, Loop) and not (i.inner and i.loop is not None) else w * longer for i, w in zip(code, weights)]


def shared_bytes(kernel, rows, products):
    """Of a block of DPA-3.1-3M: the twin of `SharedNumbers` (kernels/src/source.rs)."""
    es, aps, ms, ws = EP + 4, AP + 4, NP + 4, WA + 4
    dots = {"plain": EP // 4 + 4, "f16x3": EP // 4 + 2}.get(products, EP // 8 + 4)
    edge, back, angle, sums, own = rows["R_EDGE"], rows["R_EDGE_BACK"], rows["R_ANGLE_BACK"], rows["R_SUMS"], rows["R_OWN"]
    parts = max(1, min(512 // WA, 8 * EP // WA))
    return 4 * {
        "edge_forward": edge * (es + ms) + 4 * NP + 6 * (EP + NP) + EP,
        "edge_backward": back * (es + NP + es + ms) + 2 * (NP + EP) + NP,
        "angle_forward": rows["R_ANGLE"] * (aps + es + 2) + sums * (es + ws) + 4 * EP,
        "angle_backward": angle * (aps + ws + dots + 1 + 2) + 16 * own + max(2 * own * es, parts * rows["R_SECOND"] * WA) + own * (es + ws + 1) + EP + AP,
    }[kernel]


def resident(registers, shared):
    """Blocks of 128 threads on a multiprocessor."""
    return blocks_of(registers, SHARED_BYTES // (shared + BLOCK_BYTES))


def together(issue, wave, waves):
    """Time of so many waves on a scheduler that issue for `issue` and otherwise wait, of `wave` in all each if alone, for all of their work: a closed
    queue with one server, as if waits were of random length."""
    queue = rate = 0.0
    for n in range(1, waves + 1):
        turn = issue * (1 + queue)
        rate = n / (wave - issue + turn)
        queue = rate * turn
    return 1 / rate

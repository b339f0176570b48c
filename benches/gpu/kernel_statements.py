"""The hot kernels of DPA-3.1-3M as statements of their text, and how often each runs for a chunk of a centre's edges or angles. Used by instructions.py."""

import math
from collections import Counter

from machine_code import line_of
from whole_step import SHARED_FROM, parts_of

# Widths of the shape.
NP, EP, AP, EC = 128, 64, 32, 32
WA, WD = EP + AP, NP + EP


def rows_of_thread(rows, most=4):
    share = max(1, rows // 8)
    while most > 1 and share % most:
        most -= 1
    return most


# What `t` stands for below: 0 where threads multiply, 1 where matrix units do, and where they multiply halves:
HALVES = 2


class Product:
    """A product of `rows` (in shared memory) of length k with k x n weights. Passes of warps: a unit of a matrix product makes 32 x 32 elements
    (16 x 16 where `thread_rows` is 1; 24 columns `of_both` uses in products of halves), of which the lower half is multiplied only where there are rows for it (half a pass each); a plain
    product's pass `thread_rows` x 4 in each thread, of rows 128 / `lanes` apart."""

    def __init__(self, tensor, k, n, rows, thread_rows, lanes=16, tall=2):
        self.k, self.n, self.rows, self.thread_rows, self.tensor, self.lanes, self.tall = k, n, rows, thread_rows, tensor, lanes, tall

    all, share, of_both, pairs = None, 1.0, False, False

    def tiles(self):
        return 3 if self.of_both else (16 if self.thread_rows == 1 or self.pairs else 32) // 8

    def below(self):
        return 1 if self.thread_rows == 1 else self.tall

    def units(self):
        """What a warp does for a unit, whether all of its rows are there or not."""
        return math.ceil(math.ceil(self.rows / 16) / self.below()) * math.ceil(self.n / (8 * self.tiles())) if self.tensor else self.passes()

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

    every = False

    def __init__(self, marker, needed):
        self.marker, self.needed = marker, needed


def in_pairs(product):
    """Two tiles of rows by a wave, sixteen columns of each (`product_of_pairs`)."""
    product.pairs = bool(product.tensor)
    return product


def two_uses(file, call, product, widths, rest=None):
    """A product of columns of two uses (`product_of_two`): what it multiplies, and its two last words. `rest`: rows of a thread and groups of
    columns of the second use in plain products."""
    begin = line_of(file, "LAMBDA", call - 1)
    second = line_of(file, "LAMBDA", line_of(file, "LAMBDA", begin))
    p = product
    p.of_both = p.tensor == HALVES
    of = [Product(p.tensor, p.k, n, p.rows, *how, tall=p.tall) for n, how in zip(widths, ((p.thread_rows, p.lanes), rest or (p.thread_rows, p.lanes)))]
    for k in (0, 1):
        # Compilers tell activations of both last words as those of one: of two texts or one, all columns run through one.
        of[k].all = p if p.tensor else None
    here = line_of("product.h", r"void product_of_two")
    plain = [line_of("product.h", w, here) for w in (r"product_rows<TR, LANES_C>", "product_rows<TR_REST")]
    plain.append(line_of("product.h", "^#endif", plain[1]))
    # Where matrix units are, activations of both uses are called from one place.
    words = [("product.h", line_of("product.h", r"void operator\(\)\(u32 r, u32 c, Sums<N> x"), of[0]), ("product.h", here, None),
             ("product.h", line_of("product.h", r"real v\[12\]", here), of[0]), ("product.h", line_of("product.h", "return;", here), None)] if p.tensor else []
    # What comes before them is there twice, for columns of either use, where a unit has those of one.
    before = of[0] if p.of_both else Scaled(of[0] if p.tensor else p, 0.5)
    return [(file, call, product), (file, begin + 1, before), (file, line_of(file, "LAMBDA", begin) + 1, of[0]), (file, second, of[1]), *words,
            ("product.h", plain[0], of[0]), ("product.h", plain[1], of[1]), ("product.h", plain[2], None)]


def chunks_of(total, most):
    """Lengths of the pieces of `most` that a loop over `total` makes."""
    return [min(most, total - k) for k in range(0, total, most)]


def groups_of(part, m, most, own, together):
    """Receiving edges that go together (`group_at` of angle.h), all of a block's part of a centre with m angle edges."""
    k, out = 0, []
    while k < part:
        g = min(max(1, most // m), part - k, own - k % own, together)
        out.append(g)
        k += g
    return out


def edge_forward(t, rows, r, some, _):
    """A chunk of r edges of a centre, `some` of them angle edges."""
    L, tr = line_of, rows_of_thread(rows["R_EDGE"])
    k = L("edge.h", r"^KERNEL\w*\(edge_forward\)")
    first = L("edge.h", "product(_\\w+)?<", k)
    columns = L("edge.h", r"at < MOMENT_PARTS", k)
    return [
        ("edge.h", L("edge.h", r"stage_edges\(e,", k), Loop("STS", r * EP)),
        *two_uses("edge.h", first, Product(t, EP, WD, r, tr), (NP, EP)),
        ("edge.h", L("edge.h", r"if \(wa && k0 < t.m\)", k), Product(t, EC, WA, some, 2 if t else rows_of_thread(rows["R_EDGE"] // 2), 8)),
        ("edge.h", L("edge.h", r"at < SUM_PARTS", k), Loop("FFMA", r * NP)),
        ("edge.h", columns, Loop("FFMA", 3 * r * 2 * NP)),
        ("edge.h", L("edge.h", r"^  if \(with_nodes\) \{", columns), None),
    ]


def edge_backward(t, rows, r, some, shared):
    """The same, `shared` where two blocks had the centre's angles."""
    L, tr = line_of, rows_of_thread(rows["R_EDGE_BACK"])
    k = L("edge.h", r"^KERNEL\w*\(edge_backward\)")
    first = L("edge.h", "product(_\\w+)?<", k)
    third = L("edge.h", "product(_\\w+)?<", L("edge.h", "joins it in one rounding", first))
    tr_share = rows["R_EDGE_BACK"] // 8
    return [
        ("edge.h", L("edge.h", r"stage_edges\(e,", k), Loop("STS", r * EP)),
        *two_uses("edge.h", first, Product(t, EP, WD, r, tr), (NP, EP)),
        ("edge.h", L("edge.h", r"at < BAR_PARTS", first), Loop("FADD", r * WD)),
        # Sixteen threads a row: two rounds over the columns of nodes and of messages, one over those of edges.
        ("edge.h", L("edge.h", r"const u32 LR = THREADS / ROW_SHARE", first), Warps("FFMA", 4 * 3 * 12 * tr_share, every=True)),
        ("edge.h", L("edge.h", r"c < MP; c \+= ROW_SHARE", first), Warps("FADD", 4 * 2 * 4 * tr_share)),
        ("edge.h", L("edge.h", r"r < rows; r \+= THREADS", first), Warps("FADD", 4 * 16)),
        ("edge.h", third, in_pairs(Product(t, WD, EP, r, tr))),
        ("edge.h", L("edge.h", r"if \(wa && k0 < t.m\)", third), only(some, Loop("", 0))),
        ("edge.h", L("edge.h", r"if \(t.m >= SHARED_FROM\)", third), only(shared, Loop("STG", some * WA))),
        ("edge.h", L("edge.h", r"product_seen<1, 8, true>", third), Product(t, WA, EC, some, 1, 8)),
        ("edge.h", L("edge.h", r"at < rows \* EP", third), Loop("STG", r * EP)),
        ("edge.h", L("edge.h", r"centre_bar\[ci", third), None),
    ]


def angles(t, how, g, m, own, sums=True):
    """What both angle kernels share: `g` receiving edges of m (or none), and `own` receiving edges projected together (or none; `how`: rows of a
    thread, groups of columns); `sums`: whether messages are summed."""
    names = ("project_own", "stage_others", "stage_angles", "stage_ahead", "take_rows", "sum_messages", "join_messages")
    project, others, stage, ahead, take, add, join = (line_of("angle.h", f"DEVICE void {w}") for w in names)
    r = g * m
    return [
        ("angle.h", project, only(own, Loop("STS", own * EC))),
        ("angle.h", line_of("angle.h", "product(_\\w+)?<", project), only(own, Product(t, EC, WA, own, *((2,) if t else how), tall=1))),
        ("angle.h", others, only(g and not t, Loop("LDG", m))),
        ("angle.h", stage, only(g and not t, Loop("STS", r * AP))),
        # Where tensor cores are, copies ahead take the place of that in all layers but the first.
        ("angle.h", ahead, only(g and t, Loop("LDGSTS", r * AP))),
        ("angle.h", take, only(g, Loop("", 0))),
        ("angle.h", add, only(g and sums, Warps("FFMA", 2 * g * math.ceil(m / 4) * 4, busy=2 * g))),
        ("angle.h", join, only(g and sums, Warps("FADD", math.ceil(g * EP / 128) * 4 * 4, busy=math.ceil(g * EP / 128)))),
        ("angle.h", line_of("angle.h", "DEVICE u32 second_before"), only(own, Loop("", 0))),
    ]


def angle_forward(t, rows, g, m, own):
    L, tr = line_of, rows_of_thread(rows["R_ANGLE"])
    k = L("angle.h", r"^KERNEL\w*\(angle_forward\)")
    main = L("angle.h", "product(_\\w+)?<", k)
    last = L("angle.h", "product(_\\w+)?<", main)
    return [
        *angles(t, (rows_of_thread(rows["R_SUMS"] // 2), 8), g, m, own),
        ("angle.h", k, only(own, Loop("STS", own * EP))),
        ("angle.h", L("angle.h", "u32 g = GROUP", k), only(g, Loop("", 0))),
        *two_uses("angle.h", main, Product(t, AP, WA, g * m, tr, tall=4), (EP, AP), (rows_of_thread(rows["R_ANGLE"] // 2), 8)),
        ("angle.h", L("angle.h", r"barrier\(\);", main), only(g, Loop("", 0))),
        ("angle.h", last, only(own, Product(t, EP, EP, own, 1 if t else rows_of_thread(rows["R_SUMS"])))),
        ("angle.h", L("angle.h", "if \\(part != ALL_PARTS \\|\\| !rest", main), None),
    ]


def angle_backward(t, rows, g, m, own):
    file, r, tr = "angle_back.h", g * m, rows_of_thread(rows["R_ANGLE_BACK"])

    def L(pattern, after=0):
        return line_of(file, pattern, after)

    def beside(statement, longest=False):
        return Beside(r, statement, longest) if t else statement

    wide_rows, dots = rows_of_thread(rows["R_ANGLE_BACK"] // 2), EP // 8 if t else EP // 4
    again, some, bars, k = L("^DEVICE void adjoints"), L("DEVICE void sum_some"), L("DEVICE void sum_bars"), L(r"^KERNEL\w*\(angle_backward\)")
    group, own_rows = L("u32 g = uniform", k), 1 if rows["R_OWN"] < 16 else 2
    ends = L("adjoints of those that were projected together", group)
    return [
        *angles(t, (1 if rows["R_OWN"] < 8 else 2, 32), g, m, own, sums=False),
        ("angle.h", line_of("angle.h", "^KERNEL\\w*\\(angle_forward"), None),
        *two_uses(file, L("product_of_two", again), Product(t, AP, WA, r, tr, tall=3), (EP, AP), (wide_rows, 8)),
        # Five parts of the other edges, two receiving edges at a time (or one that is left), 24 threads each.
        (file, some, only(g, Warps("FADD", 4 * math.ceil(m / 5) * math.ceil(g / 2) * 16))),
        (file, bars, only(g, Loop("", 0))),
        (file, L("DEVICE void join_dots", bars), only(g, Warps("FADD", math.ceil(r / 32) * dots, busy=math.ceil(r / 32)))),
        # Where it is called: once in a block before its first group.
        (file, L("DEVICE void ask_for_rows", bars), None),
        (file, L("DEVICE void adjoint_of_sums", bars), only(own, Loop("STS", own * EP))),
        (file, L("Adjoint of a tile's angles", bars), None),
        (file, k, only(own, Loop("", 0))),
        (file, L("product_of_few<R_OWN", k), only(own, Product(t, EP, EP, own, 1 if t else own_rows))),
        (file, group, only(g, Loop("", 0))),
        (file, L("v of the other edges, a", group), only(g, beside(Warps("DFMA", math.ceil(m / 32) * g, busy=math.ceil(m / 32))))),
        # The longest of the three: it alone counts where each has a wave that multiplies too.
        (file, L("at < g \\* 8", group), only(g, beside(Warps("DFMA", math.ceil(g / 4) * math.ceil(m / 8), busy=math.ceil(g / 4)), longest=True))),
        (file, L("at < g \\* wa; at", group), only(g, beside(Loop("LDS", 5 * g * WA)))),
        (file, L("product_apart<TR", group), only(g, Product(t, WA, AP, r, wide_rows, 8, tall=1))),
        (file, ends, only(own, Warps("DADD", 8, busy=1))),
        (file, L("c < wa; c", ends), only(own, Loop("FADD", own * WA))),
        (file, L("own_adjoint, EC", ends) - 1, only(own, Product(t, WA, EC, own, 1 if t else rows_of_thread(rows["R_OWN"] // 2), 8))),
        (file, L("u32 i = in_turn", group), None),
    ]


def statements(products, rows, centres):
    """Kernel -> [(how often in a step, [(file, first line, statement)])], an entry for every kind of chunk that the centres (edges, angle edges)
    make. A statement ends where the next one of its file begins."""
    t = {"plain": 0, "f16x3": HALVES}.get(products, 1)
    out = {}
    for name, table, most in (("edge_forward", edge_forward, rows["R_EDGE"]), ("edge_backward", edge_backward, rows["R_EDGE_BACK"])):
        kinds = Counter((r, max(0, min(r, m - k * most)), m >= SHARED_FROM) for n, m in centres for k, r in enumerate(chunks_of(n, most)))
        out[name] = [(16 * times, table(t, rows, *kind)) for kind, times in kinds.items()]
    for name, table, most, own, together in (("angle_forward", angle_forward, rows["R_ANGLE"], rows["R_SUMS"], 10**6),
                                             ("angle_backward", angle_backward, rows["R_ANGLE_BACK"], rows["R_OWN"], rows["R_SECOND"])):
        assert all(m <= most for _, m in centres), "centres whose angles do not fit together are not described here"
        groups = Counter((g, m) for _, m in centres for part in parts_of(m) for g in groups_of(part, m, most, own, together))
        owns = Counter(r for _, m in centres for part in parts_of(m) for r in chunks_of(part, own))
        out[name] = [(15 * times, table(t, rows, g, m, 0)) for (g, m), times in groups.items()]
        out[name] += [(15 * times, table(t, rows, 0, 1, r)) for r, times in owns.items()]
    return out


def only(what, statement):
    """A statement of those chunks only that have it."""
    return statement if what else Scaled(statement, 0)


class Warps(Loop):
    """A loop of which few warps have a part: how often they run its marker, all together; `every` loop of the statement is one of its own; `busy`:
    warps of a block that have a part."""

    def __init__(self, marker, runs, every=False, busy=4):
        super().__init__(marker, 32 * runs)
        self.every, self.busy = every, busy


class Beside:
    """A statement of a wave that has no tile of the product beside it where `rows` make three; else of a wave that has one too, as two others have
    theirs."""

    def __init__(self, rows, statement, longest=False):
        self.statement, self.hidden = statement, math.ceil(rows / 16) <= 3 or not longest


class Scaled:
    """A statement that runs so many times for each chunk."""

    def __init__(self, statement, times):
        self.statement, self.times = statement, times

"""The kernels' text compiled for sm_90a and taken apart: instructions, the lines they come from, the units that they keep busy."""

import ctypes
import functools
import hashlib
import json
import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = ROOT / "kernels/text"


@functools.cache
def text():
    """The kernels' text as the library puts it together (`Source::whole_text`)."""
    parts = re.findall(r'\("(\w+\.h)", include_str', (ROOT / "kernels/src/source.rs").read_text())
    return "".join(f'#line 1 "{p}"\n{(TEXT / p).read_text()}\n' for p in parts)


def compiled(nvrtc, macros, keep):
    """Machine code and the compiler's log; kept in a folder, if one is given, under the text's digest."""
    place = keep and Path(keep) / hashlib.sha256(f"{nvrtc} {macros} {text()}".encode()).hexdigest()
    if place and place.with_suffix(".cubin").exists():
        return place.with_suffix(".cubin").read_bytes(), place.with_suffix(".log").read_text()
    lib = ctypes.CDLL(nvrtc)
    program = ctypes.c_void_p()
    assert lib.nvrtcCreateProgram(ctypes.byref(program), text().encode(), b"kernels.cu", 0, None, None) == 0
    flags = ["--gpu-architecture=sm_90a", "--define-macro=WEIR_CUDA=1", "--std=c++17", "--fmad=false", "--device-as-default-execution-space", "--ptxas-options=-v", "--generate-line-info"]
    flags += [f"-D{k}={v}" for k, v in macros.items()]
    code = lib.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*[f.encode() for f in flags]))
    size = ctypes.c_size_t()
    lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetProgramLog(program, log)
    assert code == 0, log.value.decode()
    lib.nvrtcGetCUBINSize(program, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetCUBIN(program, image)
    if place:
        place.with_suffix(".cubin").write_bytes(image.raw[: size.value])
        place.with_suffix(".log").write_text(log.value.decode())
    return image.raw[: size.value], log.value.decode()


def registers_of(log, kernel):
    """Registers of a kernel and bytes spilled, as ptxas tells."""
    used = re.search(rf"entry function '{kernel}'.*?(\d+) bytes spill stores.*?Used (\d+) registers", log, re.S)
    return int(used[2]), int(used[1])


def version(nvrtc):
    major, minor = ctypes.c_int(), ctypes.c_int()
    ctypes.CDLL(nvrtc).nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"nvrtc {major.value}.{minor.value}"


class Instruction:
    __slots__ = ("at", "op", "text", "chain", "target", "loop", "inner", "shared", "word")


def disassembled(nvdisasm, image):
    """Kernel -> instructions, with the chain of (file, line) they come from, innermost first, the innermost loop they are in, and their upper 64 bits."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(image)
        file.flush()
        out = subprocess.run([nvdisasm, "-c", "-gi", "-hex", file.name], check=True, capture_output=True, text=True).stdout
    kernels, code, labels, chain, fresh = {}, None, {}, [], False
    for line in out.splitlines():
        if m := re.match(r"\s*\.section\s+\.text\.(\w+)", line):
            code, labels, chain = [], {}, []
            kernels[m[1]] = (code, labels)
        elif re.match(r"\s*\.section\s", line):
            code = None
        elif code is None:
            continue
        elif m := re.match(r"(\.L_\w+):", line.strip()):
            labels[m[1]] = len(code)
        elif m := re.match(r'\s*//## File "([^"]*)", line (\d+)', line):
            if not fresh:
                chain = []
            chain.append((Path(m[1]).name, int(m[2])))
            fresh = True
        elif m := re.match(r"\s*/\*([0-9a-f]+)\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)(.*);", line):
            i = Instruction()
            i.shared, i.word = False, None
            i.at, i.op, i.text, i.chain, i.target, i.loop, i.inner = len(code), m[2], m[3], tuple(chain), None, None, False
            if i.op.startswith(("BRA", "BRX")) and (t := re.search(r"\((\.L_\w+)\)", m[3])):
                i.target = t[1]
            code.append(i)
            fresh = False
        elif code and code[-1].word is None and (m := re.match(r"\s*/\* (0x[0-9a-f]+) \*/", line)):
            # The upper half of the instruction before it.
            code[-1].word = int(m[1], 16)
    for code, labels in kernels.values():
        loops = []
        for i in code:
            to = labels.get(i.target)
            if to is not None and to <= i.at and i.at - to > 1:
                loops.append((to, i.at))
        # Loops with one head are one.
        heads = {}
        for a, b in loops:
            heads[a] = max(b, heads.get(a, b))
        loops = sorted(heads.items(), key=lambda l: l[0] - l[1])
        for a, b in loops:
            for i in code[a : b + 1]:
                i.loop = a
        inmost = {a for a, b in heads.items() if not any(a < x <= b for x in heads)}
        for i in code:
            i.inner = i.loop in inmost
    return {k: v[0] for k, v in kernels.items()}


def pipe(op):
    base = op.split(".")[0]
    if base in ("FFMA", "FADD", "FMUL", "FFMA2", "IMAD"):
        return "fp32" if base != "IMAD" else "integer"
    if base.startswith(("HMMA",)):
        return "tensor"
    if base in ("MUFU", "I2F", "F2I", "F2F", "I2FP", "POPC", "FLO", "BREV", "FRND"):
        return "special" if base != "I2FP" else "integer"
    if base in ("DFMA", "DADD", "DMUL", "DSETP"):
        return "fp64"
    if base.startswith(("LDS", "STS", "LDG", "STG", "LD", "ST", "ATOM", "RED")) and not base.startswith("LDC"):
        return "memory"
    if base.startswith(("BRA", "BSSY", "BSYNC", "BAR", "EXIT", "NOP", "WARP", "CALL", "RET", "MEMBAR", "LDC", "ULDC", "BREAK", "YIELD", "DEPBAR", "S2", "CS2")) or base.startswith("U"):
        return "issue"
    return "integer"


@functools.cache
def line_of(file, pattern, after=0):
    for n, line in enumerate((TEXT / file).read_text().splitlines(), 1):
        if n > after and re.search(pattern, line):
            return n
    raise SystemExit(f"{file} has no line like {pattern} behind {after}: bring kernel_statements.py up to date")


def wide(op):
    return 4 if ".128" in op else 2 if ".64" in op else 1


@functools.cache
def lanes(products):
    """(kernel, kind and bytes) -> [(chain of lines, requests, cycles)], counted by the emulated device (benches/lanes.rs); kernel -> cycles of a block; and
    what goes by the second cache (`Passed`)."""
    products = {"tf32": "tf32x3"}.get(products, products)
    files = sorted((ROOT / "benches/results").glob(f"*-lanes-{products}.json"))
    if not files:
        raise SystemExit(f"benches/results has no *-lanes-{products}.json: `WEIR_LANES_PRODUCTS={products} cargo bench --features emulated --bench lanes` writes one")
    file = json.loads(files[-1].read_text())
    if file["text"] != hashlib.sha256(text().encode()).hexdigest():
        raise SystemExit(f"{files[-1].name} belongs to another text of the kernels: count lanes anew (benches/lanes.rs)")
    out = defaultdict(list)
    for p in file["places"]:
        out[p["kernel"], p["kind"], p["bytes"]].append((tuple(called(p["chain"])), p["requests"], p["cycles"]))
    return out, file["block_cycles"], Passed(dict(zip(("atom", "edge", "angle edge", "angle"), file["counts"])), file["second_cache"])


class Passed:
    """What the second cache gives to first caches and takes from them, counted on a structure with so many atoms, edges, angle edges and angles."""

    def __init__(self, counted, kernels):
        self.counted, self.kernels = counted, kernels

    def bytes(self, kernel, per, count, blocks=None):
        """Of a step with so many of a kernel's `per`, with so many blocks on a multiprocessor (none: as many as there was room for)."""
        # Kernels that never read or write device memory in blocks that were looked at are none to count.
        *fetched, written = self.kernels.get(kernel, [0.0])
        there = [f for f in fetched[:blocks] if f] or [0.0]
        return (there[-1] + written) * count / self.counted[per]


def called(chain):
    """Lines without those of the functions that make an access of several numbers (access.h)."""
    first = next((k for k, line in enumerate(chain) if not line.startswith("access.h:") or int(line[9:]) >= plus()), len(chain))
    return chain[first:]


@functools.cache
def plus():
    return line_of("access.h", "Sums of a row in columns")


@functools.cache
def cycles(products, kernel, op, chain):
    """Of L1 or shared memory for an access by a warp, as counted at the places whose lines agree with most of the instruction's (compilers of the
    host and of the device inline differently); none where nothing is known."""
    kind, mine = op[:3], called([f"{f}:{n}" for f, n in chain])
    best, requests, total = 0, 0, 0
    for lines, n, c in lanes(products)[0][kernel, kind, 4 * wide(op)]:
        same = next((k for k, (a, b) in enumerate(zip(lines, mine)) if a != b), min(len(lines), len(mine)))
        if same > best:
            best, requests, total = same, 0, 0
        if same == best and same:
            requests, total = requests + n, total + c
    return total / requests if requests else None


def wavefronts(products, kernel, i):
    """Of 128 bytes: as the emulated device counts them; for a copy to shared memory, and where it knows nothing, four for 16 bytes to each lane. And
    whether it was counted."""
    if i.op.startswith("LDGSTS"):
        return wide(i.op), True
    found = cycles(products, kernel, i.op, i.chain)
    return (wide(i.op), False) if found is None else (found, True)


CLASSES = {"FFMA": ("FFMA",), "FADD FMUL": ("FADD", "FMUL"), "HMMA": ("HMMA",), "LDS": ("LDS",), "STS": ("STS",), "LDG": ("LDG", "LD"), "STG": ("STG",), "MUFU": ("MUFU",),
           "convert": ("F2F", "I2F", "F2I", "F2FP", "I2FP"), "DFMA": ("DFMA", "DADD", "DMUL")}


def kind(op):
    base = op.split(".")[0]
    return next((k for k, names in CLASSES.items() if base in names), "other")

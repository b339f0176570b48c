"""The program under check: commands, and what goes into and comes out of them. Standard library only."""

import json
import math
import os
import re
import signal
import struct
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("WEIR_SHARED", ROOT.parent / "shared"))


class Failed(Exception):
    """A command that did not do what it should."""


class Late(Exception):
    """The time of all commands together is over."""


# Seconds that steps are timed over where a step is short, and steps at most.
TIMED_S, MOST_STEPS = 2.0, 1000
# What a row of a report may end with while the next goes on.
TROUBLE = (Failed, subprocess.TimeoutExpired)


class Weir:
    """`patience`: seconds that one command may take; `end`: when all must be over, by the monotonic clock. A kernel that hangs must not eat a lease.
    `timed_s`: seconds that short steps are timed over."""

    def __init__(self, program, backend, patience=3600.0, end=float("inf"), timed_s=TIMED_S):
        self.program, self.patience, self.end, self.timed_s = program, patience, end, timed_s
        # Commands with steps that were computed twice, the second time in tf32x3, and how many those were.
        self.widened = []
        self.environment = {k: v for k, v in os.environ.items() if k != "WEIR_SHARED"}
        # Clients run elsewhere.
        for name in ("WEIR_KERNEL_DIR", "WEIR_CACHE_DIR"):
            if self.environment.get(name):
                self.environment[name] = os.path.abspath(self.environment[name])
        if backend:
            self.environment["WEIR_BACKEND"] = backend

    def finished(self, command, patience=None, **named):
        """A command that has ended: its code and what it said. One that takes too long goes with all that it has started."""
        left, patience = self.end - time.monotonic(), patience or self.patience
        if left <= 0:
            raise Late()
        pipe = subprocess.PIPE
        child = subprocess.Popen(list(map(str, command)), stdout=pipe, stderr=pipe, text=True, start_new_session=True, **named)
        try:
            out, err = child.communicate(timeout=min(patience, left))
        except BaseException as error:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            if isinstance(error, subprocess.TimeoutExpired) and left <= patience:
                raise Late() from None
            raise
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    def run(self, *arguments, prefix=(), environment=()):
        return self.finished([*prefix, self.program, *arguments], env=self.environment | dict(environment))

    def good(self, *arguments):
        done = self.run(*arguments)
        if done.returncode != 0:
            raise Failed((done.stderr.strip().splitlines() or ["no word"])[-1])
        return done

    def eval(self, model, structure, *more):
        """One object a frame."""
        done = self.good("eval", model, structure, "--json", "-", "-q", *more)
        results = [json.loads(line) for line in done.stdout.splitlines()]
        self.note(sum(r["widened_steps"] for r in results), "eval", model, structure, *more)
        return results

    def note(self, widened, *command):
        """Times of such steps are those of two, and their results are tf32x3's: a check that meant f16x3 has seen neither."""
        if widened:
            self.widened.append(f"{widened} step(s) of {' '.join(map(str, command))} left the range of f16x3 and were computed twice")

    def step(self, folder, model, structure, steps, *more, skin=None):
        """Seconds of a step of dynamics: what many steps take beyond fewer, lists and all. `skin`: A, of the lists. `steps` say how long a step is; they are
        as many more as make `timed_s`, beside which the begin and the end of a run, which differ from one to the next, are little."""
        short, long = (self.run_of(folder, model, structure, 2 + n, *more, skin=skin) for n in (0, steps))
        step = (long - short) / steps
        if step * steps < self.timed_s:
            many = min(MOST_STEPS, math.ceil(self.timed_s / step)) if step > 0 else MOST_STEPS
            step = (self.run_of(folder, model, structure, 2 + steps + many, *more, skin=skin) - long) / many
        return step

    def run_of(self, folder, model, structure, count, *more, skin=None):
        """Wall seconds of so many steps, with what comes before the first."""
        compute = "" if skin is None else f"[compute]\nskin_A = {skin}\n"
        config = folder / "run.toml"
        config.write_text(
            f"[model]\npath = {json.dumps(str(model))}\n[structure]\npath = {json.dumps(str(structure))}\n"
            f"[md]\nensemble = \"nve\"\ntimestep_fs = 0.01\nsteps = {count}\ntemperature_K = 1\nmax_temperature_K = 1e9\n"
            f"max_displacement_A = 5.0\n{compute}[output]\nprefix = \"run\"\nenergy_every = 1000000\ntrajectory_every = 0\nplot = false\n"
        )
        done = self.good("md", config, "--overwrite", "--log-format", "json", *more)
        events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        found = [e for e in events if e["event"] == "summary"]
        if not found:
            raise Failed("weir md told no summary")
        self.note(found[-1]["widened_steps"], "md", model, structure, *more)
        return found[-1]["wall_seconds"]


class Precise(Weir):
    """Every evaluation with the same arithmetic."""

    def __init__(self, weir, more):
        self.program, self.environment, self.patience, self.end, self.more = weir.program, weir.environment, weir.patience, weir.end, more
        self.timed_s, self.widened = weir.timed_s, weir.widened

    def run(self, *arguments, **named):
        return super().run(*arguments, *(self.more if arguments[0] in ("eval", "md") else ()), **named)

    def client(self):
        """Variables of a client that computes so."""
        names = (f"WEIR_{option[2:].upper().replace('-', '_')}" for option in self.more[::2])
        return self.environment | dict(zip(names, self.more[1::2])) | {"OMP_NUM_THREADS": "1"}


def tensors(path):
    """A safetensors file as flat lists; other types than numbers are left out."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    codes = {"F64": "d", "F32": "f", "I32": "i", "I64": "q"}
    out = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__" or entry["dtype"] not in codes:
            continue
        begin, end = (8 + length + k for k in entry["data_offsets"])
        code = codes[entry["dtype"]]
        out[name] = list(struct.unpack(f"<{(end - begin) // struct.calcsize(code)}{code}", data[begin:end]))
    return out


def extxyz(symbols, positions, cell):
    """One frame, every digit kept."""
    lattice = "" if cell is None else 'Lattice="' + " ".join(repr(x) for x in cell) + '" '
    periodic = "F F F" if cell is None else "T T T"
    lines = [str(len(symbols)), f'{lattice}Properties=species:S:1:pos:R:3 pbc="{periodic}"']
    lines += [" ".join([s, *(repr(x) for x in positions[3 * i : 3 * i + 3])]) for i, s in enumerate(symbols)]
    return "\n".join(lines) + "\n"


def flat(value):
    return [x for v in value for x in flat(v)] if isinstance(value, list) else [value]


def largest(a, b):
    if len(a) != len(b):
        return float("inf")
    # Something that is no number is a difference too.
    return max((abs(x - y) if abs(x - y) >= 0 else float("inf") for x, y in zip(a, b)), default=0.0)


def bits(result):
    return json.dumps([result[k] for k in ("energy", "forces", "virial", "atomic_energy")])


def replicated(path, times):
    """A periodic box (extxyz), so many times along each of its edges."""
    lines = path.read_text().splitlines()
    count = int(lines[0])
    cell = [float(x) for x in re.search(r'Lattice="([^"]*)"', lines[1])[1].split()]
    species, positions = [], []
    atoms = [l.split()[:4] for l in lines[2 : 2 + count]]
    for a in range(times[0]):
        for b in range(times[1]):
            for c in range(times[2]):
                shift = [a * cell[k] + b * cell[3 + k] + c * cell[6 + k] for k in range(3)]
                for name, *x in atoms:
                    species.append(name)
                    positions += [float(v) + s for v, s in zip(x, shift)]
    return extxyz(species, positions, [times[k // 3] * x for k, x in enumerate(cell)])

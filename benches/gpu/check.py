"""Checks and times Weir on a GPU; check.sh tells how. Standard library only."""

import argparse
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import targets
from beside import lammps, packed, peer
from device import Held, clocks, ladder
from parity import folders, parity
from program import ROOT, SHARED, TIMED_S, Failed, Late, Precise, Weir, bits, extxyz, replicated
from report import PARTS, VERSION, merged
from speed import arithmetics, budgets, drift, measured, placed, profiled, stored
from tools import CHECKS, counters, sanitized

# How often 192 atoms of water stand along each direction: what the targets ask of first, to the largest that is not refused.
REBUILT = [(7, 8, 8), (9, 9, 10)]
BOXES = [(4, 4, 4), (5, 5, 5), (6, 6, 6), *REBUILT, (1, 1, 1), (2, 2, 2), (3, 3, 3), (11, 11, 11), (13, 13, 13)]
# The same for cards with more memory.
LARGE = [*REBUILT, (11, 11, 11), (13, 13, 13), (15, 15, 15)]
# What a card of 80 GB has for a step (hardware-notes/machines/h100-80-pcie-host.toml): a larger one is measured as such a card too.
CARD = 78_000_000_000
# Stored forms that round.
FORMS = ["f16", "bf16"]
SHIPPED = ROOT / "examples/water/model.dp"


def units_of(device):
    """Whether a chip has the units that f32 models are computed with unless somebody says otherwise."""
    found = re.match(r"sm_(\d+)", (device or {}).get("chip", ""))
    return bool(found) and int(found[1]) >= 80


def budget_of(limit):
    """The option for so many bytes; none: all that there is."""
    return ["--hbm-budget", f"{limit}B"] if limit else []


def kernels(weir, chips, out, smoke):
    """Every kernel that the checks need."""
    for folder in folders(smoke):
        # Models whose updates follow one another are refused in f32.
        for precisions in ("model,f64,f32", "model,f64"):
            done = weir.run("kernels", "build", "--arch", chips, "--model", folder / "model.dp", "--precision", precisions, "--out", out)
            if done.returncode == 0 or "sequential_update" not in done.stderr:
                break
        print(f"{folder.name}: {'built' if done.returncode == 0 else done.stderr.strip()[-200:]}")
    preset = ["--preset", "tiny" if smoke else "dpa-3.1-3m"]
    weir.good("kernels", "build", "--arch", chips, *preset, "--precision", "f32,f64,tf32x3,f16x3,tf32", *([] if smoke else ["--blocks", "2,3,4"]), "--out", out)
    for form in ["exact"] if smoke else ["exact", *FORMS]:
        weir.good("kernels", "build", "--arch", chips, "--model", SHIPPED, "--precision", "model", "--store", form, "--out", out)
    for form in [] if smoke else FORMS:
        weir.good("kernels", "build", "--arch", chips, *preset, "--precision", "model", "--store", form, "--out", out)
    print(weir.good("kernels", "list", out).stdout, end="")


class Check:
    """A report in the making: a method a part, which fills what the report says of it. What was found is written row by row, for a lease may end
    at any moment."""

    def __init__(self, weir, args):
        self.weir, self.args, self.smoke, self.began = weir, args, args.smoke, time.monotonic()
        self.report = {"version": VERSION, "smoke": args.smoke, "parts": [], "failures": [], "left_out": []}
        self.failures = self.report["failures"]
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self.scratch.name)
        few = ROOT / "tests/data/parity"
        self.tiny, self.single, self.big, self.water = few / "tiny/model.dp", few / "tiny32/model.dp", self.folder / "big.dp", self.folder / "water.extxyz"
        self.steps = 1 if args.smoke else 20
        # What a user gets who sets nothing. Matrix units take minutes on the emulated device.
        self.speed = ["--precision", "f32"] if args.smoke else []
        self.structures = {"water": self.water} if args.smoke else {name: ROOT / f"examples/proteins/{name}.extxyz" for name in targets.MILLISECONDS}
        self.unlimited = {}
        self.rates_kept = False
        # The part that is being made, and whether nothing of it is missing.
        self.name, self.complete = "begin", True

    def write(self):
        self.report["seconds"] = time.monotonic() - self.began
        out = Path(self.args.out)
        whole = out.with_name(out.name + ".new")
        whole.write_text(json.dumps(self.report, indent=1) + "\n")
        whole.replace(out)

    def left_out(self, what):
        """Says so, and that the part which is being made is not whole."""
        self.report["left_out"].append(f"{self.name}: {what}")
        self.complete = False

    def part(self, name, work):
        """One piece of the report; what fails there is told and the rest goes on."""
        print(f"{time.monotonic() - self.began:7.1f} s  {name}", flush=True)
        before = len(self.failures)
        try:
            return work()
        except Late:
            self.left_out(f"{name}: no time (--minutes {self.args.minutes:g})")
            return None
        except Exception as error:  # whatever it is, the other pieces are worth having
            self.failures.append(f"{name}: {type(error).__name__}: {error}")
            self.complete = False
            return None
        finally:
            # Such a step is none of what was to be checked or timed. The error of the piece, if any, stays the last one.
            self.failures[before:before] = [f"{name}: {line}" for line in self.weir.widened]
            self.weir.widened.clear()
            self.write()

    def fitting(self, name, work):
        """A piece that may be too large for the device: then why, and that is no failure."""
        complete, before = self.complete, len(self.failures)
        got = self.part(name, work)
        if len(self.failures) > before and "lacks" in self.failures[-1]:
            self.complete = complete
            return self.failures.pop()
        return got

    def rows(self, name, into, found):
        """Rows of a piece, each written when it is there."""

        def work():
            for row in found():
                into.append(row)
                self.write()

        self.part(name, work)
        return into

    def begin(self):
        """What every part needs: a device that computes, the models."""
        report, weir = self.report, self.weir
        report["weir"] = weir.good("--version").stdout.strip()
        report["hardware"] = self.part("hardware", lambda: json.loads(weir.good("hardware", "--json").stdout))
        molecules = [(0.0, 0.0, 0.0), (3.3, 0.2, 3.1), (0.3, 3.1, 3.2), (3.2, 3.0, 0.1)]
        one = [("O", (0.0, 0.0, 0.12)), ("H", (0.0, 0.76, -0.47)), ("H", (0.01, -0.77, -0.46))]
        symbols = [s for _ in molecules for s, _ in one]
        positions = [a + b for shift in molecules for _, x in one for a, b in zip(x, shift)]
        self.water.write_text(extxyz(symbols, positions, [6.6, 0, 0, 0.4, 6.2, 0, 0.3, 0, 6.4]))
        first = self.part("the device", lambda: weir.eval(self.tiny, self.water))
        # Nothing of this is a check of the CPU.
        if first is None or first[0]["backend"] == "cpu":
            if first is None:
                ways = [(self.tiny, ["f64"]), (self.single, ["f32", "tf32x3", "f16x3"])]
                report["ladder"] = self.part("what it says step by step", lambda: ladder(weir, self.water, ways))
            self.failures.append("no GPU computes here: set WEIR_BACKEND to see why")
            self.write()
            sys.exit(f"check.sh: {self.failures[-1]}; {self.failures[0]}")
        report["backend"], report["clocks"] = first[0]["backend"], [clocks()]
        header = weir.run("eval", self.tiny, self.water, "--log-format", "json").stderr.splitlines()
        events = [json.loads(l) for l in header if l.startswith("{")]
        report["device"] = next(({k: e[k] for k in ("device", "chip", "driver", "settings")} for e in events if e["event"] == "header"), None)
        self.part("random model", lambda: weir.good("model", "new", "--preset", "dpa-3.1-3m", "--seed", "1", "--out", self.big))

    def make(self, name):
        """A part. Only one that is whole counts as there."""
        self.name, self.complete = name, True
        self.report[name] = None
        try:
            getattr(self, name)()
        except Exception as error:
            self.failures.append(f"{name}: {type(error).__name__}: {error}")
            self.complete = False
        if self.complete:
            self.report["parts"].append(name)
        self.write()

    def verified(self):
        """Kernels beside the CPU, as the program itself looks at them before it trusts a device."""
        out = self.report["verified"] = []
        few = ROOT / "tests/data/parity"
        models = [(few / "tiny/model.dp", "f64"), (few / "tiny32/model.dp", "f32"), (few / "tiny32/model.dp", "model")]
        # Minutes on the emulated device.
        models += [] if self.smoke else [(self.big, p) for p in ("model", "f32", "f64")]

        def rows():
            for model, precision in models:
                done = self.weir.run("eval", model, self.water, "--precision", precision, "--json", "-", environment={"WEIR_VERIFY": "always"})
                right = done.returncode == 0 and not any(words in done.stderr for words in ("are used instead", "was not compared"))
                name = model.stem if model == self.big else model.parent.name
                widened = sum(json.loads(line)["widened_steps"] for line in done.stdout.splitlines()) if done.returncode == 0 else 0
                self.weir.note(widened, "eval", model, self.water, "--precision", precision)
                yield {"model": name, "precision": precision, "right": right, "widened_steps": widened, "last": done.stderr.strip()[-300:]}

        self.failures.extend(f"WEIR_VERIFY {row}" for row in self.rows("kernels beside the CPU", out, rows) if not row["right"])

    def parity(self):
        out = self.report["parity"] = []
        if not self.smoke and not SHARED.is_dir():
            # What the repository ships is compared all the same.
            self.report["left_out"].append(f"parity: models that are no part of the repository ({SHARED} is not there)")
        for model in folders(self.smoke):
            complete = self.complete
            row = self.part(f"parity {model.name}", lambda: parity(self.weir, model, 20 if self.smoke else 100_000))
            if row is None and self.failures and "sequential_update" in self.failures[-1]:
                # Refused with a clear error: it has no kernels.
                self.report["left_out"].append(f"parity: {self.failures.pop()}")
                self.complete = complete
            elif row is not None:
                out.append(row)
                if row["beyond_bound"]:
                    self.failures.append(f"parity {model.name}: {row['beyond_bound'][0]}")

    def repeat(self):
        def work():
            a, b = (self.weir.eval(self.tiny, self.water)[0] for _ in range(2))
            return {"same_bits": bits(a) == bits(b)}

        found = self.report["repeat"] = self.part("repeated bits", work)
        if found is None:
            return
        if not found["same_bits"]:
            self.failures.append("two runs differ")
        # A comparison with the CPU keeps everything on the device: copies beside kernels, recorded and not, are looked at here.
        into = found.setdefault("placed", [])
        rows = self.rows("repeated bits, placed", into, lambda: placed(self.weir, self.folder, self.big, self.water, self.smoke, *self.speed))
        self.failures.extend(f"repeated bits: {row}" for row in rows if not row["same_bits"])

    def sanitizer(self):
        # Matrix units' kernels have copies ahead, and read rows that are not there, on a device alone.
        models = [(self.tiny, "f64")] if self.smoke else [(self.tiny, "f64"), (self.single, "model"), (self.single, "tf32x3"), (self.single, "f32")]
        found = self.report["sanitizer"] = self.part("compute-sanitizer", lambda: sanitized(self.weir, self.water, models))
        if not (found or {}).get("installed"):
            return
        for name in found.keys() - {"installed"}:
            of = found[name]
            self.failures.extend(f"compute-sanitizer {tool}, {name}: {of[tool]}" for tool in CHECKS if of.get(tool, {}).get("passed") is False)
            if any(of.get(tool, {}).get("passed") is None for tool in CHECKS):
                self.left_out(f"compute-sanitizer, {name}: {of}")

    def counters(self):
        name = list(self.structures)[-1]
        found = self.report["counters"] = self.part(f"counters {name}", lambda: counters(self.weir, self.big, self.structures[name]))
        if found and found["installed"] and not found["csv"]:
            self.left_out(f"counters: {found['last']}")

    def free(self, name):
        """A step of a structure with all memory that there is, measured once a report: what is told of it, and its results."""
        if name not in self.unlimited:
            got = self.part(f"speed {name}", lambda: measured(self.weir, self.folder, self.big, self.structures[name], self.steps, *self.speed))
            device = self.report["device"]
            if got and not self.smoke and units_of(device) and got[0]["precision"] != "f16x3":
                self.failures.append(f"speed {name}: computed in {got[0]['precision']}, not by the matrix units of {device['chip']}")
            self.unlimited[name] = got
        return self.unlimited[name]

    def proteins(self):
        out = self.report["proteins"] = {}
        for name in self.structures:
            if got := self.free(name):
                out[name] = got[0]
        self.lists(out)

    def lists(self, out):
        """What a new list takes (a step of no use, and the search), of the smallest system and the largest: no target, so nothing is missing where there
        is no time for it. Without a skin the list is too old at every step, with one of 0.01 A at none; both have 0.63 of the pairs of one with 1 A."""
        complete = self.complete
        for name in dict.fromkeys([*out][:1] + [*out][-1:]):
            step = lambda skin: self.weir.step(self.folder, self.big, self.structures[name], self.steps, *self.speed, skin=skin)
            if seconds := self.part(f"lists {name}", lambda: step(0.0) - step(0.01)):
                out[name]["ms_of_new_list"] = 1e3 * seconds
        self.complete = complete

    def profile(self):
        name = list(self.structures)[-1]
        more = ["--kernels", "--placements", "hbm,pinned", *self.speed, *(["--calls", "1", "--budgets", "100%,min"] if self.smoke else [])]
        self.report["profile"] = self.part(f"profile {name}", lambda: profiled(self.weir, self.folder, self.big, self.structures[name], *more))

    def rates(self):
        """Forecasts are by rates that a profile has measured on this device: of a system whose tiles are as large as those of the steps that are forecast
        (a profile cuts a step into sixteen at least)."""
        if not self.rates_kept:
            self.rates_kept = True
            more = ["--ways", "planner", "--budgets", "100%", "--calls", "3", "--placements", "hbm,pinned", *self.speed]
            for times in [(1, 1, 1)] if self.smoke else [(5, 5, 5), (3, 3, 3)]:
                got = self.fitting(f"rates, by water {times}", lambda: profiled(self.weir, self.folder, self.big, self.box(times), *more))
                if not isinstance(got, str):
                    self.report["rates"] = got
                    break
        # Forecasts by other rates are no forecasts.
        self.complete = self.complete and bool(self.report.get("rates"))

    def arithmetics(self):
        # Matrix units take minutes on the emulated device.
        small = ROOT / "tests/data/parity/tiny32/model.dp" if self.smoke else self.big
        out = self.report["arithmetics"] = {}
        for name, path in self.structures.items():
            thorough = name in (list(self.structures)[0], list(self.structures)[-1])
            rows = self.rows(f"arithmetics {name}", out.setdefault(name, []), lambda: arithmetics(self.weir, self.folder, small, path, self.steps, thorough))
            if units_of(self.report["device"]):
                self.failures.extend(f"arithmetics {name}: {row}" for row in rows if "error" in row)

    def budgets(self):
        self.rates()
        out = self.report["budgets"] = {}
        # The largest first: what a lease ends amid is what matters less.
        for name, path in reversed(self.structures.items()):
            got = self.free(name)
            if got is None:
                self.complete = False
                continue
            free, weir = got[1], Precise(self.weir, self.speed)
            found = lambda: budgets(weir, self.folder, self.big, path, free, got[0]["ms_per_step"], self.steps)
            rows = self.rows(f"budgets {name}", out.setdefault(name, []), found)
            self.failures.extend(f"budgets {name}: {row}" for row in rows if targets.wrong(row))

    def box(self, times):
        """A file with the shipped water (whose operations are counted, benches/results/*traffic.json) so often along each direction."""
        path = self.folder / "box.extxyz"
        path.write_text(replicated(self.water if self.smoke else ROOT / "examples/water/start.extxyz", times))
        return path

    def alone(self):
        """Settings of a step whose states may be rebuilt but not leave the device, and the bytes that make it a card of 80 GB; none: it is one."""
        found = self.part("memory of the device", lambda: measured(self.weir, self.folder, self.tiny, self.water, 1)[0]["device_memory"])
        whole = (found or {}).get("all_bytes") or 0
        return [*self.speed, "--placement", "hbm", "--host-budget", "0"], 40 << 20 if self.smoke else CARD if whole > 1.3 * CARD else None

    def boxes(self):
        """Water until the planner says that a box does not fit: with the memory of 80 GB first, then with all that there is."""
        self.rates()
        out, (more, card) = [], self.alone()
        self.report["boxes"] = out
        passes = [(card, [(n, n, n) for n in (1, 2, 3)] if self.smoke else BOXES)]
        if card and not self.smoke:
            passes.append((None, LARGE))
        for limit, sizes in passes:
            # The smallest that was none: larger ones are not tried.
            beyond = math.inf
            for times in sizes:
                if math.prod(times) >= beyond or time.monotonic() > self.weir.end:
                    continue
                row = {"times": times, "limit_bytes": limit}
                steps, most = 4 if max(times) > 4 else self.steps, budget_of(limit)
                got = self.fitting(f"water {times} {' '.join(most)}", lambda: measured(self.weir, self.folder, self.big, self.box(times), steps, *more, *most))
                if isinstance(got, str):
                    out.append(row | {"refused": got})
                elif got:
                    out.append(row | got[0])
                if not got or isinstance(got, str):
                    beyond = math.prod(times)
                self.write()
        if time.monotonic() > self.weir.end:
            self.left_out("boxes that nothing is said of: no time")

    def stored(self):
        """Boxes that are rebuilt in part, with states in 16 bits."""
        self.rates()
        out, (more, card) = [], self.alone()
        self.report["stored"] = out
        more += budget_of(card)
        for times in [(1, 1, 1)] if self.smoke else REBUILT:
            exact = self.fitting(f"water {times}, exact", lambda: self.weir.eval(self.big, self.box(times), *more)[0])
            if isinstance(exact, str):
                out.append({"times": times, "limit_bytes": card, "refused": exact})
            elif exact:
                found = lambda: (row | {"times": times, "limit_bytes": card} for row in stored(self.weir, self.folder, self.big, self.box(times), exact, FORMS, 2, *more))
                self.rows(f"water {times}, stored in 16 bits", out, found)
        self.failures.extend(f"stored: {row}" for row in out if "error" in row)

    def drift(self):
        if self.smoke:
            # Sixty-six thousand steps of 192 atoms: hours on the emulated device.
            return self.left_out("too long where no GPU is")
        self.report["drift"] = []
        self.rows("drift of the shipped model", self.report["drift"], lambda: drift(self.weir, self.folder, ["exact", *FORMS], 20_000))

    def lammps(self):
        if not self.args.lammps:
            return self.left_out("no --lammps FOLDER was given")
        out = self.report["lammps"] = {}
        model = SHIPPED if self.smoke else self.big
        structures = {"water": ROOT / "examples/water/start.extxyz"} if self.smoke else self.structures | {"water": None}
        weir, clients = Precise(self.weir, self.speed), Path(self.args.lammps).resolve()
        for name, path in structures.items():
            found = self.part(f"LAMMPS {name}", lambda: lammps(clients, weir, self.report["backend"], self.folder, model, path or self.box((4, 4, 4)), 5 * self.steps))
            if found:
                out[name] = found

    def peer(self):
        if not self.args.peer:
            return self.left_out("no --peer PYTHON with deepmd and torch was given")
        beside = {name: path for name, path in self.structures.items() if name in ("1YRF", "1UBQ", "water")}
        ours = {name: got[0] for name in beside if (got := self.free(name))}
        self.complete = self.complete and len(ours) == len(beside)
        self.report["peer"] = []
        self.rows("DeePMD-kit beside us", self.report["peer"], lambda: peer(self.args.peer, self.weir, self.folder, self.big, beside, ours))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weir", default=str(ROOT / "target/release/weir"))
    parser.add_argument("--out", default="weir-gpu-check.json")
    parser.add_argument("--backend", default=os.environ.get("WEIR_BACKEND"))
    parser.add_argument("--kernels", metavar="CHIPS")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--patience", metavar="SECONDS", type=float, default=300.0)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--lammps", metavar="FOLDER")
    parser.add_argument("--pack", metavar="FOLDER")
    parser.add_argument("--parts", metavar="NAMES", default=",".join(PARTS))
    parser.add_argument("--merge", metavar="FILE", nargs="+")
    args = parser.parse_args()
    if args.merge:
        try:
            return merged(args.merge, args.out)
        except (Failed, OSError, KeyError, ValueError, TypeError) as error:
            sys.exit(f"check.sh: --merge: {type(error).__name__}: {error}")
    if args.pack:
        if not args.lammps:
            sys.exit("check.sh: --pack needs --lammps FOLDER, the folder of tests/clients/lammps.sh")
        try:
            return packed(Path(args.lammps).resolve(), Path(args.pack))
        except (Failed, OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"check.sh: --pack: {error}")
    parts = args.parts.split(",")
    if unknown := [p for p in parts if p not in PARTS]:
        sys.exit(f"check.sh: --parts {unknown[0]}: choose from {','.join(PARTS)}")
    if not Path(args.weir).exists():
        sys.exit(f"check.sh: {args.weir} is not there: cargo build --release, or --weir PROGRAM")
    if args.kernels:
        try:
            return kernels(Weir(Path(args.weir).resolve(), args.backend), args.kernels, args.out, args.smoke)
        except Failed as error:
            sys.exit(f"check.sh: --kernels: {error}")
    # What it has started goes with it.
    for ended in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ended, lambda *_: sys.exit(143))
    check = Check(Weir(Path(args.weir).resolve(), args.backend, args.patience, time.monotonic() + 60 * args.minutes, 0.0 if args.smoke else TIMED_S), args)
    held = Held(60 * args.minutes)
    try:
        check.report["held"] = bool(held)
        check.begin()
        for name in PARTS:
            if name in parts:
                check.make(name)
        check.report["clocks"].append(clocks())
    except Late:
        sys.exit(f"check.sh: --minutes {args.minutes:g} end before anything has begun")
    finally:
        held.let_go()
    # Those are not of a dozen atoms.
    check.report["targets"] = [] if args.smoke else check.part("targets", lambda: targets.of(check.report)) or []
    check.write()
    print(targets.text(check.report["targets"]), end="")
    failures = check.failures
    print(f"written to {args.out}: {len(failures)} failure(s)")
    for failure in failures:
        print(f"  {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

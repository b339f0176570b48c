"""Checks and times Weir on a GPU; check.sh tells how. Standard library only."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from program import Failed, Precise, Weir, bits, extxyz, flat, largest, replicated, tensors

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("WEIR_SHARED", ROOT.parent / "shared"))
# Of a report, in this order; a lease that is shorter than all of them takes some at a time.
PARTS = ("verified", "parity", "repeat", "sanitizer", "proteins", "arithmetics", "budgets", "peer", "boxes")
PROTEINS = ["1YRF", "1UBQ", "3LZM", "2PTC"]
QUANTITIES = {"energy": "energy", "atom_energy": "atomic_energy", "force": "forces", "virial": "virial", "atom_virial": "atomic_virial"}
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def folders(smoke):
    found = sorted(p for p in (ROOT / "tests/data/parity").iterdir() if (p / "model.dp").is_file())
    if smoke:
        return [p for p in found if p.name in ("tiny", "tiny32")]
    models = SHARED / "fixtures/models"
    if models.is_dir():
        found += sorted(p for p in models.iterdir() if (p / "model.dp").is_file() and (p / "ref").is_dir())
    return found


def parity(weir, folder, most):
    """Differences to DeePMD-kit's recorded results under the bounds of tests/bodies/parity.rs."""
    info = json.loads(weir.good("model", "info", folder / "model.dp", "--json").stdout)
    rows, own = [], None
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted((folder / "ref").glob("*.safetensors")):
            ref = tensors(path)
            symbols = ["X" if t < 0 else info["type_map"][t] for t in ref["atype"]]
            if not symbols or len(symbols) > most:
                continue
            structure = Path(scratch) / "frame.extxyz"
            structure.write_text(extxyz(symbols, ref["coord"], ref.get("box")))
            more = ["--atomic"] if "atom_virial" in ref else []
            for key, flag in (("fparam", "--fparam"), ("charge_spin", "--charge-spin")):
                if key in ref:
                    more.append(f"{flag}=" + ",".join(repr(x) for x in ref[key]))
            if "aparam" in ref:
                width = len(ref["aparam"]) // len(symbols)
                table = Path(scratch) / "aparam"
                rows_of = [ref["aparam"][i : i + width] for i in range(0, len(ref["aparam"]), width)]
                table.write_text("\n".join(" ".join(map(repr, row)) for row in rows_of) + "\n")
                more += ["--aparam", table]
            if own is None:
                own = weir.eval(folder / "model.dp", structure, *more)[0]["precision"]
                single = own != "f64"
            exact_known = not single or "energy_f64" in ref
            exact = None
            # An f32 model's own arithmetic is by matrix units where the chip has them.
            for precision in dict.fromkeys(["f64", "f32", own] if single else ["f64"]):
                (got,) = weir.eval(folder / "model.dp", structure, "--precision", precision, *more)
                for name, key in QUANTITIES.items():
                    if key not in got or name not in ref:
                        continue
                    value = flat(got[key])
                    if exact_known:
                        expected = ref.get(f"{name}_f64", ref[name])
                    elif precision == "f64":
                        continue
                    else:
                        # As in the tests: where the double-precision value is not recorded, ours stands in.
                        expected = flat(exact[key])
                    if precision == "f64":
                        bound = 1e-10 * max(1.0, abs(expected[0])) if name == "energy" else 1e-9
                    else:
                        noise = largest(ref[name], expected)
                        floor = {"force": 1e-6, "energy": len(symbols) * 1e-6 + 1e-5}.get(name, 1e-5)
                        bound = 2 * noise + floor
                    difference = largest(value, expected)
                    rows.append([path.stem, precision, name, difference, bound])
                if precision == "f64":
                    exact = got
    bad = [r for r in rows if not r[3] <= r[4]]
    worst = {p: max((r[3] for r in rows if r[1] == p and r[2] == "force"), default=None) for p in ("f64", "f32", "tf32x3")}
    return {"model": folder.name, "comparisons": len(rows), "largest_force_difference_eV_A": worst, "beyond_bound": bad}


def sanitized(weir, model, structure):
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return {"installed": False}
    out = {"installed": True}
    for check in ("memcheck", "racecheck"):
        prefix = (tool, "--tool", check, "--error-exitcode", "9")
        done = weir.run("eval", model, structure, "--json", "-", "-q", prefix=prefix)
        lines = [l for l in (done.stdout + done.stderr).splitlines() if "=====" in l]
        out[check] = {"passed": done.returncode == 0, "code": done.returncode, "last": lines[-1:]}
    return out


def needed(weir, model, structure, *more):
    """The smallest budget of hbm that holds a plan, from the planner's own words (rounded up by a per cent)."""
    done = weir.run("eval", model, structure, "--json", "-", "-q", "--hbm-budget", "1KiB", *more)
    found = re.search(r"lacks .* of ([0-9.]+) ([KMGT]?i?B), of which", done.stderr)
    if done.returncode == 0 or not found:
        raise Failed(f"a budget of 1 KiB: {done.stderr.strip()[-300:]}")
    return int(float(found[1]) * UNITS[found[2]] * 1.01) + 4096


def counters(result):
    keep = ("natoms", "backend", "precision", "launches", "device_memory", "peak_bytes")
    plan = {k: result["plan"][k] for k in ("tiles", "states", "predicted_seconds", "out_bytes", "in_bytes")}
    return {**{k: result[k] for k in keep}, "first_step_s": result["seconds"], "plan": plan}


def measured(weir, folder, model, structure, steps, *more):
    (result,) = weir.eval(model, structure, *more)
    out = counters(result)
    out["ms_per_step"] = 1e3 * weir.step(folder, model, structure, steps, *more)
    return out, result


def budgets(weir, folder, model, structure, free, steps):
    """50 %, 25 % and the smallest: rebuild only, spill only, the planner's choice; the bits must be those of unlimited memory."""
    peak = free["peak_bytes"]["hbm"]
    ways = {
        "rebuild": ["--placement", "hbm", "--host-budget", "0"],
        "spill": ["--placement", "hbm,pinned", "--checkpoint", "all"],
        "planner": ["--placement", "hbm,pinned"],
    }
    rows = []
    for way, more in ways.items():
        try:
            least = needed(weir, model, structure, *more)
        except Failed as error:
            rows.append({"way": way, "error": str(error)})
            continue
        for name, budget in (("50%", peak // 2), ("25%", peak // 4), ("smallest", least)):
            row = {"way": way, "budget": name, "hbm_budget_bytes": budget, "smallest_bytes": least}
            rows.append(row)
            try:
                got, result = measured(weir, folder, model, structure, steps, *more, "--hbm-budget", f"{budget}B")
                row.update(got)
                row["same_bits"] = bits(result) == bits(free)
                row["within_budget"] = result["peak_bytes"]["hbm"] <= budget
            except Failed as error:
                # Below the smallest nothing can run, and that is said.
                row["error"] = str(error)
                row["expected"] = budget < least
    return rows


def arithmetics(weir, folder, model, structure, steps):
    """Time and force error of every arithmetic of f32, against f64 on the device."""
    (exact,) = weir.eval(model, structure, "--precision", "f64")
    scale = max(map(abs, flat(exact["forces"])), default=0.0)
    rows = []
    # Blocks of a multiprocessor decide how many rows each has; the default's row is the one without. Registers let in three or four at most.
    # The last is everything in one stream.
    variants = [(p, *v) for p in ("f32", "tf32x3", "tf32") for v in ((None, None), (2, None), (3, None), (4, None), (None, 1))]
    for precision, blocks, streams in variants:
        row = {"precision": precision, "blocks": blocks, "streams": streams}
        if blocks and weir.environment.get("WEIR_BACKEND") == "emulated":
            continue
        rows.append(row)
        try:
            for name, value in (("WEIR_BLOCKS", blocks), ("WEIR_STREAMS", streams)):
                if value:
                    weir.environment[name] = str(value)
            got, result = measured(weir, folder, model, structure, steps, "--precision", precision)
            row.update(ms_per_step=got["ms_per_step"], launches=got["launches"])
            row["force_error_eV_A"] = largest(flat(result["forces"]), flat(exact["forces"]))
            row["largest_force_eV_A"] = scale
        except Failed as error:
            # AMD chips have no TF32.
            row["error"] = str(error)
        finally:
            for name in ("WEIR_BLOCKS", "WEIR_STREAMS"):
                weir.environment.pop(name, None)
    return rows


def peer(python, folder, model, structures, ours):
    """DeePMD-kit on the same card: the frozen and the eager form of one model; how often Weir's step goes into its call."""
    script = SHARED / "bench/deepmd_peer.py"
    if not script.is_file():
        return {"skipped": f"{script} is not there (set WEIR_SHARED)"}
    if shutil.which(python) is None or subprocess.run([python, "-c", "import deepmd, torch"], capture_output=True).returncode != 0:
        return {"skipped": f"{python} has no deepmd and torch (get_wheels.sh beside the script brings them)"}
    forms, rows = {"eager": model}, []
    frozen = folder / "big.pth"
    try:
        done = subprocess.run([python, "-m", "deepmd", "convert-backend", str(model), str(frozen)], capture_output=True, text=True, timeout=1800)
        if done.returncode == 0 and frozen.is_file():
            forms["pth"] = frozen
        else:
            rows.append({"form": "pth", "error": (done.stderr.strip().splitlines() or ["no word"])[-1]})
    except subprocess.TimeoutExpired as error:
        # The eager form is measured all the same.
        rows.append({"form": "pth", "error": str(error)})
    for name, path in structures.items():
        for form, file in forms.items():
            row = {"structure": name, "form": form}
            rows.append(row)
            try:
                command = [python, str(script), str(file), str(path), "--profile"]
                done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
                row.update(json.loads(done.stdout.strip().splitlines()[-1]))
                if name in ours and "median_ms" in row:
                    row["ms_per_step"] = row["median_ms"]
                    row["times_weir"] = row["median_ms"] / ours[name]["ms_per_step"]
            except subprocess.TimeoutExpired as error:
                row["error"] = str(error)
            except (IndexError, ValueError) as error:
                row["error"] = f"{type(error).__name__}: {done.stderr.strip()[-300:]}"
    # The setting decides what its products cost.
    tf32 = subprocess.run([python, "-c", "import torch; print(torch.backends.cuda.matmul.allow_tf32)"], capture_output=True, text=True)
    return {"torch_allow_tf32": tf32.stdout.strip(), "rows": rows}


def units_of(device):
    """Whether a chip has the units that f32 models are computed with unless somebody says otherwise."""
    found = re.match(r"sm_(\d+)", (device or {}).get("chip", ""))
    return bool(found) and int(found[1]) >= 80


def kernels(weir, chips, out, smoke):
    """Every kernel that the checks need."""
    for folder in folders(smoke):
        done = weir.run("kernels", "build", "--arch", chips, "--model", folder / "model.dp", "--precision", "model,f64,f32", "--out", out)
        print(f"{folder.name}: {'built' if done.returncode == 0 else done.stderr.strip()[-200:]}")
    weir.good("kernels", "build", "--arch", chips, "--preset", "tiny" if smoke else "dpa-3.1-3m", "--precision", "f32,f64,tf32x3,tf32", *([] if smoke else ["--blocks", "2,3,4"]), "--out", out)
    print(weir.good("kernels", "list", out).stdout, end="")


def merged(files, out):
    """One report of several, each with parts of its own; failures and what was left out add up."""
    reports = [json.loads(Path(f).read_text()) for f in files]
    whole, rest = dict(reports[0]), reports[1:]
    for name in ("weir", "smoke", "device", "chip", "driver"):
        # Budgets among the settings follow what was free.
        different = {json.dumps((r if name in ("weir", "smoke") else r["device"] or {}).get(name)) for r in reports}
        if len(different) > 1:
            raise Failed(f"{name} differs: {' and '.join(sorted(different))}")
    for report in rest:
        twice = set(whole["parts"]) & set(report["parts"])
        if twice:
            raise Failed(f"{', '.join(sorted(twice))}: in two files")
        for name in ("failures", "left_out", "parts"):
            whole[name] = whole[name] + report[name]
        whole["seconds"] += report["seconds"]
        whole.update({name: report[name] for name in report["parts"]})
    Path(out).write_text(json.dumps(whole, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weir", default=str(ROOT / "target/release/weir"))
    parser.add_argument("--out", default="weir-gpu-check.json")
    parser.add_argument("--backend", default=os.environ.get("WEIR_BACKEND"))
    parser.add_argument("--kernels", metavar="CHIPS")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--parts", metavar="NAMES", default=",".join(PARTS))
    parser.add_argument("--merge", metavar="FILE", nargs="+")
    args = parser.parse_args()
    if args.merge:
        try:
            return merged(args.merge, args.out)
        except (Failed, OSError, KeyError, ValueError) as error:
            sys.exit(f"check.sh: --merge: {type(error).__name__}: {error}")
    parts = args.parts.split(",")
    if unknown := [p for p in parts if p not in PARTS]:
        sys.exit(f"check.sh: --parts {unknown[0]}: choose from {','.join(PARTS)}")
    weir, begin = Weir(Path(args.weir).resolve(), args.backend), time.monotonic()
    if not Path(args.weir).exists():
        sys.exit(f"check.sh: {args.weir} is not there: cargo build --release, or --weir PROGRAM")
    if args.kernels:
        return kernels(weir, args.kernels, args.out, args.smoke)

    report = {"version": 1, "smoke": args.smoke, "parts": parts, "failures": [], "left_out": []}
    out = Path(args.out)

    def write():
        report["seconds"] = time.monotonic() - begin
        out.write_text(json.dumps(report, indent=1) + "\n")

    def part(name, work):
        """One piece of the report; what fails there is told and the rest goes on."""
        if time.monotonic() - begin > 60 * args.minutes:
            report["left_out"].append(f"{name}: no time (--minutes {args.minutes})")
            return None
        print(f"{time.monotonic() - begin:7.1f} s  {name}", flush=True)
        try:
            return work()
        except (Failed, subprocess.TimeoutExpired, OSError, KeyError, ValueError) as error:
            report["failures"].append(f"{name}: {type(error).__name__}: {error}")
            return None
        finally:
            write()

    report["weir"] = weir.run("--version").stdout.strip()
    report["hardware"] = part("hardware", lambda: json.loads(weir.good("hardware", "--json").stdout))
    # Nothing of this is a check of the CPU.
    tiny, box = ROOT / "tests/data/parity/tiny/model.dp", ROOT / "examples/water/start.extxyz"
    scratch = tempfile.TemporaryDirectory()
    folder = Path(scratch.name)
    water = folder / "water.extxyz"
    molecules = [(0.0, 0.0, 0.0), (3.3, 0.2, 3.1), (0.3, 3.1, 3.2), (3.2, 3.0, 0.1)]
    one = [("O", (0.0, 0.0, 0.12)), ("H", (0.0, 0.76, -0.47)), ("H", (0.01, -0.77, -0.46))]
    symbols = [s for _ in molecules for s, _ in one]
    positions = [a + b for shift in molecules for _, x in one for a, b in zip(x, shift)]
    water.write_text(extxyz(symbols, positions, [6.6, 0, 0, 0.4, 6.2, 0, 0.3, 0, 6.4]))
    first = part("the device", lambda: weir.eval(tiny, water))
    if first is None or first[0]["backend"] == "cpu":
        report["failures"].append("no GPU computes here: set WEIR_BACKEND to see why")
        write()
        sys.exit(f"check.sh: {report['failures'][-1]}; {report['failures'][0]}")
    report["backend"] = first[0]["backend"]
    header = weir.run("eval", tiny, water, "--log-format", "json").stderr.splitlines()
    events = [json.loads(l) for l in header if l.startswith("{")]
    report["device"] = next(({k: e[k] for k in ("device", "chip", "driver", "settings")} for e in events if e["event"] == "header"), None)

    big, steps = folder / "big.dp", 1 if args.smoke else 20
    part("random model", lambda: weir.good("model", "new", "--preset", "dpa-3.1-3m", "--seed", "1", "--out", big))

    # Kernels beside the CPU, as the program itself looks at them before it trusts a device.
    def verified():
        rows = []
        few = ROOT / "tests/data/parity"
        models = [(few / "tiny/model.dp", "f64"), (few / "tiny32/model.dp", "f32"), (few / "tiny32/model.dp", "model")]
        # Minutes on the emulated device.
        models += [] if args.smoke else [(big, p) for p in ("model", "f32", "f64")]
        for model, precision in models:
            done = weir.run("eval", model, water, "--precision", precision, "--json", "-", environment={"WEIR_VERIFY": "always"})
            right = done.returncode == 0 and not any(words in done.stderr for words in ("are used instead", "was not compared"))
            rows.append({"model": model.stem if model == big else model.parent.name, "precision": precision, "right": right, "last": done.stderr.strip()[-300:]})
            if not right:
                report["failures"].append(f"WEIR_VERIFY {rows[-1]}")
        return rows

    if "verified" in parts:
        report["verified"] = part("kernels beside the CPU", verified)
    report["parity"] = []
    for model in folders(args.smoke) if "parity" in parts else []:
        row = part(f"parity {model.name}", lambda: parity(weir, model, 20 if args.smoke else 100_000))
        if row is None and "sequential_update" in report["failures"][-1]:
            # Refused with a clear error: it has no kernels.
            report["left_out"].append(report["failures"].pop())
        elif row is not None:
            report["parity"].append(row)
            if row["beyond_bound"]:
                report["failures"].append(f"parity {model.name}: {row['beyond_bound'][0]}")

    def repeats():
        a, b = (weir.eval(tiny, water)[0] for _ in range(2))
        return {"same_bits": bits(a) == bits(b)}

    report["repeat"] = part("repeated bits", repeats) if "repeat" in parts else None
    if report["repeat"] and not report["repeat"]["same_bits"]:
        report["failures"].append("two runs differ")
    report["sanitizer"] = part("compute-sanitizer", lambda: sanitized(weir, tiny, water)) if "sanitizer" in parts else None
    for tool in ("memcheck", "racecheck"):
        if not (report["sanitizer"] or {}).get(tool, {"passed": True})["passed"]:
            report["failures"].append(f"compute-sanitizer {tool}: {report['sanitizer'][tool]}")

    # What a user gets who sets nothing. Matrix units take minutes on the emulated device.
    speed = ["--precision", "f32"] if args.smoke else []
    # Proteins, then their budgets.
    report["proteins"], report["budgets"], report["arithmetics"] = {}, {}, {}
    # Matrix units take minutes on the emulated device.
    small = ROOT / "tests/data/parity/tiny32/model.dp" if args.smoke else big
    structures = {name: ROOT / f"examples/proteins/{name}.extxyz" for name in PROTEINS}
    if args.smoke:
        structures = {"water": water}
    for name, path in structures.items():
        if "arithmetics" in parts:
            report["arithmetics"][name] = part(f"arithmetics {name}", lambda: arithmetics(weir, folder, small, path, steps))
        if not {"proteins", "budgets", "peer"} & set(parts):
            continue
        got = part(f"speed {name}", lambda: measured(weir, folder, big, path, steps, *speed))
        if got is None:
            continue
        report["proteins"][name] = got[0]
        if not args.smoke and units_of(report["device"]) and got[0]["precision"] != "tf32x3":
            report["failures"].append(f"speed {name}: computed in {got[0]['precision']}, not by the matrix units of {report['device']['chip']}")
        if "budgets" not in parts:
            continue
        rows = part(f"budgets {name}", lambda: budgets(Precise(weir, speed), folder, big, path, got[1], steps)) or []
        report["budgets"][name] = rows
        for row in rows:
            wrong = not row.get("same_bits", True) or not row.get("within_budget", True)
            if wrong or ("error" in row and not row.get("expected")):
                report["failures"].append(f"budgets {name}: {row}")

    if args.peer and "peer" in parts:
        beside = {name: path for name, path in structures.items() if name in ("1YRF", "1UBQ", "water")}
        report["peer"] = part("DeePMD-kit beside us", lambda: peer(args.peer, folder, big, beside, report["proteins"]))
    elif "peer" in parts:
        report["peer"] = {"skipped": "no --peer PYTHON with deepmd and torch was given"}

    # Boxes of water until the planner says that one does not fit (rebuilding is allowed, spilling is not).
    report["boxes"] = []
    base = SHARED / "structures/water_192.extxyz"
    base = water if args.smoke else base if base.is_file() else box
    limit = ["--hbm-budget", "40MiB"] if args.smoke else []
    for times in range(1, 4 if args.smoke else 40) if "boxes" in parts else []:
        path = folder / "box.extxyz"
        path.write_text(replicated(base, times))
        row = {"times": times}
        report["boxes"].append(row)
        more = [*speed, "--placement", "hbm", "--host-budget", "0", *limit]
        errors = len(report["failures"])
        got = part(f"water {times}x{times}x{times}", lambda: measured(weir, folder, big, path, 2 if times > 4 else steps, *more))
        if got is None:
            word = report["failures"].pop() if len(report["failures"]) > errors else "no time"
            row["refused"] = word
            if "lacks" not in word and word != "no time":
                report["failures"].append(word)
            break
        row.update(got[0])
    write()
    print(f"written to {out}: {len(report['failures'])} failure(s)")
    for failure in report["failures"]:
        print(f"  {failure}")
    sys.exit(1 if report["failures"] else 0)


if __name__ == "__main__":
    main()

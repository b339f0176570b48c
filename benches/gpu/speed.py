"""Times, memory and errors of steps on a device. Standard library only."""

import json
import re

from program import ROOT, TROUBLE, Failed, bits, flat, largest

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def needed(weir, model, structure, *more):
    """The smallest budget of hbm that holds a plan, from the planner's own words (rounded up by a per cent)."""
    done = weir.run("eval", model, structure, "--json", "-", "-q", "--hbm-budget", "1KiB", *more)
    found = re.search(r"lacks .* of ([0-9.]+) ([KMGT]?i?B), of which", done.stderr)
    if done.returncode == 0 or not found:
        raise Failed(f"a budget of 1 KiB: {done.stderr.strip()[-300:]}")
    return int(float(found[1]) * UNITS[found[2]] * 1.01) + 4096


def counters(result):
    keep = ("natoms", "backend", "precision", "launches", "widened_steps", "device_memory", "peak_bytes")
    plan = {k: result["plan"][k] for k in ("tiles", "states", "predicted_seconds", "rates_measured", "out_bytes", "in_bytes")}
    return {**{k: result[k] for k in keep}, "first_step_s": result["seconds"], "plan": plan}


def measured(weir, folder, model, structure, steps, *more):
    (result,) = weir.eval(model, structure, *more)
    out = counters(result)
    out["ms_per_step"] = 1e3 * weir.step(folder, model, structure, steps, *more)
    return out, result


def budgets(weir, folder, model, structure, free, milliseconds, steps):
    """50 %, 25 % and the smallest: rebuild only, spill only, the planner's choice; the bits must be those of unlimited memory, a step of which takes
    so long. Row by row, as all that follow."""
    peak = free["peak_bytes"]["hbm"]
    ways = {
        "rebuild": ["--placement", "hbm", "--host-budget", "0"],
        "spill": ["--placement", "hbm,pinned", "--checkpoint", "all"],
        "planner": ["--placement", "hbm,pinned"],
    }
    for way, more in ways.items():
        try:
            least = needed(weir, model, structure, *more)
        except TROUBLE as error:
            yield {"way": way, "error": str(error)}
            continue
        for name, budget in (("50%", peak // 2), ("25%", peak // 4), ("smallest", least)):
            row = {"way": way, "budget": name, "hbm_budget_bytes": budget, "smallest_bytes": least}
            try:
                got, result = measured(weir, folder, model, structure, steps, *more, "--hbm-budget", f"{budget}B")
                row.update(got)
                row["times_unlimited"] = got["ms_per_step"] / milliseconds
                row["same_bits"] = bits(result) == bits(free)
                row["within_budget"] = result["peak_bytes"]["hbm"] <= budget
            except TROUBLE as error:
                # Below the smallest nothing can run, and that is said.
                row["error"] = str(error)
                row["expected"] = budget < least and "lacks" in str(error)
            yield row


def placed(weir, folder, model, structure, few, *more):
    """Four times the same frame (a step, its recording, that again) under the least memory for states, which all leave the device: bits beside those of a
    device that keeps everything, for every other memory, by recorded steps and by queued ones."""
    frames = folder / "frames.extxyz"
    frames.write_text(4 * structure.read_text())
    (free,) = weir.eval(model, structure, *more)
    for placement in ("hbm,pinned", "hbm,system", "hbm,file"):
        way = [*more, "--placement", placement, "--checkpoint", "all"]
        least = needed(weir, model, structure, *way)
        for graph in ("on",) if few else ("on", "off"):
            weir.environment["WEIR_GRAPH"] = graph
            try:
                got = weir.eval(model, frames, *way, "--frames", "all", "--hbm-budget", f"{least}B")
            finally:
                weir.environment.pop("WEIR_GRAPH")
            out = sum(got[-1]["plan"]["out_bytes"].values())
            yield {"placement": placement, "graph": graph, "out_bytes": out, "same_bits": len(got) == 4 and out > 0 and all(bits(r) == bits(free) for r in got), "widened_steps": sum(r["widened_steps"] for r in got)}


def arithmetics(weir, folder, model, structure, steps, thorough):
    """Time and force error of every arithmetic of f32, against f64 on the device; `thorough`: by blocks and streams too."""
    (exact,) = weir.eval(model, structure, "--precision", "f64")
    scale = max(map(abs, flat(exact["forces"])), default=0.0)
    # Blocks of a multiprocessor decide how many rows each has (registers let in three or four); the default, the row without a number, is not tried
    # twice. The last row of each is everything in one stream.
    variants = []
    for precision in ("f32", "tf32x3", "f16x3", "tf32"):
        default = 4 if precision == "f32" else 3
        tried = [(n, None) for n in (2, 3, 4) if n != default] + [(None, 1)] if thorough else []
        variants += [(precision, *way) for way in [(None, None), *tried]]
    for precision, blocks, streams in variants:
        row = {"precision": precision, "blocks": blocks, "streams": streams}
        if blocks and weir.environment.get("WEIR_BACKEND") == "emulated":
            continue
        try:
            for name, value in (("WEIR_BLOCKS", blocks), ("WEIR_STREAMS", streams)):
                if value:
                    weir.environment[name] = str(value)
            got, result = measured(weir, folder, model, structure, steps, "--precision", precision)
            row.update(ms_per_step=got["ms_per_step"], launches=got["launches"], widened_steps=got["widened_steps"])
            row["force_error_eV_A"] = largest(flat(result["forces"]), flat(exact["forces"]))
            row["largest_force_eV_A"] = scale
        except TROUBLE as error:
            # AMD chips have none of tensor cores' arithmetics.
            row["error"] = str(error)
        finally:
            for name in ("WEIR_BLOCKS", "WEIR_STREAMS"):
                weir.environment.pop(name, None)
        yield row


def profiled(weir, folder, model, structure, *more):
    """`weir profile`: rates of this device, which later forecasts go by; every way and budget predicted and measured, step after step queued piece
    by piece; time of each kernel. Forces that differ between two lines are an error of that command."""
    weir.good("profile", model, structure, "-q", "--out", folder / "profile", *more)
    told = json.loads((folder / "profile.json").read_text())
    return {k: told[k] for k in ("structure", "precision", "calls", "links", "profile", "kernels")}


def stored(weir, folder, model, structure, exact, forms, steps, *more):
    """Steps with rounded states: time, and forces beside those of `exact` ones."""
    scale = max(map(abs, flat(exact["forces"])), default=0.0)
    for form in forms:
        row = {"store": form, "largest_force_eV_A": scale}
        try:
            got, result = measured(weir, folder, model, structure, steps, *more, "--store", form)
            row.update(got)
            row["force_error_eV_A"] = largest(flat(result["forces"]), flat(exact["forces"]))
        except TROUBLE as error:
            row["error"] = str(error)
        yield row


def drift(weir, folder, forms, steps):
    """Constant energy with the shipped model: eV/atom/ps of each stored form."""
    for form in forms:
        command = [ROOT / "scripts/store_drift.sh", weir.program, steps, folder / "drift", form]
        done = weir.finished(command, env=weir.environment)
        found = re.findall(r"^\S+: (\S+) eV/atom/ps over (\S+) ps, mean (\S+) K", done.stdout, re.M)
        if done.returncode or len(found) != 1:
            raise Failed((done.stderr.strip().splitlines() or ["store_drift.sh printed other lines"])[-1])
        slope, span, mean = map(float, found[0])
        yield {"store": form, "slope_eV_per_atom_per_ps": slope, "span_ps": span, "mean_K": mean}

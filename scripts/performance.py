#!/usr/bin/env python3
"""Tables and pictures of docs/performance.md and the README's table of results, from benches/results alone: no number there is typed.

    scripts/performance.py            writes them anew
    scripts/performance.py --check    fails where a page is not that of the results

A table stands between `<!-- name -->` and `<!-- end -->`. Of several files of a kind the latest counts (names begin with dates).
"""
import json
import math
import statistics
import sys
from pathlib import Path

from gpu_results import gpu, gpu_pictures, readme_rows
from tables import WAYS, digits, gb, per_day, spill_curve, svg, table, unlimited

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches/results"
PAGES = ("docs/performance.md", "docs/gromacs.md", "README.md")


def lines(pattern):
    """Objects of the latest file of JSON lines, and its name."""
    files = sorted(RESULTS.glob(pattern))
    if not files:
        return [], None
    return [json.loads(l) for l in files[-1].read_text().splitlines() if l.strip()], files[-1].name


def latest(pattern):
    files = sorted(RESULTS.glob(pattern))
    return (json.loads(files[-1].read_text()), files[-1].name) if files else (None, None)


def turn(row):
    """Case and instruction set of a row `NAME_SET_ROUND`, which sets computed by turns; none: another row."""
    name, _, number = row["case"].rpartition("_")
    base, _, used = name.rpartition("_")
    return (base, used) if number.isdigit() and used == row.get("instruction_set") else None


def cases():
    """Steps on a CPU: the latest line of every case, and the peer of the same session where there is one."""
    found, peers = {}, {}
    for path in sorted(RESULTS.glob("*-2cores-*.jsonl")):
        for row in (json.loads(l) for l in path.read_text().splitlines() if l.strip()):
            if "case" in row and "cpu_s" in row and not turn(row):
                found[row["case"]] = row | {"file": path.name}
            elif row.get("engine", "").startswith("deepmd-kit"):
                key = (row["model"], row["structure"])
                if key not in peers or row["cpu_s_per_call"] < peers[key]["cpu_s_per_call"]:
                    peers[key] = row
    return found, peers


def cpu():
    found, peers = cases()
    names = {"3m_1YRF": ("3m.dp", "1YRF.extxyz"), "3m_water_192": ("3m.dp", "water_192.extxyz")}
    rows = []
    for name, row in sorted(found.items(), key=lambda kv: (kv[0].split("_")[0], kv[1]["atoms"], kv[0])):
        peer = peers.get(names.get(name))
        beside = f"{digits(peer['cpu_s_per_call'])} CPU-s, {peer['peak_rss_GB']:.1f} GB" if peer else ""
        ratio = f"{peer['cpu_s_per_call'] / row['cpu_s']:.1f}" if peer else ""
        rows.append([f"`{name}`", int(row["atoms"]), digits(row["cpu_s"]), digits(row["wall_s"]), digits(row["cpu_us_per_atom"]),
                     per_day(row["cpu_s"] / row["threads"]), gb(row["peak_bytes"]), beside, ratio, row["date"]])
    head = ["case", "atoms", "CPU-s a step", "wall s", "CPU-us/atom", "ns/day at 1 fs", "GB", "DeePMD-kit 3.2.0", "times", "date"]
    note = "\nns/day is what two threads would reach if nobody else used the machine: CPU seconds by two. Wall seconds are as measured, some with other load.\n"
    return table(head, rows) + note


def by_turns(rows):
    """Medians of cases that instruction sets computed by turns: CPU-s by case and set."""
    found = {}
    for row in filter(turn, rows):
        base, used = turn(row)
        found.setdefault(base, {}).setdefault(used, []).append(row["cpu_s"])
    return {base: {used: statistics.median(all_) for used, all_ in sets.items()} for base, sets in found.items()}


def simd():
    rows, name = lines("*-avx512-steps.jsonl")
    turns = by_turns(rows)
    sets = sorted({used for of in turns.values() for used in of}, reverse=True)
    text = f"{rows[0]['machine']}, {rows[0]['threads']} threads, CPU-s a step, medians of rounds by turns:\n\n"
    text += table(["case"] + sets, [[f"`{base}`"] + [digits(of[used]) for used in sets] for base, of in turns.items()])
    whole = [r for r in rows if not turn(r)]
    text += "\nWith the widest set:\n\n" + table(["case", "atoms", "CPU-s a step", "wall s", "CPU-us/atom", "GB"], [
        [f"`{r['case']}`", int(r["atoms"]), digits(r["cpu_s"]), digits(r["wall_s"]), digits(r["cpu_us_per_atom"]), gb(r["peak_bytes"])] for r in whole])
    beside, file = lines("*-avx512-beside-deepmd.jsonl")
    for peer in (r for r in beside if "engine" in r):
        case = f"3m_{Path(peer['structure']).stem}"
        mine = statistics.median(r["cpu_s"] for r in beside if r.get("case") == case)
        text += f"\nDeePMD-kit on the same two cores, minutes apart: `{case}` {digits(peer['cpu_s_per_call'])} CPU-s a call (median wall {digits(peer['median_ms'] / 1e3)} s, {peer['peak_rss_GB']:.1f} GB), Weir {digits(mine)}: {peer['cpu_s_per_call'] / mine:.1f} times ([{file}](../benches/results/{file}), {peer['engine']}, torch {peer['torch']}).\n"
    text += f"\n[{name}](../benches/results/{name}), `cargo bench --bench step -- 3m_ demo_`, {rows[0]['date']}, commit {rows[0]['commit']}.\n"
    run, file = long_run()
    return text + f"\nIn another hour of the same machine, in one series: a run with nothing set and memory enough, after its first 40 steps, {digits(run['run'])} CPU-s a step, {gb(run['bytes'])} GB (it has found out that insides are worth keeping); by turns, rebuilding {digits(run['rebuild'])} and `--inside keep` {digits(run['keep'])} ([{file}](../benches/results/{file})).\n"


def long_run():
    """1YRF in a run that nobody has set anything for, and by turns with all insides made again and kept: CPU-s a step."""
    rows, file = lines("*-avx512-run.jsonl")
    turns = by_turns(rows)
    run = next(r for r in rows if r["case"] == "3m_1YRF_run")
    return {"run": run["cpu_s"], "bytes": run["peak_bytes"], "rebuild": turns["3m_1YRF"]["avx512"], "keep": turns["3m_1YRF_keep"]["avx512"]}, file


def profile_rows():
    data, name = latest("*-2PTC-profile.json")
    return data, name, [r for r in data["profile"]["rows"] if not r["infeasible"]]


def spill():
    data, name, rows = profile_rows()
    p = data["profile"]
    base, whole = unlimited(p), sum(r["budget"] == "100%" for r in rows)
    out = []
    for r in rows:
        off = r["predicted_s"] / r["measured_s"] - 1
        out.append([r["budget"], f"{r['hbm_bytes'] / 2**30:.2f} GiB", WAYS[r["way"]], digits(r["predicted_s"]), digits(r["measured_s"]),
                    f"{100 * off:+.0f} %", f"{r['measured_s'] / base:.2f}", gb(r["out_bytes"]), gb(r["in_bytes"])])
    head = ["budget", "fast memory", "how", "predicted s", "measured s", "off by", "times unlimited", "GB out", "GB in"]
    text = f"{data['structure']}, {p['atoms']} atoms, {data['precision']}, {data['threads']} threads, {data['device']}; unlimited: {digits(base)} s (median of {1 + whole} measurements), {gb(p['unlimited_bytes'])} GB.\n\n"
    return text + table(head, out) + f"\n[{name}](../benches/results/{name}), `weir profile`, medians of {data['calls']}, {data['date']}.\n"


def spill_picture():
    data, _, rows = profile_rows()
    return spill_curve(data["structure"], data["profile"], rows)


DOORS = {"weir_h": "weir.h", "weir_h_list": "weir.h, given list", "deepmd_c": "DP_DeepPotCompute2", "deepmd_c_list": "DP_DeepPotComputeNList2",
         "plumed": "PLUMED kernel", "python": "Python's Calculator", "ipi": "weir serve (i-PI)"}


def door_rows():
    """CPU overhead of every door by atoms, all cores; name by name in the order of the file."""
    rows, name = lines("*-doors.jsonl")
    found = {}
    for r in rows:
        if r["threads"] == "all":
            found.setdefault(r["case"][len("door_"):].rsplit("_", 1)[0], {})[r["atoms"]] = r
    return found, name


def doors():
    found, name = door_rows()
    sizes = sorted({a for by in found.values() for a in by})
    rows = [[f"{DOORS.get(d, d)}"] + [f"{100 * by[a]['cpu_overhead']:+.1f} / {100 * by[a]['wall_overhead']:+.1f} %" if a in by else "" for a in sizes] for d, by in found.items()]
    return table(["door, CPU / wall over a direct call"] + [f"{a} atoms" for a in sizes], rows) + f"\n[{name}](../benches/results/{name}), `cargo bench --bench doors`.\n"


def doors_picture():
    found, _ = door_rows()
    w, left, top, row = 640, 210, 46, 26
    h = top + row * len(found) + 46
    sizes = sorted({a for by in found.values() for a in by})
    shades = dict(zip(sizes, ("#9ecae1", "#4292c6", "#08519c", "#041e42")))
    x = lambda share: left + (w - left - 20) * (share + 0.15) / 0.30
    out = svg(w, h, '<text x="14" y="20" font-size="13">CPU seconds of a step through each door, over a direct call of the engine</text>')
    for share in (-0.15, -0.10, -0.05, 0, 0.05, 0.10, 0.15):
        colour = "#888" if share == 0 else "#ddd"
        out.append(f'<path d="M{x(share):.1f} {top - 8}V{h - 40}" stroke="{colour}"/><text x="{x(share):.1f}" y="{h - 24}" text-anchor="middle">{100 * share:+.0f} %</text>')
    for k, (door, by) in enumerate(found.items()):
        y = top + row * k + 8
        out.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{DOORS.get(door, door)}</text>')
        out += [f'<circle cx="{x(r["cpu_overhead"]):.1f}" cy="{y}" r="4.5" fill="{shades[a]}"/>' for a, r in sorted(by.items())]
    for k, a in enumerate(sizes):
        out.append(f'<circle cx="{left + 110 * k}" cy="{h - 9}" r="4.5" fill="{shades[a]}"/><text x="{left + 110 * k + 8}" y="{h - 5}">{a} atoms</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def proteins():
    """ns/day of proteins in stock GROMACS (examples/gromacs/four_proteins.sh)."""
    found, name = lines("*-gromacs-proteins.jsonl")
    rows = [[r["protein"], f"{r['atoms']} ({r['atoms_with_water']})", digits(r["classical_ns_day"]), per_day(r["seconds_a_step"]), digits(r["seconds_a_step"])] for r in found]
    first = found[0]
    return table(["protein", "atoms by the model (with water)", "classical in water, ns/day", "by the model in vacuum, ns/day", "seconds a step"], rows) + \
        f"\n{first['machine']}, {first['threads']} threads, {first['date']}, load at most {max(r['load'] for r in found):g} ([{name}](../benches/results/{name})).\n"


def proteins_picture():
    """Bars on a logarithmic axis: classical and by the model."""
    found, _ = lines("*-gromacs-proteins.jsonl")
    w, left, top, row = 640, 70, 56, 44
    h = top + row * len(found) + 40
    least, most = -3, 2
    x = lambda v: left + (w - left - 90) * (math.log10(v) - least) / (most - least)
    out = svg(w, h, '<text x="14" y="20" font-size="13">ns/day in GROMACS, steps of 1 fs: a force field with water, and the protein by DPA3 (logarithmic)</text>')
    for k, (label, colour) in enumerate((("classical, in water", "#9ecae1"), ("DPA3 by Weir on the CPU, in vacuum", "#b3541e"))):
        out.append(f'<rect x="{left + 190 * k}" y="30" width="12" height="12" fill="{colour}"/><text x="{left + 190 * k + 18}" y="40">{label}</text>')
    for d in range(least, most + 1):
        out.append(f'<path d="M{x(10**d):.1f} {top - 6}V{h - 30}" stroke="#ddd"/><text x="{x(10**d):.1f}" y="{h - 14}" text-anchor="middle">{10**d:g}</text>')
    for k, r in enumerate(found):
        y = top + row * k
        out.append(f'<text x="{left - 10}" y="{y + 20}" text-anchor="end">{r["protein"]}</text>')
        for j, (v, colour) in enumerate(((r["classical_ns_day"], "#9ecae1"), (86400e-6 / r["seconds_a_step"], "#b3541e"))):
            out.append(f'<rect x="{left}" y="{y + 16 * j}" width="{x(v) - left:.1f}" height="14" fill="{colour}"/><text x="{x(v) + 6:.1f}" y="{y + 16 * j + 11}">{digits(v)}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def native_picture():
    """Total energy of 1YRF in water with GROMACS' native backend: far pairs kept, taken out, and with a buffer of the pair list."""
    found, _ = lines("*-gromacs-native.jsonl")
    runs = [("1YRF, far pairs kept", "far pairs kept (any other NNPot backend)", "#888"), ("1YRF, automatic buffer", "taken out, automatic pair-list buffer", "#b3541e"),
            ("1YRF with its charges", "taken out, rlist = cutoff + 0.2 nm", "#2e7d32")]
    by = {(r["run"], r["dt_ps"]): r for r in found}
    mine = [(by[run, 0.0005], label, colour) for run, label, colour in runs]
    w, left, panel, gap, top = 640, 70, 150, 34, 62
    h = top + 2 * panel + gap + 40
    out = svg(w, h, f'<text x="14" y="20" font-size="13">Total energy less its first value, kJ/mol: 1YRF in water, 0.5 fs (the kinetic energy swings by {mine[-1][0]["kinetic_swing"]:,.0f})</text>')
    for k, (_, label, colour) in enumerate(mine):
        out.append(f'<path d="M{14 + 215 * k} 36h20" stroke="{colour}" stroke-width="2"/><text x="{38 + 215 * k}" y="40" font-size="11">{label}</text>')
    for p, shown in enumerate((mine, mine[1:])):
        values = [v - r["total"][0] for r, _, _ in shown for v in r["total"]]
        low, high = min(values), max(values)
        y0 = top + p * (panel + gap)
        y = lambda v: y0 + panel * (high - v) / (high - low)
        x = lambda n: left + (w - left - 20) * n / 200
        step = 10 ** math.floor(math.log10((high - low) / 2))
        step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= 6)
        for n in range(math.ceil(low / step), math.floor(high / step) + 1):
            out.append(f'<path d="M{left} {y(n * step):.1f}H{w - 20}" stroke="#ddd"/><text x="{left - 6}" y="{y(n * step) + 4:.1f}" text-anchor="end">{n * step:g}</text>')
        for r, _, colour in shown:
            points = " ".join(f"{x(n):.1f},{y(v - r['total'][0]):.1f}" for n, v in enumerate(r["total"][:201]))
            out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
    for fs in range(0, 101, 20):
        out.append(f'<text x="{x(2 * fs):.1f}" y="{h - 22}" text-anchor="middle">{fs}</text>')
    out.append(f'<text x="{w / 2}" y="{h - 6}" text-anchor="middle">fs</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def classes():
    data, name = latest("*-kernels.json")
    k = data["kernels"]
    total = sum(c["seconds"] for c in k["classes"])
    rows = [[c["name"], f"{c['seconds']:.2f}", f"{100 * c['seconds'] / total:.0f} %", f"{c['calls']:,}",
             digits(c["gflop_s"]) if c.get("gflop_s") else ""] for c in k["classes"]]
    text = f"{data['structure']}, {data['precision']}, {k['threads']} threads of {data['device']}, one step:\n\n"
    return text + table(["class", "thread seconds", "share", "calls", "GFLOP/s a thread"], rows) + f"\n[{name}](../benches/results/{name}), `weir profile --kernels`, {data['date']}.\n"


def traffic():
    data, name = latest("*-traffic.json")
    s = data["scaled"]
    rows = []
    for kernel, k in sorted(data["kernels"].items(), key=lambda kv: -kv[1]["scaled_gb"]):
        if k["scaled_gb"] < 0.05:
            continue
        rows.append([f"`{kernel}`", k["launches"], k["per"], digits(k["read_bytes_per_step"] / 16), digits(k["written_bytes_per_step"] / 16),
                     f"{k['scaled_gb']:.2f}"])
    rest = s["gb"] - sum(k["scaled_gb"] for k in data["kernels"].values() if k["scaled_gb"] >= 0.05)
    rows.append(["all others", "", "", "", "", f"{rest:.2f}"])
    rows.append(["**sum**", s["launches"], "", "", "", f"**{s['gb']:.1f}**"])
    a, b = data["counted_on"], data["scaled_to"]
    text = (f"Counted on {data['structure']} ({a['atoms']} atoms, {a['edges']} edges, {a['angles']} angles), all in one tile, {data['precision']}; scaled to "
            f"{b['atoms']} atoms, {b['edges']} edges, {b['angle_edges']} angle edges and {b['angles']} angles (2PTC): **{s['gb']:.1f} GB**, {s['launches']:.0f} launches, {s['tflop']:.2f} TFLOP in products and "
            f"{s['activations'] / 1e9:.1f} G activations a step. At 3.35 TB/s (H100) the bytes alone would take {s['gb'] / 3.35:.1f} ms.")
    if "block_gb" in s:
        text += (f" Caches of multiprocessors fetch {s['block_gb']:.0f} GB (every address once for each block) to {s['phase_gb']:.0f} GB (once between two barriers), "
                 f"with {data['unit_shared'] // 1024} kB of shared memory a multiprocessor.")
    text += "\n\n"
    head = ["kernel", "launches", "per", "bytes read a layer", "bytes written a layer", "GB a step"]
    return text + table(head, rows) + f"\n[{name}](../benches/results/{name}), `cargo bench --features emulated --bench traffic`, {data['date']}, commit {data['commit']}.\n"


def instructions():
    data, name = latest("*-instructions.json")
    traffic, _ = latest("*-traffic.json")
    moved = {kernel: k["scaled_gb"] / 3.35 for kernel, k in traffic["kernels"].items()}
    rate = data["assumed"]["second_cache_bytes_per_s"] / 1e12
    text = ""
    for products, kernels in data["kernels"].items():
        pipes = ["issue", "fp32", "integer", "memory", "special", "tensor"]
        rows, total, together = [], 0.0, 0.0
        for kernel, k in kernels.items():
            ms, waits = k["milliseconds"], k["waits"]
            bound = max(ms.values())
            second = k["second_cache_gb"] / rate
            total += max(bound, moved[kernel], second)
            together += max(waits["together_ms"], moved[kernel], second)
            rows.append([f"`{kernel}`", k["registers"], *(f"{ms[p]:.1f}" for p in pipes), f"{moved[kernel]:.1f}", f"{second:.1f}", f"{waits['slowest_ms']:.1f}", waits["blocks"], f"{waits['together_ms']:.1f}"])
        rows.append(["**sum of the largest**", "", *[""] * (len(pipes) + 1), f"**{total:.1f}**", "", "", f"**{together:.1f}**"])
        text += f"`{products}`, 2PTC on an H100 SXM, ms a step that each unit alone would be busy, and with what waves wait for:\n\n"
        text += table(["kernel", "registers", "issue", "FP32", "integer", "L1 and shared", "special", "tensor", "device memory", "second cache", "slowest waves, alone", "blocks", "together"], rows) + "\n"
    return text + f"[{name}](../benches/results/{name}), `benches/gpu/instructions.py`, {data['date']}, {data['compiler']}; no kernel has run.\n"


def whole_steps():
    """Whole steps as instructions.py predicts them, beside what is wanted."""
    data, name = latest("*-instructions.json")
    whole = data["whole_steps"]
    rows = []
    for products, steps in whole["steps"].items():
        for protein, s in steps.items():
            least, most = (max(f[side] for f in s["scheduling"].values()) for side in (0, 1))
            # What bounds a kernel decides what may run beside it, so the second may be the smaller one.
            span = lambda *ends: " to ".join(dict.fromkeys(f"{end:.1f}" for end in sorted(ends)))
            rows.append([f"`{products}`", protein, s["atoms"], f"{least:.2f} to {most:.2f}", span(s["least_four_ms"], s["four_ms"]),
                         span(s["least_others_ms"], s["others_ms"]), f"{s['launches_ms']:.1f}", span(s["least_ms"], s["ms"]), span(s["least_two_streams_ms"], s["two_streams_ms"]), f"**{span(s['waited_least_ms'], s['waited_ms'])}**", s["target_ms"]])
    first = next(iter(next(iter(whole["steps"].values())).values()))
    head = ["products", "structure", "atoms", "largest factor of scheduling", "the four, ms", "other kernels", "launches", "in one stream, ms", "in two, ms", "with waits, ms", "target"]
    return "Predicted:\n\n" + table(head, rows) + (
        f"\n{first['launches']:.0f} launches a step ({first['launches_beside']:.0f} of them beside kernels of angles where there are two streams) at {1e6 * whole['launch_s']:g} us ([h100-80-pcie-host](../hardware-notes/machines/h100-80-pcie-host.toml): {whole['launch_source']}); bytes, FLOP and launches from "
        f"[{first['traffic']}](../benches/results/{first['traffic']}), the rest from [{name}](../benches/results/{name}).\n")


def stored():
    data, name = latest("*-store-drift.json")
    rows = [[f"`{form}`", f"{r['slope_eV_per_atom_per_ps']:.1e}", f"{r['span_ps']:g}", r["steps"], f"{r['mean_K']:.0f}"] for form, r in data["forms"].items()]
    return f"{data['system']}:\n\n" + table(["model and storage", "drift eV/atom/ps", "ps", "steps", "mean K"], rows) + f"\n[{name}](../benches/results/{name}), {data['date']}.\n"


def readme():
    found, peers = cases()
    data, _, rows = profile_rows()
    base = unlimited(data["profile"])
    of = lambda name: found[name]
    step = lambda name: f"{digits(of(name)['cpu_s'])} CPU-s ({digits(of(name)['wall_s'])} s wall), {gb(of(name)['peak_bytes'])} GB"
    yrf, water = peers[("3m.dp", "1YRF.extxyz")], peers[("3m.dp", "water_192.extxyz")]
    peer = lambda p: f"{digits(p['cpu_s_per_call'])} CPU-s ({digits(p['median_ms'] / 1e3)} s), {p['peak_rss_GB']:.1f} GB"
    planner = [r for r in rows if r["way"] == "planner" and r["budget"] != "100%"]
    worst = max(abs(r["predicted_s"] / r["measured_s"] - 1) for r in planner)
    out = [["1YRF (582 atoms), DPA-3.1-3M shape, f32", step("3m_1YRF"), peer(yrf)],
           ["the same, `--checkpoint every:4`", step("3m_1YRF_every4") + ", same bits", ""],
           ["the same, `--inside keep`", step("3m_1YRF_keep") + ", same bits", ""],
           ["water, 192 atoms, same model", step("3m_water_192"), peer(water)]]
    out += [[f"{n} ({int(of('3m_' + n)['atoms'])} atoms), same model", step("3m_" + n), ""] for n in ("1UBQ", "3LZM", "2PTC")]
    out.append(["2PTC with " + ", ".join(f"{r['hbm_bytes'] / data['profile']['unlimited_bytes']:.0%}" for r in planner) + " of its memory as fast memory, the rest in a slower tier",
                ", ".join(f"{r['measured_s'] / base:.2f}" for r in planner) + f" times the unlimited time, predicted within {100 * worst:.0f} %, same bits", ""])
    tiny = [found[k] for k in found if k.startswith("tiny_water")]
    span = [digits(f(r["cpu_us_per_atom"] for r in tiny)) for f in (min, max)]
    out.append([f"water, {int(min(r['atoms'] for r in tiny))} to {int(max(r['atoms'] for r in tiny))} atoms, `tiny` preset", f"{span[0]} to {span[1]} CPU-us per atom", ""])
    other, _ = lines("*-avx512-steps.jsonl")
    turns = by_turns(other)
    wide, narrow = ([digits(turns[name][used]) for name in ("3m_1YRF", "3m_1YRF_keep")] for used in ("avx512", "avx2"))
    out.append(["1YRF on 2 virtual cores of another host, a Xeon with AVX-512 (with `--inside keep`)",
                f"{wide[0]} CPU-s ({wide[1]}); by turns with it in AVX2 {narrow[0]} ({narrow[1]})", ""])
    run, _ = long_run()
    out.append(["the same in another hour: a run with nothing set, memory enough", f"{digits(run['run'])} CPU-s a step, {gb(run['bytes'])} GB; by turns, rebuilding {digits(run['rebuild'])}, `--inside keep` {digits(run['keep'])}", ""])
    out.append(["demo model, 192 atoms", f"{digits(of('demo_water_192')['cpu_s'])} CPU-s a step", ""])
    out += readme_rows(RESULTS)
    return table(["what (2 cores of an AMD EPYC Zen 3, a shared host; energy + forces + virial)", "Weir", "DeePMD-kit 3.2.0, same machine, 2 threads"], out)


def main():
    check = "--check" in sys.argv[1:]
    parts = {"cpu": cpu, "simd": simd, "spill": spill, "classes": classes, "traffic": traffic, "instructions": instructions, "whole_steps": whole_steps, "gpu": lambda: gpu(RESULTS), "doors": doors, "stored": stored, "results": readme, "proteins": proteins}
    made = {ROOT / "docs/performance-spill.svg": spill_picture(), ROOT / "docs/doors.svg": doors_picture(),
            **{ROOT / "docs" / name: picture for name, picture in gpu_pictures(RESULTS).items()},
            ROOT / "docs/gromacs-proteins.svg": proteins_picture(), ROOT / "docs/gromacs-native-energies.svg": native_picture()}
    for page in PAGES:
        text = (ROOT / page).read_text()
        for name, make in parts.items():
            begin = f"<!-- {name} -->\n"
            if begin in text:
                at = text.index(begin) + len(begin)
                text = text[:at] + make() + text[text.index("<!-- end -->", at):]
        made[ROOT / page] = text
    stale = [p for p, text in made.items() if not p.exists() or p.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'is not of benches/results; scripts/performance.py writes it' if check else 'written'}")
        if not check:
            path.write_text(made[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

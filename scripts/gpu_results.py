"""What docs/performance.md shows of a GPU, from the latest file of benches/gpu/check.sh. Used by performance.py."""

import json
import math
import sys
from pathlib import Path

from tables import WAYS, digits, gb, per_day, spill_curve, svg, table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benches/gpu"))
import targets  # noqa: E402

SPILL, BOXES = "performance-gpu-spill.svg", "performance-gpu-boxes.svg"
TITLES = {SPILL: "A step with less fast memory, predicted and measured", BOXES: "Time for an atom over atoms on one card"}


def reports(results):
    """Every report with its file's name, oldest first."""
    return [(json.loads(p.read_text()), p.name) for p in sorted(results.glob("*-gpu-check.json"))]


def device(data):
    return (data.get("device") or {}).get("device", "?")


def off(row):
    return targets.percent([targets.forecast(row)])


def fastest_peers(data):
    """Structure -> how often our step goes into that of the better of DeePMD-kit's forms that ran."""
    peers = {}
    for r in data.get("peer") or []:
        if "times_weir" in r:
            peers[r["structure"]] = min(r["times_weir"], peers.get(r["structure"], r["times_weir"]))
    return peers


def steps(data):
    peers, rows = fastest_peers(data), []
    for protein, r in (data.get("proteins") or {}).items():
        memory, peer = r["device_memory"] or {}, peers.get(protein)
        rows.append([protein, r["natoms"], f"{r['ms_per_step']:.2f}", digits(targets.per_atom(r)), per_day(r["ms_per_step"] / 1e3), r["launches"],
                     gb(r["peak_bytes"]["hbm"]), *(gb(memory[k]) if memory.get(k) is not None else "" for k in ("held_bytes", "used_bytes")), f"{peer:.0f}" if peer else "",
                     f"{r['ms_of_new_list']:.2f}" if "ms_of_new_list" in r else ""])
    return table(["structure", "atoms", "ms a step", "us/atom", "ns/day at 1 fs", "launches", "planner GB", "driver GB", "device GB", "times DeePMD-kit", "ms of a new list"], rows) if rows else ""


def arithmetics(data):
    rows = [[protein, f"`{r['precision']}`" + (f", {r['blocks']} blocks" if r.get("blocks") else "") + (", one stream" if r.get("streams") == 1 else ""), f"{r['ms_per_step']:.2f}", f"{r['force_error_eV_A']:.1e}"]
            for protein, all_ in (data.get("arithmetics") or {}).items() for r in all_ or [] if "ms_per_step" in r]
    return table(["structure", "precision", "ms a step", "force error, eV/A"], rows) if rows else ""


def budgets(data):
    rows = []
    for protein, all_ in (data.get("budgets") or {}).items():
        for r in all_ or []:
            if "ms_per_step" in r:
                rows.append([protein, r["budget"], f"{r['hbm_budget_bytes'] / 2**30:.2f} GiB", WAYS[r["way"]], f"{1e3 * r['plan']['predicted_seconds']:.2f}", f"{r['ms_per_step']:.2f}",
                             off(r), f"{r['times_unlimited']:.2f}", *(gb(sum(r["plan"][k].values())) for k in ("out_bytes", "in_bytes"))])
    return table(["structure", "budget", "fast memory", "how", "predicted ms", "measured ms", "off by", "times unlimited", "GB out", "GB in"], rows) if rows else ""


def limit(row):
    return f"{row['limit_bytes'] / 1e9:g} GB" if row["limit_bytes"] else "all that there is"


def boxes(data):
    rows = []
    for r in (data.get("boxes") or []) + (data.get("stored") or []):
        if "ms_per_step" in r:
            rows.append([r["natoms"], limit(r), r.get("store", "exact"), f"{r['ms_per_step']:.1f}", digits(targets.per_atom(r)), per_day(r["ms_per_step"] / 1e3),
                         off(r), gb(r["peak_bytes"]["hbm"]), f"{r['force_error_eV_A']:.1e}" if "force_error_eV_A" in r else ""])
    return table(["atoms of water", "fast memory", "stored", "ms a step", "us/atom", "ns/day at 1 fs", "forecast off by", "planner GB", "force error, eV/A"], rows) if rows else ""


def drift(data):
    rows = [[f"`{r['store']}`", f"{r['slope_eV_per_atom_per_ps']:.1e}", f"{r['span_ps']:g}", f"{r['mean_K']:.0f}"] for r in data.get("drift") or []]
    return table(["stored (shipped model, constant energy)", "drift eV/atom/ps", "ps", "mean K"], rows) if rows else ""


def classes(data):
    found = (data.get("profile") or {}).get("kernels")
    if not found:
        return ""
    share = lambda s: f"{100 * s / found['wall_s']:.0f} %"
    rows = [[f"**{c['name']}**", f"{1e3 * c['seconds']:.2f}", share(c["seconds"]), c["calls"] or ""] for c in found["classes"]]
    rows += [[f"`{k['name']}`", f"{1e3 * k['seconds']:.2f}", share(k["seconds"]), k["launches"]] for k in sorted(found["kernels"], key=lambda k: -k["seconds"])]
    return table(["class or kernel, queued piece by piece", "ms", "share", "launches"], rows)


def lammps(data):
    rows = [[name, r["atoms"], f"{r['ms_per_step_of_weir_md']:.2f}", f"{r['ms_per_step']:.2f}", f"{r['ms_per_step_new_list_every_ten']:.2f}", f"{r['ns_per_day']:.3g}", f"{r['ns_per_day_new_list_every_ten']:.3g}"]
            for name, r in (data.get("lammps") or {}).items()]
    head = ["in LAMMPS", "atoms", "ms a step of `weir md`", "ms a step, one list", "a new list every ten steps", "ns/day at 0.5 fs", "with new lists"]
    return table(head, rows) if rows else ""


def verdicts(data):
    return table(["target", "wanted", "found", ""], [[r["target"], r["wanted"], r["found"], targets.word(r["met"])] for r in targets.of(data)])


def readme_rows(results):
    """Rows of the README's table: what the latest report measured."""
    found = [r for r in reports(results) if r[0].get("proteins")]
    if not found:
        return []
    data, _ = found[-1]
    peers = fastest_peers(data)
    return [[f"{name} ({r['natoms']} atoms), DPA-3.1-3M shape, {r['precision']}, on one {device(data)}", f"{r['ms_per_step']:.2f} ms a step, {gb(r['peak_bytes']['hbm'])} GB",
             f"{peers[name]:.0f} times that, same card" if name in peers else ""] for name, r in data["proteins"].items()]


def gpu(results):
    found = reports(results)
    if not found:
        return "No GPU has been measured yet. `benches/gpu/check.sh` measures one; this table is made from its file.\n"
    out = ""
    for data, name in found:
        out += f"{device(data)}, [{name}](../benches/results/{name}):\n\n"
        out += "\n".join(t for t in (part(data) for part in (verdicts, steps, arithmetics, budgets, boxes, drift, classes, lammps)) if t) + "\n"
    out += "".join(f"![{TITLES[name]}]({name})\n\n" for name in gpu_pictures(results))
    return out.rstrip("\n") + "\n"


def gpu_pictures(results):
    """Name -> picture, of the latest report that has the figures."""
    out = {}
    for data, _ in reports(results):
        profile = data.get("profile")
        if profile:
            rows = [r for r in profile["profile"]["rows"] if not r["infeasible"]]
            out[SPILL] = spill_curve(profile["structure"], profile["profile"], rows)
        done = [r for r in data.get("boxes") or [] if "ms_per_step" in r]
        if len(done) > 1:
            out[BOXES] = box_curve(done, device(data))
    return out


def box_curve(rows, name):
    """Time for an atom over atoms (logarithmic): one line a memory limit."""
    w, h, left, low, top = 640, 320, 62, 44, 40
    ends = [f(math.log10(r["natoms"]) for r in rows) for f in (min, max)]
    most = 1.2 * max(map(targets.per_atom, rows))
    x = lambda n: left + (w - left - 40) * (math.log10(n) - ends[0]) / max(ends[1] - ends[0], 1e-9)
    y = lambda v: h - low - (h - low - top) * v / most
    out = svg(w, h, f'<text x="{left}" y="20" font-size="13">Water on one card: microseconds a step and atom ({name})</text>')
    step = next(k * 10.0**e for e in range(-3, 7) for k in (1, 2, 5) if most / (k * 10.0**e) <= 8)
    for k in range(int(most / step) + 1):
        out.append(f'<path d="M{left} {y(k * step):.1f}H{w - 20}" stroke="#ddd"/><text x="{left - 6}" y="{y(k * step) + 4:.1f}" text-anchor="end">{k * step:g}</text>')
    for k, (most_bytes, colour) in enumerate(zip(dict.fromkeys(map(limit, rows)), ("#2e7d32", "#4a6fa5"))):
        mine = sorted((r for r in rows if limit(r) == most_bytes), key=lambda r: r["natoms"])
        points = [(x(r["natoms"]), y(targets.per_atom(r))) for r in mine]
        out.append(f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{colour}"/>' for a, b in points]
        out.append(f'<text x="{w - 40}" y="{top + 14 * k}" text-anchor="end" fill="{colour}">{most_bytes}</text>')
    for r in rows:
        out.append(f'<text x="{x(r["natoms"]):.1f}" y="{h - low + 16}" text-anchor="middle" font-size="9">{r["natoms"]}</text>')
    out.append(f'<text x="{w / 2}" y="{h - 8}" text-anchor="middle">atoms</text>')
    return "\n".join(out + ["</svg>"]) + "\n"

"""Targets of the GPU backend: what a report found of each, and whether that is enough. Used by check.py
and scripts/performance.py. A target that a report has no figures for is unmeasured, never met. Standard library only."""

import json

from program import ROOT

# Milliseconds a step on an H100; other cards are held against them too, and their name stands beside.
MILLISECONDS = {"1YRF": 4, "1UBQ": 8, "3LZM": 18, "2PTC": 28}
# Atoms whose states all stay in 80 GB, and those of which some are rebuilt there.
KEPT, REBUILT = (10_000, 42_000), (75_000, 160_000)


def flop_of():
    """FLOP of 2PTC for each of its atoms over FLOP of water, from what the emulated device counted; 1 where nothing is stored."""
    files = sorted((ROOT / "benches/results").glob("*-traffic.json"))
    if not files:
        return 1.0
    counted = json.loads(files[-1].read_text())
    key = {"atom": "atoms", "edge": "edges", "angle edge": "angle_edges", "angle": "angles"}
    of = lambda c: sum(k["flop_per_step"] * c[key[k["per"]]] for k in counted["kernels"].values()) / c["atoms"]
    return of(counted["scaled_to"]) / of(counted["counted_on"])


def row(what, wanted, found, met):
    """One target: `met` is none where nothing was measured."""
    return {"target": what, "wanted": wanted, "found": found, "met": met}


def unmeasured(what, wanted):
    return row(what, wanted, "", None)


def speeds(report):
    for name, most in MILLISECONDS.items():
        got = (report.get("proteins") or {}).get(name)
        what, wanted = f"{name}, ms a step", f"at most {most:g}"
        # Beside it what computes steps beyond the range of halves, and is as exact.
        other = of_precision(report, name).get("tf32x3")
        beside = f" ({other['ms_per_step']:.2f} in tf32x3)" if other else ""
        yield row(what, wanted, f"{got['ms_per_step']:.2f}{beside}", got["ms_per_step"] <= most) if got else unmeasured(what, wanted)


def memory(report):
    got = (report.get("proteins") or {}).get("2PTC")
    what, wanted = "2PTC, GB of the planner's peak", "at most 7"
    if not got:
        return unmeasured(what, wanted)
    device = got["device_memory"] or {}
    beside = ", ".join(f"{name.removesuffix('_bytes')} {value / 1e9:.2f}" for name, value in device.items() if value)
    return row(what, wanted, f"{got['peak_bytes']['hbm'] / 1e9:.2f} ({beside})", got["peak_bytes"]["hbm"] <= 7e9)


def proteins(report):
    """All four, or none."""
    found = report.get("proteins") or {}
    return [found[name] for name in MILLISECONDS] if all(name in found for name in MILLISECONDS) else []


def launches(report):
    what, wanted, found = "kernels a step, of four proteins", "at most 300", [got["launches"] for got in proteins(report)]
    return row(what, wanted, str(max(found)), max(found) <= 300) if all(found) and found else unmeasured(what, wanted)


def of_precision(report, name):
    """Rows of a protein in every arithmetic, with blocks and streams as they are by themselves."""
    rows = (report.get("arithmetics") or {}).get(name) or []
    return {r["precision"]: r for r in rows if "force_error_eV_A" in r and not r.get("blocks") and not r.get("streams")}


def errors(report):
    """Force error of what f32 models are computed with over that of plain f32; beside it that of tf32x3."""
    what, wanted = "force error of f16x3 over that of f32, four proteins", "at most 2"
    halves, three = over_single(report, "f16x3"), over_single(report, "tf32x3")
    if not halves:
        return unmeasured(what, wanted)
    shown = lambda ratios: ", ".join(f"{r:.2f}" for r in ratios)
    return row(what, wanted, shown(halves) + (f" (tf32x3: {shown(three)})" if three else ""), max(halves) <= 2)


def over_single(report, precision):
    """Force error over that of plain f32 of each protein; none where one was not measured."""
    pairs = [(rows.get(precision), rows.get("f32")) for rows in (of_precision(report, name) for name in MILLISECONDS)]
    if not all(p and f and f["force_error_eV_A"] for p, f in pairs):
        return None
    return [p["force_error_eV_A"] / f["force_error_eV_A"] for p, f in pairs]


def per_atom(row):
    return 1e3 * row["ms_per_step"] / row["natoms"]


def forecast(row):
    """Predicted over measured time of a step."""
    return 1e3 * row["plan"]["predicted_seconds"] / row["ms_per_step"]


def by_rates(rows):
    """Whether forecasts went by rates that were measured on this device; others are no test of the planner."""
    return bool(rows) and all(r["plan"].get("rates_measured") for r in rows)


def near(ratios):
    return all(abs(r - 1) <= 0.2 for r in ratios)


def percent(ratios):
    return ", ".join(f"{100 * (r - 1):+.0f} %" for r in ratios)


def boxes(report):
    # The first rows are in the memory of one card of 80 GB.
    rows = report.get("boxes") or []
    done = [r for r in rows if "ms_per_step" in r and r["limit_bytes"] == rows[0]["limit_bytes"]]
    kept, rebuilt = ([r for r in done if low <= r["natoms"] <= high] for low, high in (KEPT, REBUILT))
    what, wanted = "water, 10 000 to 40 000 atoms, us an atom, then 2PTC's by FLOP", "within 15 % of each other"
    protein = (report.get("proteins") or {}).get("2PTC")
    if len(kept) >= 3 and protein:
        all_ = [per_atom(r) for r in kept] + [per_atom(protein) / flop_of()]
        remark = "" if not any(r["plan"]["states"].get("rebuilt") for r in kept) else " (some rebuild)"
        yield row(what, wanted, ", ".join(f"{x:.2f}" for x in all_) + remark, max(all_) <= 1.15 * min(all_))
    else:
        yield unmeasured(what, wanted)
    what, wanted = "water, 80 000 and 150 000 atoms, time an atom over that", "at most 1.6"
    refused = [r for r in rows if "lacks" in r.get("refused", "") and r["limit_bytes"] == rows[0]["limit_bytes"] and atoms_of(r) <= REBUILT[1]]
    if refused:
        yield row(what, wanted, ", ".join(f"{atoms_of(r)} atoms do not fit" for r in refused), False)
    elif len(kept) >= 3 and len(rebuilt) >= 2:
        base = sum(map(per_atom, kept)) / len(kept)
        over = [per_atom(r) / base for r in rebuilt]
        yield row(what, wanted, ", ".join(f"{x:.2f}" for x in over), max(over) <= 1.6)
    else:
        yield unmeasured(what, wanted)
    what, wanted = "the same, predicted over measured", "within 20 %"
    if len(rebuilt) >= 2 and by_rates(rebuilt):
        yield row(what, wanted, percent(map(forecast, rebuilt)), near(map(forecast, rebuilt)))
    else:
        yield unmeasured(what, wanted)


def atoms_of(box):
    a, b, c = box["times"]
    return 192 * a * b * c


def wrong(row):
    """Whether a row of budgets tells of a fault: other bits, more memory than it was given, an error that no lack of memory explains."""
    return not row.get("same_bits", True) or not row.get("within_budget", True) or ("error" in row and not row.get("expected"))


def spills(report):
    """The planner's choice under a quarter and under the least, and what was kept elsewhere because it had to be."""
    found = {name: rows or [] for name, rows in (report.get("budgets") or {}).items()}
    of = lambda ways, budgets: [r for rows in found.values() for r in rows if r["way"] in ways and r.get("budget") in budgets and "ms_per_step" in r]
    # Every way and budget of every protein, run or rightly refused.
    done = lambda r: "ms_per_step" in r or bool(r.get("expected"))
    complete = all(sum(map(done, found.get(name, []))) == 9 for name in MILLISECONDS)
    faults = any(wrong(r) for rows in found.values() for r in rows)
    quarter, planned = of(["planner"], ["25%"]), of(["planner"], ["25%", "smallest"])
    # A budget that holds everything forces nothing.
    forced = [r for r in of(["spill"], ["50%", "25%", "smallest"]) if sum(r["plan"]["out_bytes"].values())]
    over = [r["times_unlimited"] for r in quarter]
    for what, wanted, there, show, good in (
        ("a quarter of the memory, time over unlimited", "at most 1.5", quarter, ", ".join(f"{x:.2f}" for x in over), max(over, default=0) <= 1.5),
        ("a quarter and the least, predicted over measured", "within 20 %", by_rates(planned), percent(map(forecast, planned)), near(map(forecast, planned))),
        ("forced spill, predicted over measured", "within 20 %", by_rates(forced), percent(map(forecast, forced)), near(map(forecast, forced))),
    ):
        yield row(what, wanted, show, good and not faults) if (complete or faults) and there else unmeasured(what, wanted)


def peers(report):
    for name in ("1YRF", "1UBQ"):
        times = {r["form"]: r["times_weir"] for r in report.get("peer") or [] if r.get("structure") == name and "times_weir" in r}
        what, wanted = f"{name}, times DeePMD-kit's better form (frozen, eager)", "at least 30"
        both = {"pth", "eager"} <= set(times)
        yield row(what, wanted, f"{min(times.values()):.0f}", min(times.values()) >= 30) if both else unmeasured(what, wanted)


def of(report):
    """Every target."""
    return [*speeds(report), memory(report), launches(report), errors(report), *boxes(report), *spills(report), *peers(report)]


def word(met):
    return {True: "met", False: "missed", None: "unmeasured"}[met]


def text(rows):
    """A line each."""
    return "".join(f"{word(r['met']):<11}{r['target']}: {r['found'] or '-'} (wanted: {r['wanted']})\n" for r in rows)

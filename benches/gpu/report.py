"""The file that check.sh writes: its parts, and how several become one. Standard library only."""

import json
from pathlib import Path

import targets
from program import Failed

# Of a report, in this order; a lease that is shorter than all of them takes some at a time.
PARTS = ("verified", "sanitizer", "parity", "repeat", "proteins", "counters", "profile", "boxes", "budgets", "lammps", "arithmetics", "stored", "drift", "peer")
# Form of the report.
VERSION = 2


def fuller(a, b):
    """Of two parts that were cut short the one with more in it, structure by structure where it has such."""
    if isinstance(a, dict) and isinstance(b, dict):
        return {k: fuller(a.get(k), b.get(k)) for k in a | b}
    return max(a, b, key=lambda x: len(json.dumps(x)))


def merged(files, out):
    """One report of several, each with parts of its own; failures and what was left out add up. A part that is whole takes the place of one that was
    cut short."""
    reports = [json.loads(Path(f).read_text()) for f in files]
    if other := [f for f, r in zip(files, reports) if r.get("version") != VERSION]:
        raise Failed(f"{other[0]} is not of version {VERSION}")
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
        for name in PARTS:
            if name in report["parts"]:
                whole[name] = report[name]
            elif name not in whole["parts"] and report.get(name):
                whole[name] = fuller(whole.get(name), report[name])
        if report.get("rates") and (not whole.get("rates") or {"boxes", "budgets", "stored"} & set(report["parts"])):
            whole["rates"] = report["rates"]
        for name in ("failures", "parts"):
            whole[name] = whole[name] + report[name]
        whole["seconds"] += report["seconds"]
    # What is missing of a part in one file is no matter where the part is whole in another.
    lines = [(line, line.split(":")[0], r["parts"]) for r in reports for line in r["left_out"]]
    whole["left_out"] = [line for line, name, own in lines if name in own or name not in whole["parts"]]
    whole["targets"] = [] if whole["smoke"] else targets.of(whole)
    Path(out).write_text(json.dumps(whole, indent=1) + "\n")

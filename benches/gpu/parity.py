"""Results of a device beside DeePMD-kit's recorded ones. Standard library only."""

import json
import tempfile
from pathlib import Path

from program import ROOT, SHARED, extxyz, flat, largest, tensors

QUANTITIES = {"energy": "energy", "atom_energy": "atomic_energy", "force": "forces", "virial": "virial", "atom_virial": "atomic_virial"}


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
    rows, own, widened = [], None, 0
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
            # An f32 model's own arithmetic is by matrix units where the chip has them; tf32x3, which steps beyond its range are computed by, is compared too.
            others = ["tf32x3"] if own == "f16x3" else []
            for precision in dict.fromkeys(["f64", "f32", own, *others] if single else ["f64"]):
                (got,) = weir.eval(folder / "model.dp", structure, "--precision", precision, *more)
                widened += got["widened_steps"]
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
    worst = {p: max((r[3] for r in rows if r[1] == p and r[2] == "force"), default=None) for p in ("f64", "f32", "tf32x3", "f16x3")}
    return {"model": folder.name, "comparisons": len(rows), "largest_force_difference_eV_A": worst, "beyond_bound": bad, "widened_steps": widened}


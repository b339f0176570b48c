"""Other programs on the same card: DeePMD-kit, and LAMMPS with Weir in it. Standard library only."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from program import ROOT, SHARED, Failed

sys.path.insert(0, str(ROOT / "benches"))
import lammps as client  # noqa: E402

# fs, for forecasts in ns/day: what one takes for water and proteins.
TIMESTEP = 0.5


def peer(python, weir, folder, model, structures, ours):
    """DeePMD-kit on the same card, row by row: the frozen and the eager form of one model; how often Weir's step goes into its call."""
    script = SHARED / "bench/deepmd_peer.py"
    # Its first call compiles for minutes.
    run = lambda *command: weir.finished([python, *command], patience=1800)
    if not script.is_file():
        raise Failed(f"{script} is not there (set WEIR_SHARED)")
    if shutil.which(python) is None or run("-c", "import deepmd, torch").returncode != 0:
        raise Failed(f"{python} has no deepmd and torch (get_wheels.sh beside the script brings them)")
    # The setting decides what its products cost.
    tf32 = run("-c", "import torch; print(torch.backends.cuda.matmul.allow_tf32)").stdout.strip()
    forms, frozen = {"eager": model}, folder / "big.pth"
    try:
        done = run("-m", "deepmd", "convert-backend", model, frozen)
        if done.returncode == 0 and frozen.is_file():
            forms["pth"] = frozen
        else:
            yield {"form": "pth", "error": (done.stderr.strip().splitlines() or ["no word"])[-1]}
    except subprocess.TimeoutExpired as error:
        # The eager form is measured all the same.
        yield {"form": "pth", "error": str(error)}
    for name, path in structures.items():
        for form, file in forms.items():
            row = {"structure": name, "form": form, "torch_allow_tf32": tf32}
            try:
                done = run(script, file, path, "--profile")
                row.update(json.loads(done.stdout.strip().splitlines()[-1]))
                if name in ours and "median_ms" in row:
                    row["ms_per_step"] = row["median_ms"]
                    row["times_weir"] = row["median_ms"] / ours[name]["ms_per_step"]
            except subprocess.TimeoutExpired as error:
                row["error"] = str(error)
            except (IndexError, ValueError) as error:
                row["error"] = f"{type(error).__name__}: {done.stderr.strip()[-300:]}"
            yield row


def executable(clients):
    """LAMMPS in the folder of tests/clients/lammps.sh, or in one that `packed` has made."""
    found = [clients / "lmp", *clients.glob("v/lib/python*/site-packages/lammps/lmp"), clients / "v/bin/lmp"]
    for path in found:
        if path.is_file():
            return path
    raise Failed(f"{clients}: there is no LAMMPS ({' nor '.join(map(str, found))})")


def packed(clients, out):
    """LAMMPS, the libraries that it brings along and the plugin in a folder that can be carried to a machine without a network."""
    lmp = executable(clients)
    for folder in ("lib", "plugin"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    where = os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(map(str, clients.glob("v/lib")))}
    told = subprocess.run(["ldd", str(lmp)], env=where, capture_output=True, text=True, check=True).stdout
    for name, path in re.findall(r"^\s*(\S+) => (/\S+)", told, re.M):
        # Others are the system's.
        if clients in Path(path).resolve().parents:
            shutil.copy(path, out / "lib" / name)
            subprocess.run(["strip", str(out / "lib" / name)], capture_output=True)
    shutil.copy(lmp, out / "lmp")
    for path in (clients / "plugin").glob("*.so"):
        shutil.copy(path, out / "plugin")


def lammps(clients, weir, backend, folder, model, path, steps):
    """Steps inside LAMMPS, with one list all along and with a new one every ten, beside `weir md`. Atoms hardly move, so the model may be any."""
    lmp = executable(clients)
    if not (clients / "plugin/libdeepmd_c.so").is_file():
        raise Failed(f"{clients}/plugin: dpplugin.so and libdeepmd_c.so are looked for there (tests/clients/lammps.sh makes both)")
    libraries = [str(clients / "lib"), str(clients / "v/lib"), weir.environment.get("LD_LIBRARY_PATH")]
    # Whatever computes here computes there: a client that finds no device would take the CPU.
    where = {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)), "WEIR_BACKEND": backend}
    out = {"steps": steps, "timestep_fs": TIMESTEP, "ms_per_step_of_weir_md": 1e3 * weir.step(folder, model, path, steps)}
    with tempfile.TemporaryDirectory() as scratch:
        atoms, elements, periodic = client.data(Path(scratch), path)
        out["atoms"] = atoms
        for name, every in (("", 1_000_000), ("_new_list_every_ten", 10)):
            more = f"neigh_modify every {every} delay 0 check no"
            text = client.commands(clients / "plugin", model, steps, elements, periodic, kelvin=1, fs=0.01, more=more)
            (Path(scratch) / "in.gpu").write_text(text)
            done = weir.finished([lmp, "-in", "in.gpu", "-log", "none"], cwd=scratch, env=weir.client() | where)
            if done.returncode or "Loop time" not in done.stdout:
                told = (done.stdout + done.stderr).strip().splitlines()
                raise Failed(next((line for line in told if "ERROR" in line), (told or ["no word"])[-1]))
            found = client.timed(done.stdout, steps)
            out[f"ms_per_step{name}"] = 1e3 * found["s"]
            out[f"pair_ms{name}"] = 1e3 * found["pair_s"]
            out[f"list_ms{name}"] = 1e3 * found["list_s"]
            out[f"ns_per_day{name}"] = 86400e-6 * TIMESTEP / found["s"]
    return out

"""Steps on a GPU: behind a stand-in for CUDA's libraries (backends/stand-in), which the tests of the workspace build."""

import os
from pathlib import Path

from case import MODELS, ROOT, WORK, case
from start import good
from write import START, data, head


def door():
    """Variables that lead to the stand-in; none where its parts are not there."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    library = target.resolve() / "debug/deps/libweir_stand_in.so"
    nvrtc = [Path(p) / "nvidia/cuda_nvrtc/lib/libnvrtc.so.12" for p in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    nvrtc = next((p for p in nvrtc if p.is_file()), None)
    if nvrtc is None or not library.is_file():
        assert os.environ.get("KERNEL_COMPILERS") != "required", f"{library} or NVRTC on PYTHONPATH is not there"
        return None
    place = WORK / "stand-in"
    for folder, name in (("lib", "libcuda.so.1"), ("cuda/lib64", "libnvrtc.so.12")):
        (place / folder).mkdir(parents=True, exist_ok=True)
        (place / folder / name).symlink_to(library)
    # Comparing the image with the CPU would take longer than all that is done with it.
    return {"WEIR_BACKEND": "cuda", "WEIR_VERIFY": "never", "WEIR_CACHE_DIR": f"{place}/kept", "CUDA_HOME": f"{place}/cuda", "STAND_IN_NVRTC": str(nvrtc),
            "STAND_IN_FOLDER": str(place), "STAND_IN_CALLS": f"{place}/calls", "LD_LIBRARY_PATH": f"{place}/lib"}


@case
def a_step_on_a_gpu_is_one_launch_whoever_made_its_list():
    env = door()
    if env is None:
        return "skipped: needs cargo test --workspace --test gpu_commands, and scripts/kernel_compilers.sh on PYTHONPATH"
    steps = 12
    text = head(data("gpu"), model=MODELS / "tiny.dp") + START + "neigh_modify every 4 delay 0 check no\nfix 1 all nve\nthermo 1\n" + f"run {steps}\n"
    there, here = good("gpu", text, env=env), good("beside_gpu", text)
    off = max(abs(a["E_pair"] - b["E_pair"]) for a, b in zip(there, here))
    assert len(there) == len(here) == steps + 1 and off < 1e-8, f"energies differ by {off:.1e} eV"
    calls = dict(line.split() for line in Path(env["STAND_IN_CALLS"]).read_text().splitlines())
    # The first call is queued piece by piece, the second is recorded.
    assert int(calls["cuGraphLaunch"]) == steps, calls
    assert (int(calls["cuMemAlloc_v2"]), calls["cuMemHostAlloc"]) == (int(calls["cuMemFree_v2"]), calls["cuMemFreeHost"]), calls
    return f"energies differ by {off:.1e} eV"

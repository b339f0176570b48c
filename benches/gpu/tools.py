"""The vendor's own tools on Weir's kernels. Standard library only."""

import shutil

from program import TROUBLE

CHECKS = ("memcheck", "racecheck", "initcheck", "synccheck")
# Launches of two layers of a step that has been warm for one.
SKIPPED, LOOKED_AT = 40, 8


def sanitized(weir, structure, models):
    """compute-sanitizer on evaluations of each (model, precision): arrays beyond their ends, races in shared memory, memory that nobody wrote, barriers."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return {"installed": False}
    out = {"installed": True}
    for model, precision in models:
        of = out[f"{model.parent.name} {precision}"] = {}
        for check in CHECKS:
            prefix = (tool, "--tool", check, "--error-exitcode", "9")
            command = ("eval", model, structure, "--json", "-", "-q", "--precision", precision)
            try:
                done = weir.run(*command, prefix=prefix, environment={"WEIR_VERIFY": "never"})
            except TROUBLE as error:
                of[check] = {"passed": False, "code": None, "last": [str(error)]}
                continue
            lines = [l for l in (done.stdout + done.stderr).splitlines() if "=====" in l]
            of[check] = {"passed": done.returncode == 0, "code": done.returncode, "last": lines[-3:]}
            if any("not supported" in l for l in lines):
                # By the machine, not by the kernels: a virtual one may keep the tool out.
                of[check]["passed"] = None
    return out


def counters(weir, model, structure):
    """Nsight Compute's counters of the four hot kernels: what waves wait for, what first caches miss, how their memory was divided."""
    tool = shutil.which("ncu")
    if tool is None:
        return {"installed": False}
    prefix = (tool, "--clock-control", "none", "--set", "full", "--csv", "--page", "raw", "-k", "regex:^(edge|angle)_(forward|backward)",
              "--launch-skip", str(SKIPPED), "--launch-count", str(LOOKED_AT))
    environment = {"WEIR_GRAPH": "off", "WEIR_STREAMS": "1", "WEIR_VERIFY": "never"}
    done = weir.run("eval", model, structure, "--json", "-", "-q", prefix=prefix, environment=environment)
    lines = [l for l in done.stdout.splitlines() if l.startswith('"')]
    return {"installed": True, "code": done.returncode, "csv": lines, "last": (done.stdout + done.stderr).splitlines()[-3:] if not lines else []}

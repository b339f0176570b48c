"""The device while it is checked: kept awake, its clocks, and what is asked of it where the first evaluation fails. Standard library only."""

import ctypes
import shutil
import subprocess
import sys
import time

from program import TROUBLE

# Loads a driver where nobody holds the device: one to three seconds, for each of more than a hundred commands.
HOLDS = """
import ctypes, sys, time
cuda, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
sys.exit(1) if cuda.cuInit(0) or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) else time.sleep(float(sys.argv[1]))
"""
CLOCKS = "name,clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,temperature.gpu,persistence_mode,clocks_event_reasons.active"
# Settings of the evaluation that a device failed at, from what leaves out most of what may be wrong to all of it.
RUNGS = {
    "uncompared": {"WEIR_VERIFY": "never"},
    "one launch after the other": {"WEIR_VERIFY": "never", "WEIR_GRAPH": "off", "WEIR_STREAMS": "1"},
    "each launch waited for": {"WEIR_VERIFY": "never", "WEIR_GRAPH": "off", "WEIR_STREAMS": "1", "CUDA_LAUNCH_BLOCKING": "1"},
}


class Held:
    """A context of the first CUDA device in a process of its own, so long as this object lives. Where there is none, nothing."""

    def __init__(self, seconds):
        self.child = None
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return
        none = subprocess.DEVNULL
        self.child = subprocess.Popen([sys.executable, "-c", HOLDS, str(seconds)], stdin=none, stdout=none, stderr=none)
        time.sleep(1)

    def __bool__(self):
        return self.child is not None and self.child.poll() is None

    def let_go(self):
        if self.child is not None:
            self.child.kill()
            self.child.wait()


def clocks():
    """What nvidia-smi tells of them now; none where it is not there or does not know."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run([tool, f"--query-gpu={CLOCKS}", "--format=csv,noheader"], capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return None
    values = [v.strip() for v in done.stdout.splitlines()[0].split(",")] if done.returncode == 0 and done.stdout.strip() else []
    names = CLOCKS.split(",")
    return dict(zip(names, values)) if len(values) == len(names) else None


def ladder(weir, structure, models):
    """The evaluation that failed, step by step: each model, precision by precision and rung by rung, with all that was said."""
    rows = []
    for model, precisions in models:
        for precision in precisions:
            for name, environment in RUNGS.items():
                row = {"model": model.parent.name, "precision": precision, "how": name}
                try:
                    done = weir.run("eval", model, structure, "--precision", precision, "--json", "-", environment=environment)
                    row |= {"code": done.returncode, "said": done.stderr[-4000:], "gave": done.stdout[:2000]}
                except TROUBLE as error:
                    row |= {"code": None, "said": str(error)}
                rows.append(row)
                if row["code"] == 0:
                    # What leaves in more is the next question.
                    break
    return rows

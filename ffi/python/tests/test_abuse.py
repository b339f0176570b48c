"""Bad input, threads, forks, interrupts: clear errors, right numbers, nothing that hangs."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import MODEL, molecule, water

import weir

TYPES = [0, 1, 1]


def test_missing_and_wrong_model_files(tmp_path):
    with pytest.raises(weir.ModelNotFoundError, match="nowhere.dp") as caught:
        weir.DeepPot(tmp_path / "nowhere.dp")
    assert isinstance(caught.value, FileNotFoundError)
    (tmp_path / "wrong.dp").write_bytes(b"no model")
    with pytest.raises(weir.ModelError, match="wrong.dp"):
        weir.Calculator(tmp_path / "wrong.dp")
    with pytest.raises(weir.ModelError):
        weir.heads(tmp_path / "wrong.dp")
    with pytest.raises(TypeError):
        weir.DeepPot(3)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(coords=np.zeros((1, 8))), "no whole number of frames of 3 atoms"),
        (dict(coords=[["a"] * 9]), "no array of real numbers"),
        (dict(coords=np.zeros((1, 9), complex)), "no array of real numbers"),
        (dict(coords=[[0.0], [1.0, 2.0]]), "no array of real numbers"),
        (dict(cells=np.eye(3)[:2]), "9 are needed"),
        (dict(atom_types=[0, 1, 2]), "type 2, but the model has 2 types: O H"),
        (dict(atom_types=[0, 1, 1.5]), "1.5 is no whole number"),
        (dict(atom_types=[0, 1, 2**40]), "no whole number of 32 bits"),
        (dict(atom_types=[0, 1, float("nan")]), "no whole number"),
        (dict(atom_types=[[[0, 1, 1]]]), "atom_types of shape"),
        (dict(atom_types=TYPES, mixed_type=True), r"\(nframes, natoms\) is needed"),
        (dict(atom_types=[TYPES, TYPES]), "coords of 0 frames|no whole number|coords of 1 frames|2"),
        (dict(fparam=[1.0]), "takes no frame parameters"),
        (dict(aparam=[1.0]), "takes no atomic parameters"),
        (dict(charge_spin=[0, 1]), "neither charge nor spin"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(deep_pot, change, message):
    given = dict(coords=molecule().positions, cells=None, atom_types=TYPES)
    with pytest.raises(weir.ArgumentError, match=message):
        deep_pot(threads=1).eval(**{**given, **change})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_positions_that_are_no_places_are_refused_and_the_handle_lives_on(deep_pot, value):
    dp = deep_pot()
    x = np.array([molecule(k).positions for k in range(4)])
    whole = dp.eval(x, None, TYPES)
    broken = x.copy()
    broken[2, 1, 0] = value
    with pytest.raises(weir.ComputeError, match="frame 2: coordinate x of atom 1") as caught:
        dp.eval(broken, None, TYPES)
    # What came before is not lost.
    assert caught.value.frame == 2
    assert all(np.array_equal(a, b[:2]) for a, b in zip(caught.value.computed, whole))
    assert all(np.array_equal(a, b) for a, b in zip(dp.eval(x, None, TYPES), whole))


def test_coincident_atoms_and_flat_cells_are_refused(deep_pot):
    dp = deep_pot()
    with pytest.raises(weir.ComputeError, match="atoms 1 and 2 coincide"):
        dp.eval([[0, 0, 0, 1, 0, 0, 1, 0, 0]], None, TYPES)
    with pytest.raises(weir.ComputeError, match="cell has volume"):
        dp.eval(molecule().positions, np.zeros(9), TYPES)
    with pytest.raises(weir.ComputeError, match="cell has volume"):
        dp.eval(molecule().positions, np.full(9, np.nan), TYPES)


def test_any_kind_of_array_is_taken(deep_pot):
    dp = deep_pot()
    x = np.round(water().positions, 2)[None]
    box = water().cell.array[None]
    types = [dp.get_type_map().index(s) for s in water().symbols]
    expected = dp.eval(x, box, types)
    kinds = (np.asfortranarray(x), np.repeat(x, 2, axis=2)[:, :, ::2], x[:, ::-1][:, ::-1], x.tolist(), x.astype(">f8"))
    for again in kinds:
        assert all(np.array_equal(a, b) for a, b in zip(dp.eval(again, box, types), expected))
    read_only = x.copy()
    read_only.flags.writeable = False
    assert np.array_equal(dp.eval(read_only, box, np.array(types, np.int8))[1], expected[1])
    single = x.astype(np.float32)
    assert np.array_equal(dp.eval(single, box, types)[1], dp.eval(single.astype(float), box, types)[1])
    whole = np.array([[0, 0, 0, 1, 0, 0, 0, 1, 0]], np.int32)
    assert np.array_equal(dp.eval(whole, None, TYPES)[0], dp.eval(whole.astype(float), None, np.array(TYPES, np.int64))[0])


def test_nothing_virtual_and_single_atoms(deep_pot, calculator):
    dp = deep_pot()
    e, f, v, ae, av = dp.eval(np.zeros((2, 0, 3)), None, [], atomic=True)
    assert (e.shape, f.shape, v.shape, ae.shape, av.shape) == ((2, 1), (2, 0, 3), (2, 9), (2, 0, 1), (2, 0, 9))
    assert not e.any()
    assert [a.shape for a in dp.eval(np.zeros((0, 9)), None, TYPES)] == [(0, 1), (0, 3, 3), (0, 9)]
    e, f, v = dp.eval(molecule().positions, None, [-1, -1, -7])
    assert not (e.any() or f.any() or v.any())
    e, f, v = dp.eval([0.0, 0, 0], None, [0])
    assert np.isfinite(e).all() and not f.any()
    from ase import Atoms

    nothing = Atoms()
    nothing.calc = calculator()
    assert nothing.get_potential_energy() == 0 and nothing.get_forces().shape == (0, 3)


def test_threads_share_a_handle(deep_pot):
    dp = deep_pot(threads=1)
    kinds = [(TYPES, molecule(k).positions) for k in range(6)] + [([0], np.zeros((1, 3))), ([1, 0, 1], molecule(9).positions[[1, 0, 2]])]
    expected = [dp.eval(x, None, t) for t, x in kinds]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(dp.eval, kinds[k % 8][1], None, kinds[k % 8][0]) for k in range(64)]
        for k, job in enumerate(jobs):
            assert all(np.array_equal(a, b) for a, b in zip(job.result(timeout=120), expected[k % 8]))


def test_the_interpreter_is_free_while_weir_computes(deep_pot):
    dp = deep_pot(precision="f64", threads=1)
    x, box = water().positions[None], water().cell.array[None]
    types = [dp.get_type_map().index(s) for s in water().symbols]
    x = np.repeat(x, 12, axis=0)
    done, turns = threading.Event(), 0
    worker = threading.Thread(target=lambda: (dp.eval(x, np.repeat(box, 12, axis=0), types), done.set()))
    worker.start()
    while not done.wait(0.001):
        turns += 1
    worker.join()
    assert turns > 10


def test_deleting_while_another_thread_computes(deep_pot):
    x = np.repeat(molecule().positions[None], 200, axis=0)
    expected = deep_pot().eval(x[:1], None, TYPES)[0][0, 0]
    dp, found = deep_pot(threads=1), []
    evaluate = dp.eval
    worker = threading.Thread(target=lambda: found.append(evaluate(x, None, TYPES)[0]))
    worker.start()
    del dp, evaluate
    gc.collect()
    worker.join()
    assert (found[0] == expected).all()


def in_child(queue, dp, x):
    queue.put(dp.eval(x, None, TYPES)[0][0, 0])


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_other_processes_compute_the_same(deep_pot, way):
    dp = deep_pot(threads=2)
    x = molecule().positions
    expected = dp.eval(x, None, TYPES)[0][0, 0]
    context = multiprocessing.get_context(way)
    queue = context.Queue()
    child = context.Process(target=in_child, args=(queue, dp, x))
    child.start()
    assert queue.get(timeout=120) == expected
    child.join(timeout=60)
    assert child.exitcode == 0
    assert dp.eval(x, None, TYPES)[0][0, 0] == expected


def test_a_forked_child_ends_by_itself():
    text = f"""
import os, sys, numpy as np, weir
x = np.array([[0.0, 0, 0, 0.96, 0, 0, -0.24, 0.93, 0]])
dp = weir.DeepPot({str(MODEL)!r}, backend="cpu", threads=2)
dp.eval(x, None, [0, 1, 1])
child = os.fork()
if child == 0:
    dp.eval(x, None, [0, 1, 1])
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
dp.eval(x, None, [0, 1, 1])
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_a_batch(deep_pot, workers):
    dp = deep_pot(threads=workers, workers=workers)
    x = np.repeat(molecule().positions[None], 400_000, axis=0)
    began = time.process_time()
    dp.eval(x[:4000], None, TYPES)
    share = time.process_time() - began
    timer = threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT))
    # A shell's background jobs are started with the signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.process_time()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        dp.eval(x, None, TYPES)
        # Computed to the end: the interrupt comes here at the latest.
        timer.join()
    # Work, not time: all frames would take a hundred shares.
    assert time.process_time() - began < 50 * share
    assert np.isfinite(dp.eval(x[:1], None, TYPES)[0]).all()


def test_weir_needs_no_ase():
    text = """
import sys
sys.modules["ase"] = None
import weir
assert weir.DeepPot
try:
    weir.Calculator
except ImportError as error:
    assert "pip install" in str(error), error
else:
    sys.exit("no error")
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

"""DeePMD-kit's DeepPot, computed by Weir."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .errors import ArgumentError, WeirError
from .potential import Potential, integral, parameters, real, shaped


def _as_deepmd(results):
    """Results of :meth:`Potential.compute` in DeePMD-kit's shapes."""
    energy, force, virial, atomic_energy, atomic_virial = results
    shaped = energy.reshape(-1, 1), force, virial.reshape(-1, 9)
    if atomic_virial is None:
        return shaped
    return (*shaped, atomic_energy[..., None], atomic_virial.reshape(*force.shape[:2], 9))


class DeepPot:
    """A DPA3 model, called as ``deepmd.infer.DeepPot`` is.

    Parameters
    ----------
    model_file
        Any file that ``weir eval`` reads: .dp, .pt, .pth, .pt2, .yaml, .weir.
    head
        Branch of a multi-task model.
    workers
        How many frames of a batch are computed at a time. Each worker has the model, ``threads / workers`` threads and its budgets to
        itself; results have the same bits for any number. Pays for batches of small frames.
    **settings
        Named like the environment variables without ``WEIR_``, such as threads, precision, hbm_budget: ``weir.SETTINGS`` has all names.

    Raises :class:`weir.ModelError`, :class:`weir.SettingError`.
    """

    def __init__(self, model_file, head=None, *, workers=1, auto_batch_size=True, neighbor_list=None, **settings):
        del auto_batch_size  # Memory is planned; batches need no size.
        if neighbor_list is not None:
            raise ArgumentError("neighbor_list: Weir finds neighbours itself; leave it None")
        if isinstance(workers, bool) or not isinstance(workers, (int, np.integer)) or not 1 <= workers <= 1024:
            raise ArgumentError(f"workers: {workers!r} is no number of workers (1 to 1024)")
        self.model_file = os.fspath(model_file)
        if workers > 1:
            threads = settings.get("threads") or os.environ.get("WEIR_THREADS") or len(os.sched_getaffinity(0))
            if str(threads).isdigit():
                settings["threads"] = max(1, int(threads) // int(workers))
        self._potentials = [Potential(model_file, head, **settings) for _ in range(workers)]

    @property
    def _native(self):
        return self._potentials[0].native

    def eval(self, coords, cells, atom_types, atomic=False, fparam=None, aparam=None, mixed_type=False, charge_spin=None):
        """Energy, force and virial of frames; with ``atomic`` also the terms of atoms.

        Parameters
        ----------
        coords
            (nframes, natoms, 3) or flatter, A.
        cells
            (nframes, 3, 3) or flatter, A, rows are lattice vectors; None: isolated systems.
        atom_types
            (natoms,), or (nframes, natoms) with ``mixed_type``. Indices into the type map; negative: an atom that the model does not see.
        fparam
            (nframes, dim_fparam), or (dim_fparam,) for all frames.
        aparam
            (nframes, natoms, dim_aparam), or (natoms, dim_aparam), or (dim_aparam,).
        charge_spin
            (nframes, 2), or (2,), for models with that embedding.

        Returns
        -------
        energy (nframes, 1) in eV, force (nframes, natoms, 3) in eV/A, virial (nframes, 9) in eV, and with ``atomic``
        atomic energy (nframes, natoms, 1) and atomic virial (nframes, natoms, 9). The bits of each frame are those of ``weir eval``.

        Raises :class:`weir.ArgumentError`, :class:`weir.ComputeError`.
        """
        types = integral("atom_types", atom_types)
        mixed = mixed_type or types.ndim > 1
        if types.ndim != (2 if mixed else 1):
            wanted = "(nframes, natoms)" if mixed else "(natoms,)"
            raise ArgumentError(f"atom_types of shape {types.shape}: {wanted} is needed")
        natoms = types.shape[-1]
        x = real("coords", coords)
        if natoms == 0:
            nframes = len(types) if mixed else (x.shape[0] if x.ndim > 1 else 1)
        else:
            nframes, rest = divmod(x.size, 3 * natoms)
            if rest:
                raise ArgumentError(f"coords of shape {x.shape}: {x.size} values are no whole number of frames of {natoms} atoms")
        x = shaped("coords", x, (nframes, natoms, 3), f"{nframes} frames of {natoms} atoms")
        if mixed and len(types) != nframes:
            raise ArgumentError(f"atom_types of shape {types.shape}, coords of {nframes} frames")
        box = None
        if cells is not None:
            box = shaped("cells", real("cells", cells), (nframes, 3, 3), "nine a frame")
        extra = parameters(self._potentials[0], nframes, natoms, fparam, aparam, charge_spin)
        return _as_deepmd(self._compute(types, mixed, x, box, extra, bool(atomic)))

    def _compute(self, types, mixed, x, box, extra, atomic):
        def part(frames, potential):
            of = lambda a: None if a is None else a[frames]
            try:
                return potential.compute(types[frames] if mixed else types, x[frames], of(box), *map(of, extra), atomic=atomic)
            except WeirError as error:
                if hasattr(error, "frame"):
                    inorder = isinstance(frames, slice)
                    error.computed = _as_deepmd(error.computed) if inorder else None
                    error.frame = error.frame if inorder else int(frames[error.frame])
                    if nframes > 1:
                        error.args = (f"frame {error.frame}: {error}",)
                raise

        nframes, workers = len(x), self._potentials
        if mixed and nframes > 1:
            # Frames of one composition after another: a calculator is made for each composition once.
            order = np.lexsort(types.T[::-1]) if types.shape[1] else np.arange(nframes)
        else:
            order = np.arange(nframes)
        if len(workers) == 1 or nframes < 2:
            if np.array_equal(order, np.arange(nframes)):
                return part(slice(None), workers[0])
            pieces = [(order, part(order, workers[0]))]
        else:
            # Small enough that no worker waits long for the last, and Ctrl-C not for all.
            shares = np.array_split(order, min(nframes, max(8 * len(workers), -(-nframes // 64))))
            free, lock = list(workers), threading.Lock()

            def work(share):
                with lock:
                    potential = free.pop()
                try:
                    return part(share, potential)
                finally:
                    free.append(potential)

            with ThreadPoolExecutor(len(workers)) as pool:
                jobs = [pool.submit(work, share) for share in shares]
                try:
                    pieces = [(share, job.result()) for share, job in zip(shares, jobs)]
                except BaseException:
                    for job in jobs:
                        job.cancel()
                    raise
        results = []
        for values in zip(*(found for _, found in pieces)):
            if values[0] is None:
                results.append(None)
                continue
            whole = np.empty((nframes, *values[0].shape[1:]))
            for (share, _), own in zip(pieces, values):
                whole[share] = own
            results.append(whole)
        return results

    def get_rcut(self):
        """Cutoff of edges, A."""
        return self._native.cutoff

    def get_ntypes(self):
        """Number of types."""
        return len(self._native.type_map)

    def get_type_map(self):
        """Names of the types in the order of their indices."""
        return list(self._native.type_map)

    def get_dim_fparam(self):
        """Number of frame parameters."""
        return self._native.dim_fparam

    def get_dim_aparam(self):
        """Number of atomic parameters."""
        return self._native.dim_aparam

    def has_default_fparam(self):
        """Whether the model has frame parameters of its own for callers that give none."""
        return self._native.has_default_fparam

    def has_chg_spin_ebd(self):
        """Whether the model takes charge and spin."""
        return self._native.has_charge_spin

    def has_default_chg_spin(self):
        """Whether the model has a charge and spin of its own for callers that give none."""
        return self._native.has_default_charge_spin

    def get_sel_type(self):
        """Types with energies; empty: all."""
        return []

    def get_ntypes_spin(self):
        """Number of types with spin: none."""
        return 0

    has_efield = False
    has_spin = False
    has_hessian = False
    use_spin = ()

    def summary(self):
        """Model, settings and memory in a few lines."""
        return self._native.summary

    def plan(self):
        """The plan in force, a sentence; None before the first step."""
        return self._native.plan()

    def memory(self):
        """Largest number of bytes held so far by tier, of all workers together."""
        total = {}
        for potential in self._potentials:
            for tier, count in potential.native.memory().items():
                total[tier] = total.get(tier, 0) + count
        return total

    def close(self):
        """There for programs that call it; memory goes when the object does."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __repr__(self):
        path, form, sha256, head = self._native.source
        return f"weir.DeepPot({path!r}{f', head={head!r}' if head else ''})  # {form}, sha256 {sha256[:12]}"

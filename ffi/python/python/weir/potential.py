"""A model behind a handle that survives forks and pickling: what Calculator and DeepPot have in common."""

import os

import numpy as np

from . import _native
from .errors import ArgumentError, SettingError

#: Potentials of a parent process. Their threads did not come along, so they are neither used nor freed.
_ORPHANS = []


def _text(name, value):
    """A setting as it would stand in an environment variable."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ",".join(str(v) for v in value)
    if isinstance(value, (str, int, np.integer)):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise SettingError(f"argument {name}: {value!r} is a {type(value).__name__}; give text, a whole number or a path")


class Potential:
    """A model with its settings.

    Any number of threads may use one potential; calls wait for each other, frame by frame, and other Python threads run meanwhile.
    Pickles and copies read the model again, and so does the first use after a fork.
    """

    def __init__(self, model, head=None, **settings):
        self._path = os.path.abspath(os.fspath(model))
        if head is not None:
            settings["head"] = head
        self._settings = {name: _text(name, value) for name, value in settings.items() if value is not None}
        self._open()

    def _open(self):
        # The process first: what is half made belongs to nobody.
        self._process = os.getpid()
        self._native = _native.Potential(self._path, self._settings)

    @property
    def native(self):
        """The handle, of this process."""
        if self._process != os.getpid():
            _ORPHANS.append(self._native)
            self._open()
        return self._native

    def __reduce__(self):
        return _again, (self._path, self._settings)

    def compute(self, types, positions, cells=None, fparam=None, aparam=None, charge_spin=None, atomic=False):
        """Frames of equally many atoms.

        types int32 (natoms,) or (nframes, natoms), negative for virtual atoms; positions (nframes, natoms, 3), A; cells (nframes, 3, 3),
        A, rows are lattice vectors, or None; fparam, aparam, charge_spin: a row a frame, or None.

        Returns energies (nframes,), forces (nframes, natoms, 3), virials (nframes, 3, 3), energies of atoms (nframes, natoms) and, with
        ``atomic``, virials of atoms (nframes, natoms, 3, 3), else None.
        """
        nframes, natoms = positions.shape[:2]
        flat = lambda a: None if a is None else np.ascontiguousarray(a).reshape(-1)
        *found, error = self.native.compute(
            nframes, natoms, flat(types), flat(positions), flat(cells), flat(fparam), flat(aparam), flat(charge_spin), atomic
        )
        done = len(found[0])
        shapes = (done,), (done, natoms, 3), (done, 3, 3), (done, natoms), (done, natoms, 3, 3)
        results = tuple(None if a is None else a.reshape(shape) for a, shape in zip(found, shapes))
        if error is not None:
            error.frame = done
            error.computed = results
            raise error
        return results


def _again(path, settings):
    return Potential(path, **settings)


def real(name, values):
    """An array of float64; complex numbers, texts and ragged rows are refused."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"numbers of type {array.dtype}")
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name}: no array of real numbers: {error}") from None


def integral(name, values):
    """An array of int32; fractions and numbers beyond it are refused."""
    array = real(name, values)
    whole = np.asarray(values)
    if whole.dtype.kind in "iu":
        array = whole
    fits = np.isfinite(array) & (np.floor(array) == array) if array.dtype.kind == "f" else True
    with np.errstate(invalid="ignore"):
        fits = fits & (array >= -(2**31)) & (array < 2**31)
    if not np.all(fits):
        wrong = np.asarray(array)[~np.broadcast_to(fits, array.shape)].flat[0]
        raise ArgumentError(f"{name}: {wrong} is no whole number of 32 bits")
    return array.astype(np.int32)


def shaped(name, array, shape, meaning):
    """The array in this shape; its number of values must fit."""
    if array.size != int(np.prod(shape)):
        raise ArgumentError(f"{name} of shape {array.shape}: {array.size} values, where {int(np.prod(shape))} are needed ({meaning})")
    return array.reshape(shape)


def parameters(potential, nframes, natoms, fparam, aparam, charge_spin):
    """Parameters with a row for each frame; DeePMD-kit's shorter forms are spread."""
    n = potential.native

    def spread(name, values, width, widths, meaning):
        values = real(name, values)
        for repeats, count in widths:
            if values.size == count:
                return np.tile(values.reshape(-1), repeats).reshape(nframes, width)
        counts = " or ".join(str(c) for c in dict.fromkeys(c for _, c in widths))
        raise ArgumentError(f"{name} of shape {values.shape}: {values.size} values, where {counts} are needed ({meaning})")

    if fparam is not None:
        d = n.dim_fparam
        if d == 0:
            raise ArgumentError("fparam: the model takes no frame parameters")
        fparam = spread("fparam", fparam, d, [(1, nframes * d), (nframes, d)], f"{d} a frame")
    elif n.dim_fparam and not n.has_default_fparam:
        raise ArgumentError(f"fparam: the model needs {n.dim_fparam} frame parameters and has no default")
    if aparam is not None:
        d = n.dim_aparam
        if d == 0:
            raise ArgumentError("aparam: the model takes no atomic parameters")
        widths = [(1, nframes * natoms * d), (nframes, natoms * d), (nframes * natoms, d)]
        aparam = spread("aparam", aparam, natoms * d, widths, f"{d} an atom")
    if charge_spin is not None:
        if not n.has_charge_spin:
            raise ArgumentError("charge_spin: the model takes neither charge nor spin")
        charge_spin = spread("charge_spin", charge_spin, 2, [(1, nframes * 2), (nframes, 2)], "charge and spin")
    return fparam, aparam, charge_spin

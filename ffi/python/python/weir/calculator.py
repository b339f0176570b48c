"""ASE's calculator."""

import os

import numpy as np
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress

from .errors import ArgumentError
from .potential import Potential, parameters, real

PARAMETERS = "fparam", "aparam", "charge_spin"


class Calculator(AseCalculator):
    """Energy, forces and stress of a DPA3 model.

    Parameters
    ----------
    model
        Any file that ``weir eval`` reads: .dp, .pt, .pth, .pt2, .yaml, .weir.
    head
        Branch of a multi-task model.
    type_dict
        Type index by element symbol; None: the model's type map. The symbol X (atomic number 0) is an atom that the model does not see.
    fparam, aparam, charge_spin
        Frame parameters, atomic parameters (natoms, dim_aparam), total charge and spin, for models that take them. None: those of
        ``atoms.info`` (``aparam`` also of ``atoms.arrays``), else the model's own.
    **settings
        Named like the environment variables without ``WEIR_``, such as threads, precision, hbm_budget: ``weir.SETTINGS`` has all names.

    Results are energy and free_energy (eV), energies (natoms,), forces (natoms, 3), and for periodic systems stress (6,) in eV/A^3, in
    ASE's sign and order; virial (3, 3) in eV as ``weir eval`` has it; stresses (natoms, 6), whose sum is the stress, where asked for (three
    more passes). Numbers have the bits of ``weir eval`` for the same positions and settings, whatever was computed before.

    Raises :class:`weir.ModelError`, :class:`weir.SettingError`; a step raises :class:`weir.ArgumentError`, :class:`weir.ComputeError`.
    """

    name = "weir"
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "stresses", "virial"]
    ignored_changes = {"initial_charges", "initial_magmoms"}

    def __init__(self, model, head=None, *, type_dict=None, fparam=None, aparam=None, charge_spin=None, **settings):
        AseCalculator.__init__(self)
        self.potential = Potential(model, head, **settings)
        self.type_dict = dict(type_dict) if type_dict is not None else None
        self.fparam, self.aparam, self.charge_spin = fparam, aparam, charge_spin
        self._used = None
        known = dict(model=os.fspath(model), head=head, **settings)
        self.parameters.update({key: value for key, value in known.items() if value is not None})

    def _types(self, numbers):
        """Type indices of atomic numbers."""
        if self.type_dict is not None:
            known = self.type_dict
        else:
            names = self.potential.native.type_map
            known = {name.capitalize(): k for k, name in reversed(list(enumerate(names)))}
            known.update({name: k for k, name in reversed(list(enumerate(names)))})
        types = np.empty(len(numbers), np.int32)
        for number in np.unique(numbers):
            of = numbers == number
            symbol = chemical_symbols[number] if 0 <= number < len(chemical_symbols) else None
            if symbol not in known and number != 0:
                first, names = int(np.flatnonzero(of)[0]), " ".join(known if self.type_dict is not None else names)
                raise ArgumentError(f"atom {first} is {symbol or number}, which the model does not know: {names}")
            types[of] = known.get(symbol, -1)
        return types

    def _parameters(self, atoms):
        """Parameters of this structure: the calculator's own, else the structure's where the model takes them."""
        n = self.potential.native
        takes = dict(fparam=n.dim_fparam > 0, aparam=n.dim_aparam > 0, charge_spin=n.has_charge_spin)
        found = {}
        for name in PARAMETERS:
            value = getattr(self, name)
            if value is None and takes[name]:
                value = atoms.info.get(name)
                if value is None and name == "aparam":
                    value = atoms.arrays.get(name)
            found[name] = None if value is None else real(name, value)
        return found

    def check_state(self, atoms, tol=1e-15):
        """What changed since the last step, parameters among it."""
        changes = AseCalculator.check_state(self, atoms, tol)
        if self._used is not None:
            now = self._parameters(atoms)
            same = lambda a, b: (a is None) == (b is None) and (a is None or np.array_equal(a, b))
            changes = changes + [name for name in PARAMETERS if not same(now[name], self._used[name])]
        return changes

    def calculate(self, atoms=None, properties=("energy", "forces"), system_changes=all_changes):
        """One step; ASE calls it when results are missing."""
        AseCalculator.calculate(self, atoms, properties, system_changes)
        atoms = self.atoms
        if atoms.pbc.any() and not atoms.pbc.all():
            flags = " ".join("FT"[int(p)] for p in atoms.pbc)
            raise ArgumentError(
                f'periodic along some directions only (pbc="{flags}"), which is not supported; make it periodic along all three and leave a '
                "vacuum gap wider than the cutoff along the open directions"
            )
        periodic, natoms = bool(atoms.pbc.all()), len(atoms)
        per_atom = "stresses" in properties
        if not periodic and (per_atom or "stress" in properties):
            raise PropertyNotImplementedError("stress of a system without periodicity")
        used = self._parameters(atoms)
        rows = parameters(self.potential, 1, natoms, *(used[name] for name in PARAMETERS))
        cells = atoms.cell.array[None] if periodic else None
        energy, forces, virial, energies, virials = self.potential.compute(
            self._types(atoms.numbers), atoms.positions[None], cells, *rows, atomic=per_atom
        )
        self._used = used
        self.results = {
            "energy": float(energy[0]),
            "free_energy": float(energy[0]),
            "energies": energies[0],
            "forces": forces[0],
            "virial": virial[0],
        }
        if periodic:
            volume = atoms.get_volume()
            voigt = lambda v: full_3x3_to_voigt_6_stress(-0.5 * (v + np.swapaxes(v, -1, -2)) / volume)
            self.results["stress"] = voigt(virial[0])
            if per_atom:
                self.results["stresses"] = voigt(virials[0])

    def plan(self):
        """The plan in force, a sentence; None before the first step."""
        return self.potential.native.plan()

    def memory(self):
        """Largest number of bytes held so far, by tier."""
        return self.potential.native.memory()

    def summary(self):
        """Model, settings and memory in a few lines."""
        return self.potential.native.summary

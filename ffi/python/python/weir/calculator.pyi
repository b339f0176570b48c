from os import PathLike
from typing import Any, ClassVar, Mapping, Optional, Sequence, Union

import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator

from ._settings import Settings, Unpack

_Path = Union[str, PathLike[str]]

class Calculator(AseCalculator):
    implemented_properties: ClassVar[list[str]]
    type_dict: Optional[dict[str, int]]
    fparam: Optional[npt.ArrayLike]
    aparam: Optional[npt.ArrayLike]
    charge_spin: Optional[npt.ArrayLike]

    def __init__(
        self,
        model: _Path,
        head: Optional[str] = None,
        *,
        type_dict: Optional[Mapping[str, int]] = None,
        fparam: Optional[npt.ArrayLike] = None,
        aparam: Optional[npt.ArrayLike] = None,
        charge_spin: Optional[npt.ArrayLike] = None,
        **settings: Unpack[Settings],
    ) -> None: ...
    def calculate(
        self, atoms: Optional[Atoms] = None, properties: Sequence[str] = ..., system_changes: Sequence[str] = ...
    ) -> None: ...
    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[Any]: ...
    def plan(self) -> Optional[str]: ...
    def memory(self) -> dict[str, int]: ...
    def summary(self) -> str: ...

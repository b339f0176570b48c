from os import PathLike
from typing import Any, ClassVar, Mapping, Optional, Sequence, Union

import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator

_Path = Union[str, PathLike[str]]
_Number = Union[str, int]

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
        backend: Optional[str] = None,
        device: Optional[_Number] = None,
        placement: Union[str, Sequence[str], None] = None,
        hbm_budget: Optional[_Number] = None,
        host_budget: Optional[_Number] = None,
        file_budget: Optional[_Number] = None,
        checkpoint: Optional[str] = None,
        store: Optional[str] = None,
        precision: Optional[str] = None,
        threads: Optional[_Number] = None,
        numa_node: Optional[_Number] = None,
        scratch_dir: Optional[_Path] = None,
        cache_dir: Optional[_Path] = None,
        kernel_dir: Optional[_Path] = None,
        graph: Union[bool, str, None] = None,
        profile: Optional[_Path] = None,
        log: Optional[str] = None,
    ) -> None: ...
    def calculate(
        self, atoms: Optional[Atoms] = None, properties: Sequence[str] = ..., system_changes: Sequence[str] = ...
    ) -> None: ...
    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[Any]: ...
    def plan(self) -> Optional[str]: ...
    def memory(self) -> dict[str, int]: ...
    def summary(self) -> str: ...

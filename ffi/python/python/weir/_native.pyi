from os import PathLike
from typing import Optional, Union

import numpy as np
import numpy.typing as npt

__version__: str
SETTINGS: tuple[str, ...]

_Reals = npt.NDArray[np.float64]

class Potential:
    type_map: list[str]
    cutoff: float
    dim_fparam: int
    dim_aparam: int
    has_default_fparam: bool
    has_charge_spin: bool
    has_default_charge_spin: bool
    source: tuple[str, str, str, Optional[str]]
    summary: str

    def __new__(cls, path: Union[str, "PathLike[str]"], settings: dict[str, str]) -> "Potential": ...
    def compute(
        self,
        frames: int,
        atoms: int,
        types: npt.NDArray[np.int32],
        positions: _Reals,
        cells: Optional[_Reals],
        fparam: Optional[_Reals],
        aparam: Optional[_Reals],
        charge_spin: Optional[_Reals],
        atomic: bool,
    ) -> tuple[_Reals, _Reals, _Reals, _Reals, Optional[_Reals], Optional[BaseException]]: ...
    def plan(self) -> Optional[str]: ...
    def memory(self) -> dict[str, int]: ...

def heads(path: Union[str, "PathLike[str]"]) -> list[tuple[str, list[str], int, str, Optional[str]]]: ...

from os import PathLike
from types import TracebackType
from typing import Literal, Optional, Sequence, Union, overload

import numpy as np
import numpy.typing as npt

from ._settings import Settings, Unpack

_Path = Union[str, PathLike[str]]
_Reals = npt.NDArray[np.float64]

class DeepPot:
    model_file: str
    has_efield: bool
    has_spin: bool
    has_hessian: bool
    use_spin: tuple[bool, ...]

    def __init__(
        self,
        model_file: _Path,
        head: Optional[str] = None,
        *,
        workers: int = 1,
        auto_batch_size: object = True,
        neighbor_list: None = None,
        **settings: Unpack[Settings],
    ) -> None: ...
    @overload
    def eval(
        self,
        coords: npt.ArrayLike,
        cells: Optional[npt.ArrayLike],
        atom_types: npt.ArrayLike,
        atomic: Literal[False] = False,
        fparam: Optional[npt.ArrayLike] = None,
        aparam: Optional[npt.ArrayLike] = None,
        mixed_type: bool = False,
        charge_spin: Optional[npt.ArrayLike] = None,
    ) -> tuple[_Reals, _Reals, _Reals]: ...
    @overload
    def eval(
        self,
        coords: npt.ArrayLike,
        cells: Optional[npt.ArrayLike],
        atom_types: npt.ArrayLike,
        atomic: bool,
        fparam: Optional[npt.ArrayLike] = None,
        aparam: Optional[npt.ArrayLike] = None,
        mixed_type: bool = False,
        charge_spin: Optional[npt.ArrayLike] = None,
    ) -> tuple[_Reals, ...]: ...
    def get_rcut(self) -> float: ...
    def get_ntypes(self) -> int: ...
    def get_type_map(self) -> list[str]: ...
    def get_dim_fparam(self) -> int: ...
    def get_dim_aparam(self) -> int: ...
    def has_default_fparam(self) -> bool: ...
    def has_chg_spin_ebd(self) -> bool: ...
    def has_default_chg_spin(self) -> bool: ...
    def get_sel_type(self) -> list[int]: ...
    def get_ntypes_spin(self) -> int: ...
    def summary(self) -> str: ...
    def plan(self) -> Optional[str]: ...
    def memory(self) -> dict[str, int]: ...
    def close(self) -> None: ...
    def __enter__(self) -> "DeepPot": ...
    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None: ...

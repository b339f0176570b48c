# Keywords of Calculator and DeepPot; weir.SETTINGS has the same names while a program runs.
from os import PathLike
from typing import Optional, Sequence, TypedDict, Union

from typing_extensions import Unpack as Unpack

_Path = Union[str, PathLike[str]]
_Number = Union[str, int]

class Settings(TypedDict, total=False):
    backend: Optional[str]
    device: Optional[_Number]
    placement: Union[str, Sequence[str], None]
    hbm_budget: Optional[_Number]
    host_budget: Optional[_Number]
    file_budget: Optional[_Number]
    checkpoint: Optional[str]
    inside: Optional[str]
    store: Optional[str]
    precision: Optional[str]
    streams: Optional[_Number]
    blocks: Optional[_Number]
    threads: Optional[_Number]
    simd: Optional[str]
    numa_node: Optional[_Number]
    scratch_dir: Optional[_Path]
    cache_dir: Optional[_Path]
    kernel_dir: Optional[_Path]
    graph: Union[bool, str, None]
    verify: Optional[str]
    profile: Optional[_Path]
    log: Optional[str]

"""DPA3 interatomic potentials: :class:`Calculator` for ASE, :class:`DeepPot` shaped like DeePMD-kit's class of that name.

Units are eV and A. Settings are keyword arguments named like the environment variables without ``WEIR_`` (``threads=8``,
``hbm_budget="60GiB"``); what is not said is taken from the environment, then from the file that ``WEIR_CONFIG`` names.
"""

from . import errors
from ._native import SETTINGS, __version__
from .deep_pot import DeepPot
from .errors import (
    ArgumentError,
    BudgetError,
    ComputeError,
    InternalError,
    ModelError,
    ModelNotFoundError,
    SettingError,
    UnsupportedError,
    WeirError,
)
from .heads import Head, heads

__all__ = [
    "ArgumentError",
    "BudgetError",
    "Calculator",
    "ComputeError",
    "DeepPot",
    "Head",
    "InternalError",
    "ModelError",
    "ModelNotFoundError",
    "SETTINGS",
    "SettingError",
    "UnsupportedError",
    "WeirError",
    "__version__",
    "errors",
    "heads",
]


def __getattr__(name):
    # ASE is needed for nothing else, and takes half a second to import.
    if name == "Calculator":
        try:
            from .calculator import Calculator
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] != "ase":
                raise
            raise ImportError('weir.Calculator needs ASE: pip install "weir[ase]"') from error
        globals()["Calculator"] = Calculator
        return Calculator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))

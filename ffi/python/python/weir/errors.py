"""What can go wrong. Texts are Weir's own: a sentence that names the number or the setting that would help."""


class WeirError(Exception):
    """Everything that Weir refuses or fails at.

    Errors of :meth:`weir.DeepPot.eval` have two attributes more: ``frame``, the number of the frame that failed, and ``computed``, the
    results of the frames before it (None where frames were not computed in turn: mixed types, several workers).
    """


class ArgumentError(WeirError, ValueError):
    """Arrays that do not fit each other, types or elements that the model does not have, mixed periodicity."""


class ModelError(WeirError):
    """The model file: not readable, damaged, not a DPA3 energy model, a head that does not exist."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no such model file."""


class SettingError(WeirError, ValueError):
    """A keyword, an environment variable or the configuration file: unknown, wrong, contradictory, more than the machine has."""


class ComputeError(WeirError, RuntimeError):
    """A step: positions that are no numbers, coincident atoms, a cell without volume, missing parameters, results that are no numbers."""


class BudgetError(ComputeError, MemoryError):
    """The step does not fit into the budgets; the text names the setting that would make it fit."""


class UnsupportedError(WeirError, NotImplementedError):
    """Not in this version."""


class InternalError(WeirError, RuntimeError):
    """A fault of ours; please report it. The handle stays usable."""

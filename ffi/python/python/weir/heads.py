"""Branches of multi-task model files."""

import os
from typing import NamedTuple, Optional

from . import _native


class Head(NamedTuple):
    """A branch of a multi-task model; files of one model have one."""

    name: str
    #: Other names that it answers to.
    aliases: "list[str]"
    #: Number of types in its type map.
    types: int
    #: Type of its fitting net; Weir computes ``ener``.
    fitting: str
    description: Optional[str]


def heads(model) -> "list[Head]":
    """Heads of a model file, whose names are what ``head=`` takes.

    Raises :class:`weir.ModelError`.
    """
    return [Head(*found) for found in _native.heads(os.fspath(model))]

"""The cases of lammps.sh: LAMMPS on Weir's libdeepmd_c.so against `weir eval`, in double precision unless said otherwise.

    run.py WEIR FOLDER        FOLDER has v/ (a venv with lammps) and plugin/ (dpplugin.so, libdeepmd_c.so)

LAMMPS_FAST=1 leaves the slow cases out and shortens the example; LAMMPS_CASES="kill two" runs cases with one of these words in their names.
"""

import case

# Each runs its cases when it is read.
import check_steps  # noqa: F401
import check_styles  # noqa: F401
import check_models  # noqa: F401
import check_dynamics  # noqa: F401
import check_processes  # noqa: F401
import check_gpu  # noqa: F401

case.end()

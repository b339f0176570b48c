#!/usr/bin/env bash
# Adds the native backend to a GROMACS source tree, builds gmx and compares its runs with `weir eval`.
#
#     tests/clients/gromacs_native.sh GROMACS_SOURCE_TREE [STRUCTURES]
#
# The tree (2025, 2026 or main) is changed in place; take the lines out with `python3 ffi/gromacs/add_to_gromacs.py --reverse TREE`. gmx is built in WEIR_GMX_BUILD
# (default: gromacs-native/build in cargo's target folder; 20 to 30 CPU minutes the first time) without GPU and SIMD, by WEIR_GMX_JOBS jobs (default 1).
# STRUCTURES: folder with NAME_solvated.gro, NAME.ndx and NAME_top of 1YRF and 2PTC; adds proteins in water (of 2PTC, what far pairs cost). Needs python3, CMake and a C++ compiler. Not part of CI, which has no source tree.
# The last line is "gromacs-native: N passed, M failed".
set -euo pipefail
tree=$(realpath "${1:?usage: tests/clients/gromacs_native.sh GROMACS_SOURCE_TREE [STRUCTURES]}")
structures=${2:+$(realpath "$2")}
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
build=${WEIR_GMX_BUILD:-$target/gromacs-native/build}
jobs=${WEIR_GMX_JOBS:-1}
# Variables of whoever calls must not decide a test.
for name in $(env | sed -n 's/^\(WEIR_[A-Z_]*\|GMX_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
cargo build -q --release -p weir -p weir-c
python3 ffi/gromacs/add_to_gromacs.py "$tree"
mkdir -p "$build"
if [ ! -f "$build/CMakeCache.txt" ]; then
  cmake -S "$tree" -B "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DCMAKE_C_FLAGS_RELEASE=-O1 -DGMX_SIMD=None -DGMX_FFT_LIBRARY=fftpack -DGMX_GPU=OFF \
    -DGMX_BUILD_HELP=OFF -DBUILD_TESTING=OFF -DGMX_USE_PLUMED=OFF -DGMX_USE_COLVARS=NONE -DGMX_USE_TNG=OFF -DGMX_HWLOC=OFF -DGMX_INSTALL_NBLIB_API=OFF -DGMXAPI=OFF \
    -DGMX_USE_LMFIT=NONE -DGMX_USE_MUPARSER=NONE >"$build/configure.log"
fi
cmake --build "$build" --target gmx --parallel "$jobs" >"$build/build.log" 2>&1 || { tail -40 "$build/build.log" >&2; exit 1; }
exec python3 tests/clients/gromacs_native.py "$(realpath "$build/bin/gmx")" "$tree/share/top" "$(realpath "$target/release")" ${structures:+"$structures"}

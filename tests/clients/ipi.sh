#!/usr/bin/env bash
# Runs ASE and i-PI (pip) with forces by `weir serve` and compares with `weir eval`.
#
#     tests/clients/ipi.sh
#
# Needs python3 with venv, a network or pip's cache at the first run, about 250 MB in WEIR_CLIENTS (default: clients/ in cargo's target folder).
# WEIR_CLIENT_PROFILE=release takes release builds (default: debug). CLIENTS_BUILT=1: they are there already. The last line is "ipi: N passed, M failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
profile=${WEIR_CLIENT_PROFILE:-debug}
clients=${WEIR_CLIENTS:-$target/clients}
flag=(); [ "$profile" = release ] && flag=(--release)
[ -n "${CLIENTS_BUILT:-}" ] || cargo build -q "${flag[@]}" -p weir
mkdir -p "$clients"
if ! "$clients/ipi/bin/python" -c 'import ase, ipi' 2>/dev/null; then
  rm -rf "$clients/ipi"
  python3 -m venv "$clients/ipi"
  "$clients/ipi/bin/pip" install -q --disable-pip-version-check 'ipi==3.3.1' 'ase==3.29.0'
fi
for name in $(env | sed -n 's/^\(WEIR_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
export PATH="$(realpath "$target/$profile"):$(realpath "$clients/ipi/bin"):$PATH"
exec python tests/clients/ipi.py

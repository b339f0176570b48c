#!/usr/bin/env bash
# ASE and MDAnalysis open every file that Weir writes: scripts/check_clients.sh WEIR_BINARY
#
# Files of the writers with numbers beside them (engine/examples/structures.rs), then those of a short `weir md` run (extxyz, xtc) and
# of `weir minimize`. Makes a Python environment below target/ where there is none.
set -euo pipefail
weir=$(realpath "${1:?usage: scripts/check_clients.sh WEIR_BINARY}")
cd "$(dirname "$0")/.."
venv=target/clients-venv
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# quiet COMMAND...: shows what a command says only when it fails.
quiet() {
  "$@" >"$out/log" 2>&1 || { cat "$out/log" >&2; echo "clients: failed: $*" >&2; exit 1; }
}

if ! "$venv/bin/python" -c 'import ase, MDAnalysis' 2>/dev/null; then
  rm -rf "$venv"
  quiet python3 -m venv "$venv"
  quiet "$venv/bin/pip" install --disable-pip-version-check 'ase>=3.23,<4' 'MDAnalysis>=2.7,<3'
fi

echo "clients: files of the writers"
quiet cargo build -q --workspace --example structures
quiet "${CARGO_TARGET_DIR:-target}/debug/examples/structures" write "$out/written"
"$venv/bin/python" tests/clients/open_with_ase.py "$out/written"

echo "clients: files of a run"
mkdir "$out/run"
quiet "$weir" md examples/water.toml --set md.steps=20 --set output.energy_every=5 --set output.trajectory_every=5 \
  --set 'output.trajectory_format=["extxyz", "xtc"]' --set "output.prefix=$out/run/water"
test -s "$out/run/water.xtc" || { echo "clients: the run left no xtc" >&2; exit 1; }
"$venv/bin/python" tests/clients/open_with_ase.py "$out/run"

echo "clients: files of a relaxation"
mkdir "$out/relaxed"
quiet "$weir" minimize examples/water/model.dp examples/water/start.extxyz --steps 3 --fmax 100 --out "$out/relaxed/water.extxyz"
"$venv/bin/python" tests/clients/open_with_ase.py "$out/relaxed"

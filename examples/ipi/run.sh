#!/usr/bin/env bash
# i-PI with forces by Weir: examples/ipi/run.sh nve|pimd [FOLDER]     (docs/ipi.md)
#   needs `weir` and `i-pi` on PATH (pip install ipi ase); output goes to FOLDER (default: the current one); DRIVERS processes serve (default 1)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
case=${1:?usage: examples/ipi/run.sh nve|pimd [FOLDER]}
cd "${2:-.}"
cp "$here/$case.xml" "$here/../water/start.extxyz" .
rm -f "/tmp/ipi_weir-$case"
i-pi "$case.xml" >"$case.log" 2>&1 &
server=$!
drivers=()
for _ in $(seq "${DRIVERS:-1}"); do
  weir serve --quiet --ipi "unix:weir-$case" "$here/../water/model.dp" start.extxyz &
  drivers+=($!)
done
wait $server || { tail -n 20 "$case.log" >&2; exit 1; }
for driver in "${drivers[@]}"; do wait "$driver"; done

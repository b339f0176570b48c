#!/usr/bin/env bash
# The long physical checks (half an hour on two cores): scripts/long_checks.sh WEIR_BINARY [FOLDER]
#   NVE drift: 64 molecules of water, f64, 2 ps at 0.25 fs, at most 1e-6 eV/atom/ps
#   stability: 10 ps of Langevin dynamics at 300 K, temperature in bounds, and the O-O distribution beside the training data's
set -euo pipefail
weir=$(realpath "${1:?usage: scripts/long_checks.sh WEIR_BINARY [FOLDER]}")
cd "$(dirname "$0")/.."
out=${2:-$(mktemp -d)}
mkdir -p "$out"
out=$(realpath "$out")

echo "equilibration, 1 ps"
"$weir" md examples/water.toml --quiet --precision f64 --set md.steps=2000 --set md.friction_per_ps=5.0 \
  --set "output.prefix=$out/equil" --set output.trajectory_every=2000
echo "NVE, 2 ps at 0.25 fs, f64"
sed 's#^thermostat.*##; s#^friction.*##; s#^temperature_K.*##; s#^path = "water/model.dp"#path = "'"$PWD"'/examples/water/model.dp"#; s#^path = "water/start.extxyz"#path = "'"$out"'/equil.final.extxyz"#' \
  examples/water.toml >"$out/nve.toml"
"$weir" md "$out/nve.toml" --quiet --precision f64 --set md.ensemble=nve --set md.timestep_fs=0.25 --set md.steps=8000 \
  --set "output.prefix=$out/nve" --set output.trajectory_every=1 --set output.energy_every=1
python3 scripts/nve_drift.py "$out/nve.csv" "$out/nve.extxyz" 0.25 1e-6
rm "$out/nve.extxyz"
echo "NVT, 10 ps at 0.5 fs"
"$weir" md examples/water.toml --quiet --set md.steps=20000 --set "output.prefix=$out/nvt" --set output.trajectory_every=50
awk -F, 'NR > 1 && $2 > 3 { n++; t += $6; if ($6 < 200 || $6 > 420) { print "temperature " $6 " K at " $2 " ps"; bad = 1 } }
  END { printf "mean temperature %.1f K after 3 ps\n", t / n; exit bad }' "$out/nvt.csv"
python3 scripts/rdf.py "$out/nvt.extxyz" examples/water/rdf.csv "$out/rdf.csv"

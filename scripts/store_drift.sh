#!/usr/bin/env bash
# What rounding of kept states costs in NVE: scripts/store_drift.sh WEIR_BINARY [STEPS=20000] [FOLDER] [FORM...]
#   10 ps of the demo at 0.5 fs for each stored form, from one equilibrated frame; prints the slope of each total energy by least squares
set -euo pipefail
weir=$(realpath "${1:?usage: scripts/store_drift.sh WEIR_BINARY [STEPS] [FOLDER]}")
steps=${2:-20000}
cd "$(dirname "$0")/.."
out=${3:-$(mktemp -d)}
mkdir -p "$out"
out=$(realpath "$out")
"$weir" md examples/water.toml --quiet --set md.steps=2000 --set "output.prefix=$out/equil" --set output.trajectory_every=1000
sed "s#^path = \"water/model.dp\"#path = \"$PWD/examples/water/model.dp\"#; s#^path = \"water/start.extxyz\"#path = \"$out/equil.final.extxyz\"#
  /^thermostat/d; /^friction/d; /^temperature_K/d" examples/water.toml >"$out/nve.toml"
if [ $# -gt 3 ]; then forms=("${@:4}"); else forms=(f64-f32 exact f16 bf16); fi
for form in "${forms[@]}"; do
  case $form in
  f64-f32) options=(--precision f64 --store f32) ;;
  *) options=(--store "$form") ;;
  esac
  "$weir" md "$out/nve.toml" --quiet "${options[@]}" --set md.ensemble=nve --set md.timestep_fs=0.5 --set "md.steps=$steps" \
    --set "output.prefix=$out/$form" --set output.trajectory_every=1000 --set output.energy_every=10
  awk -F, -v form=$form -v atoms=192 'NR > 1 { n++; x += $2; y += $5 - y0; if (n == 1) { y0 = $5; y = 0 }
      xx += $2 * $2; xy += $2 * ($5 - y0); t += $6; end = $2 }
    END { printf "%s: %.2e eV/atom/ps over %.1f ps, mean %.1f K\n", form, (n * xy - x * y) / (n * xx - x * x) / atoms, end, t / n }' \
    "$out/$form.csv"
done

#!/usr/bin/env bash
# ns/day of proteins in stock GROMACS, classical in water and by the model in vacuum: examples/gromacs/four_proteins.sh MODEL FOLDER [NAME ...]
#
# FOLDER has, for each NAME (1YRF 1UBQ 3LZM 2PTC): NAME.gro (the protein), NAME_solvated.gro, NAME_top/topol.top and md.mdp (1 fs, cutoff 0.7 nm).
# GMX names gmx (2025 or later), WEIR weir, PLUMED_KERNEL libweir.so. STEPS of the model (default 10; the first is not counted: it pays for
# memory), CLASSICAL_STEPS (default 2000, the first half not counted), NTOMP threads of both (default: all cores), HEAD a branch of the model;
# CLASSICAL=no leaves the classical run out. RESULTS names a file that gets a line of JSON a protein as well.
# Prints a line a protein: atoms, ns/day classical, ns/day by the model (from the wall time of md.log: its own figure has three decimals).
set -euo pipefail
usage="usage: four_proteins.sh MODEL FOLDER [NAME ...]"
model=$(realpath "${1:?$usage}")
folder=$(realpath "${2:?$usage}")
shift 2
[ $# -gt 0 ] || set -- 1YRF 1UBQ 3LZM 2PTC
gmx=${GMX:-gmx} weir=${WEIR:-weir} threads=${NTOMP:-$(nproc)}
kernel=$(realpath "${PLUMED_KERNEL:?name libweir.so}")
results=${RESULTS:+$(realpath -m "$RESULTS")}
processor=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -1)
speed() { awk '/^Performance:/ {print $2}' "$1"; }
log() { "$@" >>log 2>&1 || { tail -20 log >&2; return 1; }; }
for name; do
  mkdir -p "run-$name"
  cd "run-$name"
  classical=-
  if [ "${CLASSICAL:-yes}" = yes ]; then
    log "$gmx" grompp -f "$folder/md.mdp" -c "$folder/${name}_solvated.gro" -p "$folder/${name}_top/topol.top" -o classical.tpr
    log "$gmx" mdrun -ntmpi 1 -ntomp "$threads" -deffnm classical -nsteps "${CLASSICAL_STEPS:-2000}" -resethway -noconfout -notunepme
    classical=$(speed classical.log)
  fi
  log "$weir" gromacs prepare "$model" "$folder/$name.gro" --vacuum --mdp "$folder/md.mdp" ${HEAD:+--head "$HEAD"} --out by-model --force
  cd by-model
  # One thread for GROMACS, which has nothing to do, and the cores for Weir.
  log "$gmx" grompp -f grompp.mdp -c conf.gro -p topol.top -o topol.tpr
  WEIR_THREADS=$threads PLUMED_KERNEL=$kernel log "$gmx" mdrun -ntmpi 1 -ntomp 1 -plumed weir.dat -nsteps "${STEPS:-10}" -resetstep 1 -noconfout
  atoms=$(sed -n 2p conf.gro)
  awk -v name="$name" -v atoms=$((atoms)) -v classical="$classical" -v n="${STEPS:-10}" '/^ *Time:/ {
    s = $3 / n
    printf "%s %d atoms: classical %s ns/day, by the model %.3g ns/day (%.3g s a step of 1 fs)\n", name, atoms, classical, 0.0864 / s, s
  }' md.log
  if [ -n "$results" ]; then
    solvated=$(sed -n 2p "$folder/${name}_solvated.gro")
    awk -v name="$name" -v atoms=$((atoms)) -v solvated=$((solvated)) -v classical="${classical/-/null}" -v n="${STEPS:-10}" -v threads="$threads" -v model="$(basename "$model")" \
      -v date="$(date -u +%F)" -v processor="$processor" -v load="$(cut -d' ' -f1 /proc/loadavg)" '/^ *Time:/ {
      printf "{\"protein\":\"%s\",\"atoms\":%d,\"atoms_with_water\":%d,\"classical_ns_day\":%s,\"seconds_a_step\":%.6g,\"steps\":%d,\"model\":\"%s\",\"threads\":%d,\"machine\":\"%s\",\"load\":%s,\"date\":\"%s\"}\n",
        name, atoms, solvated, classical, $3 / n, n, model, threads, processor, load, date
    }' md.log >>"$results"
  fi
  cd ../..
done

#!/usr/bin/env bash
# A long run while spilling: scripts/spill_run.sh WEIR_BINARY [STEPS=10000] [FOLDER]
#   the demo with 12 MiB of hbm and everything kept in slower tiers: the same trajectory as without a budget, byte for byte, and memory
#   that does not grow in the second half of the run
set -euo pipefail
weir=$(realpath "${1:?usage: scripts/spill_run.sh WEIR_BINARY [STEPS] [FOLDER]}")
steps=${2:-10000}
cd "$(dirname "$0")/.."
out=${3:-$(mktemp -d)}
mkdir -p "$out"
out=$(realpath "$out")
run() { # name, options...
  local name=$1
  shift
  "$weir" md examples/water.toml --quiet --set "md.steps=$steps" --set "output.prefix=$out/$name" --set output.trajectory_every=500 "$@" &
  local pid=$!
  : >"$out/$name.rss"
  while kill -0 $pid 2>/dev/null; do
    awk '/^VmRSS/ {print $2}' /proc/$pid/status >>"$out/$name.rss" 2>/dev/null || true
    sleep 0.2
  done
  wait $pid
}
run free
run system --placement hbm,system --hbm-budget 12MiB --checkpoint all
run file --placement hbm,file --hbm-budget 12MiB --checkpoint all --scratch-dir "$out"
bad=0
for name in system file; do
  for suffix in csv extxyz final.extxyz; do
    cmp "$out/free.$suffix" "$out/$name.$suffix" || bad=1
  done
done
for name in free system file; do
  awk -v name=$name '{ r[NR] = $1 } END {
    half = int(NR / 2) + 1; for (i = 1; i <= half; i++) if (r[i] > a) a = r[i]
    for (i = half + 1; i <= NR; i++) if (r[i] > b) b = r[i]
    printf "%s: %d samples, resident at most %.1f MB in the first half, %.1f MB in the second\n", name, NR, a / 1e3, b / 1e3
    exit b > a + 1024 }' "$out/$name.rss" || bad=1
done
ls "$out" | grep -c weir- >/dev/null && { echo "scratch was left behind"; bad=1; }
[ $bad -eq 0 ] && echo "spilling: $steps steps, the same bytes, flat memory"
exit $bad

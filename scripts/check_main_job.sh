#!/usr/bin/env bash
# README's main job, checked: scripts/check_main_job.sh WEIR_BINARY
#
# `weir md examples/water.toml`, with its output in a temporary folder: ends well within LIMIT seconds (300; the aim on two free cores
# is 60), runs every step of its configuration, leaves a plot, and logs finite numbers and temperatures between 150 and 600 K.
set -euo pipefail
weir=$(realpath "${1:?usage: scripts/check_main_job.sh WEIR_BINARY}")
cd "$(dirname "$0")/.."
limit=${LIMIT:-300}
config=examples/water.toml
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

die() {
  echo "main job: $*" >&2
  tail -n 40 "$out/log" >&2
  exit 1
}

status=0
TIMEFORMAT='%R s (%U s of CPU)'
{ time timeout -k 10 "$limit" "$weir" md "$config" --set "output.prefix=$out/water" >"$out/log" 2>&1 || status=$?; } 2>"$out/time"
test $status -ne 124 || die "not done after $limit s"
test $status -eq 0 || die "exit status $status"

test -s "$out/water.svg" || die "no plot"
head -c 300 "$out/water.svg" | grep -q '<svg' || die "the plot is no SVG"
grep -qE '<(polyline|path)' "$out/water.svg" || die "the plot has no curve"
test -s "$out/water.extxyz" || die "no trajectory"

steps=$(sed -n 's/^steps *= *\([0-9]*\).*/\1/p' "$config")
test -n "$steps" || die "$config says no steps"
awk -F, -v steps="$steps" '
  function fail(text) { print "water.csv, line " NR ": " text; bad = 1; exit 1 }
  NR == 1 {
    columns = NF
    for (k = 1; k <= NF; k++) if ($k == "temperature_K") t = k
    if ($1 != "step" || !t) fail("unknown header")
    next
  }
  NF != columns { fail(NF " columns, expected " columns) }
  {
    for (k = 1; k <= NF; k++) if ($k !~ /^[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$/) fail("not a finite number: " $k)
    if ($t < 150 || $t > 600) fail("temperature " $t " K")
    if (NR == 2 || $t < low) low = $t
    if (NR == 2 || $t > high) high = $t
    last = $1
    lines++
  }
  END {
    if (bad) exit 1
    if (last != steps) { print "the log ends at step " last ", expected " steps " (" lines + 0 " lines)"; exit 1 }
    printf "%d lines, temperature %.0f to %.0f K\n", lines, low, high
  }' "$out/water.csv" >"$out/summary" || die "$(cat "$out/summary")"
echo "main job: $(cat "$out/time"), $steps steps, $(cat "$out/summary")"

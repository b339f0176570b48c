#!/usr/bin/env bash
# Fuzzes every reader of model and structure files: scripts/fuzz.sh SECONDS [TARGET...]
#
# SECONDS for each target, starting from the files of tests/data. Installs cargo-fuzz below target/tools where it is missing; stable
# Rust is enough (RUSTC_BOOTSTRAP). Needs a C++ compiler, for libFuzzer alone. With the address sanitizer where the toolchain has its
# runtime. What is found lies in fuzz/artifacts; the status is then 1. Corpora grow in target/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET...]}
shift
command -v c++ >/dev/null || { echo "fuzz: libFuzzer needs a C++ compiler (c++)" >&2; exit 1; }

export PATH="$PWD/target/tools/bin:$PATH" RUSTC_BOOTSTRAP=1
# Unoptimised: it only starts other programs.
if ! cargo fuzz --version >/dev/null 2>&1; then
  env -u RUSTC_BOOTSTRAP cargo install cargo-fuzz --locked --debug --root target/tools
fi
corpus=target/fuzz/corpus
env -u RUSTC_BOOTSTRAP cargo run -q -p weir-engine --example fuzz_seeds -- "$corpus"

# The runtime comes with rustup's toolchains, not with every distribution's.
host=$(rustc -vV | sed -n 's/^host: //p')
runtimes=("$(rustc --print sysroot)/lib/rustlib/$host/lib"/librustc*_rt.asan.*)
sanitizer=none
if [ -e "${runtimes[0]}" ]; then sanitizer=address; fi

if [ $# -gt 0 ]; then targets=("$@"); else mapfile -t targets < <(cargo fuzz list); fi
test ${#targets[@]} -gt 0 || { echo "fuzz: no targets" >&2; exit 1; }
failed=0
for target in "${targets[@]}"; do
  echo "fuzz: $target, $seconds s, sanitizer $sanitizer"
  mkdir -p "fuzz/artifacts/$target"
  log=target/fuzz/$target.log
  common=(--sanitizer "$sanitizer" --target-dir target/fuzz/build)
  cargo fuzz build "${common[@]}" "$target"
  # libFuzzer stops by itself; the outer limit is for an input that hangs it.
  status=0
  timeout -k 30 $((seconds + 300)) cargo fuzz run "${common[@]}" "$target" "$corpus/$target" -- \
    -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 >"$log" 2>&1 || status=$?
  grep -aE 'stat::(number_of_executed_units|average_exec_per_sec|new_units_added|peak_rss_mb)' "$log" || true
  if [ $status -ne 0 ]; then
    failed=1
    grep -avE '^#[0-9]' "$log" | tail -n 60
    echo "fuzz: $target FAILED with status $status; log $log; inputs:"
    find "fuzz/artifacts/$target" -type f
  elif ! grep -aq 'number_of_executed_units: [1-9]' "$log"; then
    failed=1
    tail -n 30 "$log"
    echo "fuzz: $target FAILED: nothing was run; log $log"
  fi
done
exit $failed

#!/usr/bin/env bash
# Builds the Python package's wheel, installs it into an environment of its own and runs its tests (ffi/python/tests) against `weir eval`.
#
#     tests/clients/python.sh
#
# Needs python3 (3.9 or newer) with venv, a network or pip's cache at the first run, about 350 MB in WEIR_CLIENTS (default: clients/ in cargo's target
# folder). Builds are release builds in cargo's target folder, shared with `cargo build --release`. CLIENTS_BUILT=1: they are there already. The last line is "python: N passed, M failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")
clients=$(realpath -m "${WEIR_CLIENTS:-$CARGO_TARGET_DIR/clients}")
venv=$clients/python
mkdir -p "$clients"
if ! "$venv/bin/python" -c 'import ase, maturin, numpy, pytest' 2>/dev/null; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check 'maturin>=1.9.4,<2' 'ase>=3.23,<4' 'numpy>=1.21' 'pytest>=7'
fi
[ -n "${CLIENTS_BUILT:-}" ] || cargo build -q --release -p weir
rm -rf "$clients/wheels"
PATH="$venv/bin:$PATH" maturin build -q --release --manifest-path ffi/python/Cargo.toml --out "$clients/wheels"
wheel=$(echo "$clients"/wheels/*.whl)
echo "python: $(basename "$wheel"), $(stat -c %s "$wheel") bytes"
# One wheel for every Python from 3.9 on, and for every system whose glibc is as new as this one's.
case $(basename "$wheel") in
  weir-*-cp39-abi3-manylinux*.whl) ;;
  *) echo "python: the wheel is not tagged cp39-abi3-manylinux" >&2; exit 1 ;;
esac
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps --force-reinstall "$wheel"
for name in $(env | sed -n 's/^\(WEIR_[A-Z_]*\)=.*/\1/p'); do [ "$name" = WEIR_SHARED ] || unset "$name"; done
export WEIR_PROGRAM=$CARGO_TARGET_DIR/release/weir
results=$clients/python.xml
status=0
"$venv/bin/python" -m pytest -q -p no:cacheprovider --junitxml="$results" ffi/python/tests "$@" || status=$?
# Both examples count as a test.
examples=$clients/python-examples
rm -rf "$examples" && mkdir "$examples"
bad=0
for example in relax_and_run batch; do
  (cd "$examples" && "$venv/bin/python" -W ignore "$OLDPWD/examples/python/$example.py" >"$example.txt" 2>&1) || { bad=$((bad + 1)); cat "$examples/$example.txt"; }
done
grep -q '<polyline' "$examples/energy.svg" || { bad=$((bad + 1)); status=1; }
test $bad -eq 0 || status=1
"$venv/bin/python" - "$results" $bad <<'COUNT'
import sys
import xml.etree.ElementTree as tree

suite = tree.parse(sys.argv[1]).getroot().find("testsuite")
bad, examples = int(suite.get("failures")) + int(suite.get("errors")), int(sys.argv[2])
good = int(suite.get("tests")) - bad - int(suite.get("skipped"))
print(f"python: {good + max(0, 2 - examples)} passed, {bad + examples} failed")
COUNT
exit $status

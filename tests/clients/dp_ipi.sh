#!/usr/bin/env bash
# Runs dp_ipi, the i-PI driver of the deepmd-kit wheel, on Weir's libdeepmd_c.so, with ASE and i-PI (pip) as servers.
#
#     tests/clients/dp_ipi.sh
#
# Needs python3 with venv, a network or pip's cache at the first run, about 300 MB in WEIR_CLIENTS (default: clients/ in cargo's target folder).
# WEIR_CLIENT_PROFILE=release takes release builds (default: debug). CLIENTS_BUILT=1: they are there already. The last line is "dp_ipi: N passed, M failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
profile=${WEIR_CLIENT_PROFILE:-debug}
clients=${WEIR_CLIENTS:-$target/clients}
flag=(); [ "$profile" = release ] && flag=(--release)
[ -n "${CLIENTS_BUILT:-}" ] || cargo build -q "${flag[@]}" -p weir -p deepmd-c
mkdir -p "$clients"
if ! "$clients/ipi/bin/python" -c 'import ase, ipi' 2>/dev/null; then
  rm -rf "$clients/ipi"
  python3 -m venv "$clients/ipi"
  "$clients/ipi/bin/pip" install -q --disable-pip-version-check 'ipi==3.3.1' 'ase==3.29.0'
fi
if [ ! -x "$clients/dp_ipi/bin/dp_ipi" ]; then
  "$clients/ipi/bin/pip" download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_28_x86_64 -d "$clients/whl_ipi" deepmd-kit==3.2.0
  # The driver looks for its libraries in ../lib.
  python3 - "$clients" <<'P'
import sys, zipfile, pathlib
folder = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next((folder / "whl_ipi").glob("deepmd_kit-3.2.0-*.whl")))
runtime = next(n for n in wheel.namelist() if n.startswith("deepmd_kit.libs/libgomp"))
for name, to in {"deepmd/lib/dp_ipi": "bin", "deepmd/lib/libdeepmd_ipi.so": "lib", runtime: "lib"}.items():
    path = folder / "dp_ipi" / to / pathlib.Path(name).name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wheel.read(name))
    path.chmod(0o755)
P
fi
cp "$target/$profile/libdeepmd_c.so" "$clients/dp_ipi/lib/libdeepmd_c.so"
# Variables of whoever calls must not decide a test.
for name in $(env | sed -n 's/^\(WEIR_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
driver=$(realpath "$clients/dp_ipi/bin/dp_ipi")
export PATH="$(realpath "$target/$profile"):$(realpath "$clients/ipi/bin"):$PATH"
exec python tests/clients/dp_ipi.py "$driver"

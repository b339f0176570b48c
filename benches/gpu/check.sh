#!/usr/bin/env bash
# Checks and times Weir on a GPU, and writes one JSON file:
#
#   benches/gpu/check.sh [--weir PROGRAM] [--out FILE] [--backend cuda|hip] [--minutes N] [--patience SECONDS] [--smoke] [--lammps FOLDER] [--peer PYTHON] [--parts NAMES]
#   benches/gpu/check.sh --merge FILE FILE... --out FILE
#
# Needs a driver, the program (target/release/weir, or --weir), python3 without packages, and kernels: a compiler on the machine, or a folder
# in WEIR_KERNEL_DIR made elsewhere, where the same models lie:
#
#   benches/gpu/check.sh --kernels sm_90a,gfx942 --out FOLDER      # no GPU needed; then carry program, folder and repository
#
# --lammps: where WEIR_CLIENT_PROFILE=release tests/clients/lammps.sh has put LAMMPS and the plugin with Weir's libdeepmd_c.so (target/clients), or what was carried from there:
# with --pack FOLDER both go into one of 66 MB (16 MB as tar.xz), and nothing is measured.
# --peer: an interpreter with deepmd and torch, which then computes 1YRF and 1UBQ on the same card (../shared/bench/deepmd_peer.py).
# --parts, where a device is lent for minutes at a time; by an estimate (no GPU has been seen) each line takes less than ten minutes, in order of worth, with
# --minutes 9 --patience 120 where a command may take ten (what is cut short is written, and says so):
#   verified,sanitizer,parity,repeat,proteins   right, by its own tools too? how fast?
#   counters,profile,boxes                      what waves wait for; which kernels; the spill curve of 2PTC; water until memory ends, as a card of 80 GB and with all
#   budgets,lammps                              memory halved, quartered, least, predicted by measured rates; ns/day inside LAMMPS
#   arithmetics                                 every arithmetic, blocks and streams
#   stored,drift                                states in 16 bits: time, force errors, constant energy
#   peer                                        needs other programs
# Where the first evaluation fails, it is tried step by step (models, precisions, without graph and streams) and all that is said is in the file.
# After --minutes N (60) everything ends, and a command of ours after --patience SECONDS (300); what was found is written row by row.
# --merge puts such files together. The targets of the GPU backend stand at the end, each met, missed or unmeasured (targets.py).
# No network, nothing is installed. --smoke is a round of the same steps on a dozen atoms, in minutes: with WEIR_BACKEND=emulated and a program
# built with --features emulated it runs where no GPU is. Fixtures are taken from ../shared (or WEIR_SHARED) where it exists.
# Exits with 1 where a check failed; the JSON says which. A step that left the range of f16x3 is a failure: it was computed twice, and not by what was to be timed.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v python3 >/dev/null || { echo "check.sh: python3 is missing (no packages are needed)" >&2; exit 2; }
exec python3 benches/gpu/check.py "$@"

#!/usr/bin/env bash
# Compilers of GPU kernels for a machine without a GPU, so that tests find them:
#
#   scripts/kernel_compilers.sh FOLDER
#   export PYTHONPATH=FOLDER
#
# Puts NVIDIA's NVRTC of CUDA 12.8 (which the table of resources was made with) and of CUDA 13 into FOLDER with pip, and installs clang 19
# with lld from the distribution where they are missing and this user may. With KERNEL_COMPILERS=required tests fail where a compiler is
# missing, instead of telling what they skip. About 130 MB to fetch and 500 MB on the disk.
set -euo pipefail

folder=${1:?usage: scripts/kernel_compilers.sh FOLDER}
mkdir -p "$folder"
python3 -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target "$folder" \
  nvidia-cuda-nvrtc-cu12==12.8.93 nvidia-cuda-nvrtc==13.5.37

if ! command -v clang-19 >/dev/null || ! command -v ld.lld-19 >/dev/null; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "kernel_compilers: clang-19 and lld-19 are missing; install them (Debian: apt-get install clang-19 lld-19)" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends clang-19 lld-19 >/dev/null
fi

ls "$folder"/nvidia/*/lib/libnvrtc.so.*
clang-19 --version | head -n 1

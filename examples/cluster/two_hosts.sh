#!/usr/bin/env bash
# Trains on several hosts that you start by hand. On each of two hosts, with its number 0 or 1:
#
#   bash two_hosts.sh node0:29400 2 0        bash two_hosts.sh node0:29400 2 1
#
# node0 is the name of the first host, 29400 a free port on it that the others can reach.
set -euo pipefail
coordinator=$1 processes=$2 process=$3
work_dir=${WORK_DIR:-/shared/runs/scenes}

export KERAS_BACKEND=jax
exec keras-dpn train dpn/scenes --work-dir "$work_dir" --resume \
  --coordinator "$coordinator" --num-processes "$processes" --process-id "$process"

#!/usr/bin/env bash
# Boot the whole stack, or whatever of it does not run yet. ./run.sh --help lists the switches.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/bootstrap.sh"

STACK_UV="${STACK_UV:-$(find_uv)}"
export STACK_UV
build_environment scripts
stack up "$@"

#!/usr/bin/env bash
# Boot the whole stack, or whatever of it does not run yet. ./run.sh --help lists the switches.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/bootstrap.sh"

# The first boot decides, and .env keeps it: Docker where its engine answers, else native.
mode="$(kept_mode)"
if [[ " $* " == *" --native "* ]]; then
    mode="${mode:-native}"
elif [[ " $* " == *" --docker "* ]]; then
    [[ "${mode:-docker}" == docker ]] ||
        die "This stack runs the $mode way, and its data is there: ./stop.sh --wipe, remove STACK_MODE from $env_file, and start again with --docker."
    mode=docker
elif [[ -z "$mode" ]] && engine_answers && compose_is_v2; then
    mode=docker
fi
if [[ "$mode" == docker && " $* " != *" --help "* && " $* " != *" -h "* ]]; then
    docker_up "$@"
    exit
fi

STACK_UV="${STACK_UV:-$(find_uv)}"
export STACK_UV
build_environment scripts
stack up "$@"

#!/usr/bin/env bash
# Stop the stack. ./stop.sh --wipe also removes its data.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/bootstrap.sh"

stack down "$@"

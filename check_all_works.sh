#!/usr/bin/env bash
# Prove that every service does its job: one line each, exit 0 only if all hold. --exact compares with Postgres itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/bootstrap.sh"

stack check "$@"

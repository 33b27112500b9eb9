#!/usr/bin/env bash
# Prove that every service does its job: one line each, exit 0 only if all hold. --exact compares with Postgres itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/bootstrap.sh"

if [[ " $* " == *" --exact "* && "$*" != --exact ]]; then
    die "--exact stands alone: ./check_all_works.sh --exact"
fi
if [[ "$*" != --exact ]]; then
    stack check "$@"
    exit
fi

# In shells of their own: natively each becomes its command. The first waits for a DAG run that is at work.
failed=0
(stack check) || failed=1
code=0
said="$( (stack exec airflow-scheduler python -m elt verify --published) 2>&1 </dev/null)" || code=$?
(stack check --verified "$code $said") || failed=1
exit "$failed"

#!/usr/bin/env bash
# benchmarks/run.sh NAME [--quick] [--json]: run benchmarks/NAME.py in the tests' environment. README.md says how to read it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/bootstrap.sh"

name="${1:-}"
[[ -n "$name" && -f "$repo/benchmarks/$name.py" ]] ||
    die "There is no benchmark '$name': $(cd "$repo/benchmarks" && printf '%s ' *.py)"
shift
cd "$repo"
for environment in scripts tests clickhouse postgres dbt airflow superset; do
    build_environment "$environment"
done
PYTHONPATH="$repo/benchmarks:$repo/airflow/plugins:$repo/clickhouse:$repo/scripts" exec "$STACK_VENVS/tests/bin/python" "benchmarks/$name.py" "$@"

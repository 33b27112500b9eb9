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
# The benchmarks' own folder goes last: one of them has the name of a module of the standard library.
start='import runpy, sys; sys.path.append("benchmarks"); del sys.argv[0]; runpy.run_path(sys.argv[0], run_name="__main__")'
PYTHONPATH="$repo/airflow/plugins:$repo/clickhouse:$repo/scripts" \
    exec "$STACK_VENVS/tests/bin/python" -P -c "$start" "benchmarks/$name.py" "$@"

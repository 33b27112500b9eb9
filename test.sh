#!/usr/bin/env bash
# ./test.sh [lint|unit|integration|e2e|long]..: build what the tests need and run them. Without a word: all but `long`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/bootstrap.sh"

case "${1:-}" in -h | --help)
    sed -n 2p "${BASH_SOURCE[0]}" | cut -c3-
    exit 0
    ;;
esac

cd "$repo"
if [[ $# -eq 0 ]]; then
    set -- lint unit integration e2e
fi
for stage in "$@"; do
    [[ $stage =~ ^(lint|unit|integration|e2e|long)$ ]] || die "There is no stage '$stage': lint, unit, integration, e2e or long."
done

# The wheel of Postgres is tested even where the system has a Postgres of its own.
for environment in scripts tests clickhouse postgres dbt airflow superset; do
    build_environment "$environment"
done
export STACK_UV="${STACK_UV:-$(find_uv)}"
# Compiled once, and not at each of the many starts.
unset PYTHONDONTWRITEBYTECODE
bin="$STACK_VENVS/tests/bin"
export PATH="$bin:$PATH"

# The e2e tests look at the dashboards as people do.
find_browser() {
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        if command -v "$name" >/dev/null; then
            return
        fi
    done
    if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
        printf 'Installing chromium for the e2e tests\n' >&2
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
            >/dev/null || die "chromium could not be installed: check apt's sources, or install it by hand."
        return
    fi
    die "The e2e tests need a browser: install chromium (Debian: apt install chromium) or Google Chrome."
}

lint() {
    ruff check --quiet .
    ruff format --quiet --check .
    mypy airflow/plugins airflow/provision.py clickhouse/embedded scripts/stack scripts/webhook scripts/shop \
        scripts/webhook_server.py superset/provisioning superset/provision.py superset/export.py superset/config
    # shellcheck disable=SC2046 # none of our file names holds a space
    shellcheck $(git ls-files -- '*.sh' .ci/run scripts | xargs grep -l -m1 -E '^#!/usr/bin/env bash|^# shellcheck shell=bash')
    yamllint --strict .
    sqlfluff lint --disable-progress-bar dbt/models
}

tests() {
    pytest -q -p no:cacheprovider "$@"
}

for stage in "$@"; do
    printf '\n== %s\n' "$stage"
    case "$stage" in
    lint) lint ;;
    unit) tests tests/unit ;;
    # Much of it is waiting for servers: two at a time, each with servers of its own.
    integration) tests -n 2 --dist loadfile tests/integration ;;
    e2e)
        find_browser
        tests tests/e2e
        ;;
    long) tests --long tests/faults tests/integration ;;
    esac
done
printf '\nEverything that was asked for holds: %s.\n' "$*"

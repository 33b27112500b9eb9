#!/usr/bin/env bash
# ./test.sh [lint|unit|integration|e2e|containers|long]..: build what the tests need and run them. Without a word: all but the last two.
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
    [[ $stage =~ ^(lint|unit|integration|e2e|containers|long)$ ]] ||
        die "There is no stage '$stage': lint, unit, integration, e2e, containers or long."
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
    hadolint --ignore DL3008 tests/containers/stand_ins/*/Dockerfile airflow/Dockerfile dbt/Dockerfile superset/Dockerfile scripts/Dockerfile
    yamllint --strict .
    sqlfluff lint --disable-progress-bar dbt/models
    lint_dbt_project
}

# Descriptions, names, keys and owners of the models, as pyproject.toml and dbt/dbt_score_rules ask for them.
lint_dbt_project() {
    local parsed
    parsed="$(mktemp -d)"
    CLICKHOUSE_DBT_PASSWORD=unused "$STACK_VENVS/dbt/bin/dbt" --quiet parse \
        --project-dir dbt --profiles-dir dbt --target-path "$parsed" --log-path "$parsed"
    (cd dbt && dbt-score lint --manifest "$parsed/manifest.json" --show failing-items)
    rm -rf "$parsed"
}

tests() {
    pytest -q -p no:cacheprovider "$@"
}

# Each part with servers of its own, two parts at a time: much of it is waiting. A part is shown when it has ended.
integration() {
    local logs
    logs="$(mktemp -d)"
    export logs
    # shellcheck disable=SC2016 # expanded by the inner shell
    printf '%s\n' tests/integration/*/ | xargs -n 1 -P 2 bash -c '
        part="$(basename "$0")"
        code=0
        pytest -q -p no:cacheprovider "$0" >"$logs/$part" 2>&1 || code=$?
        flock "$logs" bash -c "printf \"\n-- %s\n\" \"\$0\"; cat \"\$1\"" "$part" "$logs/$part"
        # 5: a part whose tests are all marked long.
        [[ $code -eq 0 || $code -eq 5 ]]
    ' || die "Integration tests failed: see above."
    rm -rf "$logs"
}

for stage in "$@"; do
    printf '\n== %s\n' "$stage"
    case "$stage" in
    lint) lint ;;
    unit) tests tests/unit ;;
    integration) integration ;;
    e2e)
        find_browser
        tests tests/e2e
        ;;
    containers)
        docker info >/dev/null 2>&1 || die "The tests of the containers need Docker's engine: start it, or set DOCKER_HOST."
        tests tests/containers
        ;;
    long) tests --long tests ;;
    esac
done
printf '\nEverything that was asked for holds: %s.\n' "$*"

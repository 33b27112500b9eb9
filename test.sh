#!/usr/bin/env bash
# Build what the tests need, and run them. ./test.sh --help says how.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/bootstrap.sh"

usage() {
    cat <<'USAGE'
./test.sh [STAGE..] [pytest arguments]    without a stage: lint unit integration e2e

  lint          ruff, mypy, import-linter, shellcheck, hadolint, yamllint, sqlfluff, dbt-score: nothing is changed
  unit          without servers
  integration   each part with real servers of its own, two parts at a time
  e2e           the whole stack, in a browser too
  containers    the stack in containers; needs Docker's engine
  long          soaks and large counts, of all stages
  faults        parts are killed, stopped and cut off while runs go on (docs/faults.md); a short version is in integration
  fix           formats the code, mends what the linters can, and writes dbt's descriptions where they are shown

What follows the stages goes to pytest, and after faults to the harness (./test.sh faults --help):

  ./test.sh unit -k watermark -x                                some of a stage
  ./test.sh unit tests/unit/elt/pipeline/test_elt_names.py     one file; only the environments of its part are built
  ./test.sh integration tests/integration/elt                   one part
  ./test.sh faults kill-publish --rounds 50                     some scenarios
USAGE
}

stages=()
while [[ $# -gt 0 && "$1" =~ ^(lint|unit|integration|e2e|containers|long|faults|fix)$ ]]; do
    stages+=("$1")
    shift
done
case "${1:-}" in
-h | --help)
    # The harness has a help of its own.
    if [[ "${stages[*]-}" != faults ]]; then
        usage
        exit 0
    fi
    ;;
esac
if [[ ${#stages[@]} -eq 0 ]]; then
    [[ $# -eq 0 ]] || die "'$1' is not a stage: name one first, as in ./test.sh unit $1 (stages: lint, unit, integration, e2e, containers, long, faults, fix)."
    stages=(lint unit integration e2e)
fi
for stage in "${stages[@]}"; do
    [[ $# -eq 0 || ! $stage =~ ^(lint|fix)$ ]] || die "'$stage' takes no pytest arguments: leave it out, or leave out '$1'."
done
cd "$repo"

# The parts below tests/STAGE that the arguments name; none: all of them.
named_parts() {
    local argument
    for argument in "${@:2}"; do
        if [[ "$argument" =~ ^(\./)?tests/$1/([a-z_]+) ]]; then
            printf '%s\n' "${BASH_REMATCH[2]}"
        fi
    done
}

# The environments that a part of a stage needs beside that of the tests.
environments_of() {
    case "$1/$2" in
    lint/* | fix/*) echo dbt ;;
    unit/airflow | unit/dbt | unit/superset) echo "$2" ;;
    unit/stack) echo postgres ;;
    unit/*) ;;
    integration/clickhouse) echo scripts postgres clickhouse dbt superset ;;
    integration/postgres | integration/stack | integration/warehouse) echo scripts postgres clickhouse ;;
    integration/elt | integration/dbt | integration/webhook | faults/*) echo scripts postgres clickhouse dbt ;;
    integration/superset) echo scripts postgres clickhouse dbt superset ;;
    integration/airflow) echo scripts postgres clickhouse dbt airflow ;;
    # The wheel of Postgres is tested even where the system has a Postgres of its own.
    *) echo scripts postgres clickhouse dbt airflow superset ;;
    esac
}

needed=(tests)
for stage in "${stages[@]}"; do
    mapfile -t parts < <(named_parts "$stage" "$@")
    if [[ ${#parts[@]} -eq 0 ]]; then
        parts=(all)
        [[ $stage != unit ]] || parts=(airflow dbt superset stack)
    fi
    for part in "${parts[@]}"; do
        read -ra words < <(environments_of "$stage" "$part") || true
        needed+=("${words[@]}")
    done
done
for environment in $(printf '%s\n' "${needed[@]}" | sort -u); do
    build_environment "$environment"
done
export STACK_UV="${STACK_UV:-$(find_uv)}"
# Compiled once, and not at each of the many starts. Stacks of the tests have a .env of their own.
unset PYTHONDONTWRITEBYTECODE STACK_ENV_FILE
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
    if can_install; then
        install_package chromium e2e
        return
    fi
    die "The e2e tests need a browser: install chromium (Debian: apt install chromium) or Google Chrome."
}

# The tests of poolers are skipped where there is none and it cannot be installed.
find_pooler() {
    if PATH="$PATH:/usr/sbin" command -v pgbouncer >/dev/null; then
        return
    fi
    if can_install; then
        install_package pgbouncer integration
        return
    fi
    printf 'The tests of poolers are skipped: install pgbouncer (Debian: apt install pgbouncer) to run them\n' >&2
}

can_install() {
    [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null
}

# install_package PACKAGE TESTS
install_package() {
    printf 'Installing %s for the %s tests\n' "$1" "$2" >&2
    # Debian starts a pooler of its own on port 6432 otherwise.
    { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"; } \
        >/dev/null || die "$1 could not be installed: check apt's sources, or install it by hand."
}

lint() {
    ruff check --quiet .
    ruff format --quiet --check .
    mypy airflow/plugins airflow/provision.py clickhouse/embedded scripts/environment scripts/notify scripts/stack scripts/warehouse scripts/webhook scripts/shop \
        scripts/webhook_server.py scripts/describe_marts.py superset/provisioning superset/provision.py superset/export.py \
        superset/config tests/faults scripts/testing
    PYTHONPATH=airflow/plugins:clickhouse:scripts lint-imports >/dev/null ||
        { PYTHONPATH=airflow/plugins:clickhouse:scripts lint-imports && false; }
    # shellcheck disable=SC2046 # none of our file names holds a space
    shellcheck $(git ls-files -- '*.sh' .ci/run scripts | xargs grep -l -m1 -E '^#!/usr/bin/env bash|^# shellcheck shell=bash')
    hadolint --ignore DL3008 tests/containers/stand_ins/*/Dockerfile airflow/Dockerfile dbt/Dockerfile superset/Dockerfile scripts/Dockerfile
    yamllint --strict .
    sqlfluff lint --disable-progress-bar dbt/models
    with_dbt_manifest lint_dbt_project
}

fix() {
    ruff check --quiet --fix-only .
    ruff format .
    with_dbt_manifest python scripts/describe_marts.py
    sqlfluff fix --quiet --disable-progress-bar dbt/models || die "sqlfluff cannot mend all: ./test.sh lint says what is left."
}

# Reads the project and calls a command with the manifest, the sample shop included.
with_dbt_manifest() {
    local parsed code=0
    parsed="$(mktemp -d)"
    {
        SAMPLE_SHOP=true CLICKHOUSE_DBT_PASSWORD=unused "$STACK_VENVS/dbt/bin/dbt" --quiet parse \
            --project-dir dbt --profiles-dir dbt --target-path "$parsed" --log-path "$parsed" &&
            "$@" "$parsed/manifest.json"
    } || code=$?
    rm -rf "$parsed"
    return "$code"
}

# Descriptions, names, keys and owners of the models, as pyproject.toml and dbt/dbt_score_rules ask for them; and what is
# written from the descriptions.
lint_dbt_project() {
    (cd dbt && dbt-score lint --show failing-items --manifest "$1") && python scripts/describe_marts.py --check "$1"
}

names_tests() {
    [[ " $*" == *" tests/"* || " $*" == *" ./tests/"* ]]
}

# tests FOLDER ARGUMENTS..: those of the folder, or what the arguments name.
tests() {
    local folder="$1"
    shift
    if names_tests "$@"; then
        pytest -q -p no:cacheprovider "$@"
    else
        pytest -q -p no:cacheprovider "$folder" "$@"
    fi
}

# Each part with servers of its own, two parts at a time: much of it is waiting. A part is shown when it has ended.
integration() {
    local logs
    logs="$(mktemp -d)"
    export logs
    # shellcheck disable=SC2016 # expanded by the inner shell
    printf '%s\n' tests/integration/*/ | xargs -I '{}' -P 2 bash -c '
        part="$(basename "$1")"
        code=0
        pytest -q -p no:cacheprovider "$1" "${@:2}" >"$logs/$part" 2>&1 || code=$?
        flock "$logs" bash -c "printf \"\n-- %s\n\" \"\$0\"; cat \"\$1\"" "$part" "$logs/$part"
        # 5: a part whose tests are all marked long, or left out.
        [[ $code -eq 0 || $code -eq 5 ]]
    ' _ '{}' "$@" || die "Integration tests failed: see above."
    rm -rf "$logs"
}

for stage in "${stages[@]}"; do
    printf '\n== %s\n' "$stage"
    case "$stage" in
    lint) lint ;;
    fix) fix ;;
    unit) tests tests/unit "$@" ;;
    integration)
        find_pooler
        if names_tests "$@"; then tests tests/integration "$@"; else integration "$@"; fi
        ;;
    e2e)
        find_browser
        tests tests/e2e "$@"
        ;;
    containers)
        docker info >/dev/null 2>&1 || die "The tests of the containers need Docker's engine: start it, or set DOCKER_HOST."
        tests tests/containers "$@"
        ;;
    long) tests tests --long "$@" ;;
    faults) PYTHONPATH=tests:airflow/plugins:scripts python -m faults "$@" ;;
    esac
done
printf '\nEverything that was asked for holds: %s.\n' "${stages[*]}"

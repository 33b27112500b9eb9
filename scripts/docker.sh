# shellcheck shell=bash
# The verbs in containers: needs bash and Docker alone. Sourced by bootstrap.sh, which sets repo and die.
: "${repo:?is set by bootstrap.sh}"

if [[ -n "${STACK_HOME:-}" ]]; then
    env_file="$STACK_HOME/.env"
else
    env_file="$repo/.env"
fi
export STACK_ENV_FILE="$env_file"

# Prints the way of this stack that .env has kept, or nothing before the first boot.
kept_mode() {
    [[ -f "$env_file" ]] || return 0
    sed -n 's/^STACK_MODE=//p' "$env_file"
}

engine_answers() {
    command -v docker >/dev/null && docker info >/dev/null 2>&1
}

# compose ARGS..: Docker's Compose v2, as a plugin or by its hyphenated name.
compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose --project-directory "$repo" --env-file "$env_file" "$@"
    else
        docker-compose --project-directory "$repo" --env-file "$env_file" "$@"
    fi
}

compose_is_v2() {
    local version
    version="$(docker compose version --short 2>/dev/null || docker-compose version --short 2>/dev/null || true)"
    [[ "${version#v}" =~ ^([2-9]|[1-9][0-9])\. ]]
}

tools() {
    compose run --rm --no-deps -T tools "$@"
}

# A SOURCE_URL that means this machine would mean the container itself inside one.
check_source_url() {
    local url
    url="$(sed -n 's/^SOURCE_URL=//p' "$env_file")"
    if [[ "$url" =~ ^postgres(ql)?://([^@/]*@)?(localhost|127\.[0-9.]+|\[::1\])([:/?]|$) ]]; then
        die "SOURCE_URL in $env_file names ${BASH_REMATCH[3]}, which inside a container is the container itself: write host.docker.internal for this machine."
    fi
}

docker_up() {
    local wait_for_run=true word memory bind=127.0.0.1
    for word in "$@"; do
        [[ "$word" == --no-wait ]] && wait_for_run=false
    done
    command -v docker >/dev/null || die "Docker is not installed: install it, or start by ./run.sh --native."
    engine_answers || die "Docker's engine does not answer: start it, or let this user reach it (group docker)."
    compose_is_v2 || die "Docker Compose v2 is missing: install the package docker-compose-plugin."
    memory="$(docker info --format '{{.MemTotal}}')"
    if ((memory < 6000000000)); then
        printf 'warning  The engine has %d MB of memory, and the stack is at ease with 8000.\n' "$((memory / 1000000))" >&2
    fi
    printf 'Building the image ecommerce-pipeline/tools\n'
    docker build --quiet --tag ecommerce-pipeline/tools --file "$repo/scripts/Dockerfile" "$repo" >/dev/null ||
        die "The image of the tools could not be built: check the network and start again."
    mkdir -p "$(dirname "$env_file")"
    # In the host's network, so that taken ports are seen as this machine sees them.
    docker run --rm --network host --user "$(id -u):$(id -g)" --volume "$(dirname "$env_file"):/home/stack" \
        --env STACK_HOME=/home/stack ecommerce-pipeline/tools stack env docker || exit 1
    check_source_url

    printf 'Pulling postgres and clickhouse-server\n'
    compose pull --quiet postgres-source airflow-db clickhouse-server
    for word in airflow-webserver webhook-server superset; do
        printf 'Building the image of %s\n' "$word"
        compose build --quiet "$word"
    done
    printf 'Starting the containers, each after what it waits for is healthy\n'
    compose up --detach --wait --wait-timeout 600 --remove-orphans ||
        die "Not every container became healthy: scripts/logs SERVICE shows the log of one, docker ps says which."
    bind="$(sed -n 's/^BIND_ADDRESS=//p' "$env_file")"
    printf 'All containers are healthy; their ports are on %s\n' "$bind"
    if $wait_for_run; then
        tools stack await || exit 1
    fi
    tools stack summary
}

docker_down() {
    local wipe=false sure=false word answer
    for word in "$@"; do
        case "$word" in
        --wipe) wipe=true ;;
        --yes) sure=true ;;
        *) die "./stop.sh does not know $word: --wipe also removes all data, --yes does not ask." ;;
        esac
    done
    if $wipe && ! $sure; then
        [[ -t 0 ]] || die "--wipe removes all data and nobody is there to ask: say --yes as well."
        read -r -p "Stop the stack and remove all its volumes? This cannot be undone. [y/N] " answer
        [[ "$answer" =~ ^[yY](es)?$ ]] || die "Nothing was stopped or removed: the answer was not yes."
    fi
    if $wipe; then
        compose down --volumes --remove-orphans
        printf 'Removed the data; %s is kept. Start with empty data: ./run.sh\n' "$env_file"
    else
        compose down --remove-orphans
        printf 'Everything is stopped. Start again: ./run.sh\n'
    fi
}

docker_exec() {
    local service="${1:?scripts/exec SERVICE CMD..}" flags=(-i)
    shift
    [[ -t 0 && -t 1 ]] && flags+=(-t)
    [[ $# -gt 0 ]] || set -- sh
    exec docker exec "${flags[@]}" "$service" "$@"
}

docker_logs() {
    local service="${1:?scripts/logs SERVICE}" words=(--tail 100)
    shift
    while [[ $# -gt 0 ]]; do
        case "$1" in
        -f | --follow) words+=(--follow) ;;
        -n | --lines)
            words+=(--tail "${2:?-n LINES}")
            shift
            ;;
        *) die "scripts/logs does not know $1: -f follows, -n LINES says how many." ;;
        esac
        shift
    done
    exec docker logs "${words[@]}" "$service"
}

# in_containers VERB ARGS..: what `stack VERB` is natively.
in_containers() {
    local verb="$1"
    shift
    case "$verb" in
    up) docker_up "$@" ;;
    down) docker_down "$@" ;;
    check) tools stack check "$@" ;;
    exec) docker_exec "$@" ;;
    logs) docker_logs "$@" ;;
    esac
}

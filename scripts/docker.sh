# shellcheck shell=bash
# The verbs in containers: needs bash and Docker alone. Sourced by bootstrap.sh, which sets repo and die.
: "${repo:?is set by bootstrap.sh}" "${stack_home:?is set by bootstrap.sh}"

if [[ -n "${STACK_HOME:-}" ]]; then
    env_file="$STACK_HOME/.env"
else
    env_file="$repo/.env"
fi
export STACK_ENV_FILE="$env_file"
sources_file="$(dirname "$env_file")/.env.sources"
if [[ -f "$sources_file" ]]; then
    export STACK_SOURCES_FILE="$sources_file"
fi
STACK_VERSION="$(<"$repo/VERSION")"
export STACK_VERSION

# env_value NAME: prints a value of .env, or nothing, as stack/env/lines.py reads it; what that refuses is refused there.
env_value() {
    local line value="" LC_ALL=C
    [[ -f "$env_file" && -r "$env_file" ]] || return 0
    while IFS= read -r line || [[ -n "$line" ]]; do
        line="${line#$'\xef\xbb\xbf'}"
        line="${line%$'\r'}"
        [[ "$line" =~ ^[[:blank:]]*(export[[:blank:]]+)?$1[[:blank:]]*=[[:blank:]]*(.*)$ ]] || continue
        value="${BASH_REMATCH[2]}"
    done <"$env_file"
    case "$value" in
    \'*) value="${value#\'}" value="${value%%\'*}" ;;
    \"*) value="${value#\"}" value="${value%%\"*}" ;;
    *) value="${value%% #*}" value="${value%"${value##*[![:space:]]}"}" ;;
    esac
    printf '%s\n' "$value"
}

# Prints the way of this stack that .env has kept, or nothing before the first boot.
kept_mode() {
    env_value STACK_MODE
}

# Prints the names that .env may hold.
env_names() {
    sed -n 's/^\([A-Z][A-Z0-9_]*\)=.*/\1/p' "$repo/.env.example"
}

engine_answers() {
    command -v docker >/dev/null && docker info >/dev/null 2>&1
}

# Prints the path of the Compose file. Engines before 25 refuse start_interval: theirs is a copy without it.
compose_file() {
    local version old="$stack_home/docker-compose.engine-before-25.yml"
    version="$(docker version --format '{{.Server.Version}}')"
    if ((${version%%.*} >= 25)); then
        printf '%s\n' "$repo/docker-compose.yml"
        return
    fi
    mkdir -p "$stack_home"
    sed -e '/^  start_interval:/d' -e 's/^  interval: .*/  interval: 3s/' "$repo/docker-compose.yml" >"$old.new"
    mv "$old.new" "$old"
    printf '%s\n' "$old"
}

# Sums of the files that containers mount: another sum makes those containers anew, and no others.
server_files() {
    (cd "$repo" && cat postgres/postgresql.conf postgres/docker/*.sh postgres/metadata/*.sql \
        clickhouse/config/*.xml clickhouse/docker/*.xml | cksum | cut -d' ' -f1)
}
pipeline_file() {
    cksum <"$repo/pipeline.yml" | cut -d' ' -f1
}

# Sets words to what calls Docker's Compose v2, a plugin or a program of its own.
compose_words() {
    words=(docker compose)
    docker compose version >/dev/null 2>&1 || words=(docker-compose)
    # A terminal gets Compose's moving picture; a log gets what this script says.
    [[ -t 1 ]] || words+=(--progress quiet)
}

# Prints a comma and the name of each variable of .env.sources, for the list of what logs mask.
source_names() {
    [[ -f "$sources_file" && -r "$sources_file" ]] || return 0
    sed -nE 's/^[[:blank:]]*(export[[:blank:]]+)?([A-Za-z_][A-Za-z0-9_]*)[[:blank:]]*=.*/,\2/p' "$sources_file" | tr -d '\n'
}

# compose ARGS..: What .env says counts, and not what the caller's environment says by the same name, which Compose would
# prefer.
compose() {
    local words name without=()
    compose_words
    for name in $(env_names); do
        without+=(-u "$name")
    done
    NO_PROXY="${no_proxy:-${NO_PROXY:-}}" STACK_SERVER_FILES="$(server_files)" STACK_PIPELINE_FILE="$(pipeline_file)" \
        STACK_SOURCE_NAMES="$(source_names)" env "${without[@]}" "${words[@]}" --project-directory "$repo" --file "$(compose_file)" --env-file "$env_file" "$@"
}

compose_is_v2() {
    local version
    version="$(docker compose version --short 2>/dev/null || docker-compose version --short 2>/dev/null || true)"
    [[ "${version#v}" =~ ^([2-9]|[1-9][0-9])\. ]]
}

# one_off OPTIONS.. SERVICE ARGS..: as the user who runs the verb, who owns .env and the files of this repository.
one_off() {
    compose run --rm --no-deps -T --user "$(id -u):$(id -g)" "$@"
}

tools() {
    one_off tools "$@"
}

# in_env_folder ARGS..: `stack ARGS` with the folder of .env, which Compose itself need not be able to read.
in_env_folder() {
    local real name words=(docker)
    real="$(readlink -f "$env_file" || printf '%s' "$env_file")"
    words+=(run --rm --network host --user "$(id -u):$(id -g)" --volume "$(dirname "$real"):/home/stack")
    words+=(--env STACK_HOME=/home/stack --env "STACK_ENV_NAME=$(basename "$real")" --env STACK_ENV_FILE)
    for name in $(env_names); do
        words+=(--env "$name")
    done
    "${words[@]}" ecommerce-pipeline/tools stack "$@"
}

# Ends with the sentences of a bad .env, in place of what Compose says of it, which shows values.
check_env() {
    # Only an image of this version knows the question; ./run.sh builds it.
    [[ "$(docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.version"}}' ecommerce-pipeline/tools 2>/dev/null)" == "$STACK_VERSION" ]] ||
        return 0
    in_env_folder env docker --check || exit 1
}

# Make or complete .env as the native way does: the same program, with the file in its folder. Values of the environment
# count at the first boot; in the host's network, so that taken ports are seen as this machine sees them.
prepare_env() {
    local name with_data=()
    [[ ! -L "$env_file" || -e "$env_file" ]] ||
        die "$env_file links to $(readlink "$env_file"), which is not there: put the file back."
    mkdir -p "$(dirname "$env_file")"
    for name in postgres_data airflow_db_data superset_data; do
        docker volume inspect "ecommerce-pipeline_$name" >/dev/null 2>&1 && with_data=(--with-data)
    done
    in_env_folder env docker ${with_data[@]+"${with_data[@]}"}
}

# Pulls what is not there yet, so that a stack that ran once also starts without the network.
pull_missing() {
    local image
    for image in $(compose config --images postgres-source clickhouse-server | sort --unique); do
        docker image inspect "$image" >/dev/null 2>&1 && continue
        printf 'Pulling the image %s\n' "$image"
        docker pull --quiet "$image" >/dev/null ||
            die "The image $image could not be pulled: check the network (docker pull $image) and start again."
    done
}

# Prints each container that is not well, with the end of its log. One that was only created waits for such a one.
show_unwell() {
    local name state
    for name in $(compose ps --all --format '{{.Name}}'); do
        state="$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "$name")"
        case "$state" in
        "running 0 healthy" | "running 0 " | "exited 0 "* | created*) continue ;;
        esac
        printf '%s is %s; the end of its log:\n' "$name" "${state% }"
        docker logs --tail 15 "$name" 2>&1 | sed 's/^/    /'
    done
}

docker_up() {
    local wait_for_run=true word memory
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
    docker build --quiet --tag ecommerce-pipeline/tools --label "org.opencontainers.image.version=$STACK_VERSION" --file "$repo/scripts/Dockerfile" "$repo" >/dev/null ||
        die "The image of the tools could not be built: check the network and start again."
    prepare_env || exit 1

    pull_missing
    for word in airflow-webserver webhook-server superset; do
        printf 'Building the image of %s\n' "$word"
        compose build --quiet "$word"
    done
    printf 'Starting the containers, each after what it waits for is healthy\n'
    if ! compose up --detach --wait --wait-timeout 600 --remove-orphans; then
        show_unwell >&2
        die "Not every container became healthy: mend what the log above says and start again; scripts/logs SERVICE shows all of one."
    fi
    printf 'All containers are healthy; their ports are on %s\n' "$(env_value BIND_ADDRESS)"
    if $wait_for_run; then
        tools stack await || exit 1
    fi
    tools stack summary
}

# remove_containers OPTIONS..: by their labels alone, so that a stack can be stopped whatever .env says by now.
remove_containers() {
    local words
    compose_words
    (cd / && unset COMPOSE_FILE && "${words[@]}" --project-name ecommerce-pipeline down --remove-orphans "$@")
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
        remove_containers --volumes
        printf 'Removed the data; %s is kept. Start with empty data: ./run.sh\n' "$env_file"
    else
        remove_containers
        printf 'Everything is stopped. Start again: ./run.sh\n'
    fi
}

# need_container VERB [SERVICE]: ends with a sentence unless the service has a container.
need_container() {
    local services
    services="$(sed -n 's/^    container_name: //p' "$repo/docker-compose.yml" | paste -sd ' ')"
    [[ $# -gt 1 ]] || die "$1 wants a service: one of $services."
    [[ " $services " == *" $2 "* ]] || die "$2 is not a service: one of $services."
    docker container inspect "$2" >/dev/null 2>&1 || die "$2 has no container: start the stack by ./run.sh."
}

docker_exec() {
    local service flags=(-i)
    need_container scripts/exec "$@"
    service="$1"
    shift
    [[ -t 0 && -t 1 ]] && flags+=(-t)
    [[ $# -gt 0 ]] || set -- sh
    exec docker exec "${flags[@]}" "$service" "$@"
}

docker_logs() {
    local service words=(--tail 100)
    need_container scripts/logs "$@"
    service="$1"
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

docker_generate_data() {
    one_off --env POSTGRES_HOST=postgres-source --env POSTGRES_PORT=5432 tools shop "$@"
}

# Writes pipeline.yml and dbt/ as the user who runs it. The running containers see the new pipeline.yml when they are made anew.
docker_add_table() {
    # By the same path as on this machine: what is written is named.
    one_off --volume "$repo:$repo" --env "ELT_PIPELINE=$repo/pipeline.yml" --entrypoint python airflow-scheduler \
        -m elt.cli.add_table --dbt "$repo/dbt" "$@" || exit
    for word in "$@"; do
        [[ "$word" != --help && "$word" != -h ]] || return 0
    done
    docker_up --no-wait >/dev/null
}

# The image holds the files as they were when it was built; what is written goes into this repository, as this user.
docker_export_dashboards() {
    one_off --volume "$repo/superset/assets:/app/superset/assets" --entrypoint python superset superset/export.py "$@"
}

# in_containers VERB ARGS..: what `stack VERB` is natively.
in_containers() {
    local verb="$1"
    shift
    case "$verb" in
    check | generate_data | add_table | export_dashboards) check_env ;;
    esac
    case "$verb" in
    up) docker_up "$@" ;;
    down) docker_down "$@" ;;
    check) tools stack check "$@" ;;
    exec) docker_exec "$@" ;;
    logs) docker_logs "$@" ;;
    generate_data) docker_generate_data "$@" ;;
    add_table) docker_add_table "$@" ;;
    export_dashboards) docker_export_dashboards "$@" ;;
    esac
}

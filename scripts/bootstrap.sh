# shellcheck shell=bash
# What the four verbs and the tools share: find or fetch uv, build the environment of the service manager, call it.
# Sourced, never run. Sets: repo, STACK_VENVS.

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
stack_home="${STACK_HOME:-$repo/.stack}"
export STACK_VENVS="${STACK_VENVS:-$stack_home/venvs}"

die() {
    printf 'error  %s\n' "$1" >&2
    exit 1
}

# Prints the path of a uv; fetches it from the package index where the machine has none.
find_uv() {
    if command -v uv; then
        return
    fi
    local folder="$stack_home/uv" python
    if [[ ! -x "$folder/bin/uv" ]]; then
        python="$(command -v python3)" || die "python3 is missing: install Python 3.8 or newer with its venv module."
        printf 'Fetching uv, which builds the environments\n' >&2
        mkdir -p "$stack_home" || die "$stack_home cannot be written: set STACK_HOME to a folder that can."
        rm -rf "$folder"
        "$python" -m venv "$folder" >&2 ||
            die "Python's venv module is missing: install it (Debian and Ubuntu: apt install python3-venv)."
        "$folder/bin/pip" install --quiet --disable-pip-version-check uv >&2 ||
            die "uv could not be fetched: check the network, or install uv and start again."
    fi
    printf '%s\n' "$folder/bin/uv"
}

lock_hash() {
    sha256sum "$repo/$1/requirements.lock" | cut -d' ' -f1
}

# build_environment NAME: from NAME/requirements.lock, unless it is there and up to date.
build_environment() {
    local folder="$STACK_VENVS/$1"
    if [[ -f "$folder/lock.sha256" && "$(<"$folder/lock.sha256")" == "$(lock_hash "$1")" ]]; then
        return
    fi
    STACK_UV="${STACK_UV:-$(find_uv)}"
    export STACK_UV
    printf 'Building the environment of %s\n' "$1" >&2
    if [[ ! -x "$folder/bin/python" ]]; then
        "$STACK_UV" venv --quiet --no-config --clear --python 3.11 "$folder" ||
            die "Python 3.11 could not be found or fetched: install it and start again."
    fi
    VIRTUAL_ENV="$folder" "$STACK_UV" pip sync --quiet --no-config --require-hashes "$repo/$1/requirements.lock" ||
        die "The environment $1 could not be built: check the network and start again."
    lock_hash "$1" >"$folder/lock.sha256"
}

# stack VERB ARGS..: do it the way that the first boot decided. Only run.sh may build the environment of the manager.
stack() {
    local python="$STACK_VENVS/scripts/bin/python"
    if [[ "$(kept_mode)" == docker ]]; then
        in_containers "$@"
        return
    fi
    [[ -x "$python" ]] || die "The stack has never been started here: start it by ./run.sh."
    PYTHONPATH="$repo/scripts" exec "$python" -m stack "$@"
}

# shellcheck source=scripts/docker.sh
source "$repo/scripts/docker.sh"

#!/bin/bash
# What the official image promises of its first boot: the variables POSTGRES_*, and the files of /docker-entrypoint-initdb.d.
set -euo pipefail
data=/var/lib/postgresql/data

as_postgres() {
    setpriv --reuid postgres --regid postgres --init-groups "$@"
}

install -d -o postgres -g postgres -m 700 "$data"
install -d -o postgres -g postgres /var/run/postgresql
if [[ ! -s "$data/PG_VERSION" ]]; then
    install -o postgres -m 600 /dev/null /tmp/password
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    # shellcheck disable=SC2086 # words, as in the official image
    as_postgres initdb --pgdata "$data" --encoding UTF8 --locale C.UTF-8 --username "$POSTGRES_USER" --auth-local trust \
        --auth-host scram-sha-256 --pwfile /tmp/password ${POSTGRES_INITDB_ARGS:-}
    rm /tmp/password
    printf 'host all all all scram-sha-256\n' >>"$data/pg_hba.conf"
    as_postgres pg_ctl --pgdata "$data" --wait --options "-c listen_addresses=''" start
    export PGUSER="$POSTGRES_USER"
    if [[ "$POSTGRES_DB" != postgres ]]; then
        psql --no-psqlrc --dbname postgres --command "CREATE DATABASE \"$POSTGRES_DB\""
    fi
    export PGDATABASE="$POSTGRES_DB"
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
        *.sh) "$file" ;;
        *.sql) psql --no-psqlrc --set ON_ERROR_STOP=1 --file "$file" ;;
        esac
    done
    as_postgres pg_ctl --pgdata "$data" --mode fast --wait stop
fi
shift
exec setpriv --reuid postgres --regid postgres --init-groups postgres -D "$data" "$@"

#!/bin/sh
# Runs once, in a new container of the source: the files of postgres/init, or without the sample shop only the reader's.
set -eu
for file in /init/*.sql; do
    case "$SAMPLE_SHOP:$file" in
    false:*reader.sql | true:*)
        printf 'applying %s\n' "$file"
        psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --file "$file"
        ;;
    esac
done

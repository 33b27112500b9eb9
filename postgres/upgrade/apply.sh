#!/bin/sh
# Apply the SQL files beside this script, in the order of their names and each in one transaction, to the database that the PG* variables
# name: the stack's own, never that of SOURCE_URL. It runs at every boot, so each file gives the same result when it is applied again.
# psql's last line names file, line and cause of a failure. Usage: apply.sh [psql]
set -eu
export PGOPTIONS='-c client_min_messages=warning'
for file in "$(dirname "$0")"/*.sql; do
    "${1:-psql}" -X -q -v ON_ERROR_STOP=1 -v VERBOSITY=terse --single-transaction --file "$file"
done

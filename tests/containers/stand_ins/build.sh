#!/usr/bin/env bash
# tests/containers/stand_ins/build.sh: for an engine that cannot reach Docker's registry, makes images of the names that the
# stack asks for out of Debian's and PyPI's packages. They prove this repository's files, not the official images. Needs
# mmdebstrap. Never use one with an engine of your own: it would take the stand-ins for the real ones.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repo="$(cd "$here/../../.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

image() {
    printf 'Making a stand-in for %s\n' "$1"
    docker build --quiet --tag "$1" "$2" >/dev/null
}

command -v mmdebstrap >/dev/null || {
    printf 'error  mmdebstrap is missing: apt install mmdebstrap.\n' >&2
    exit 1
}
printf 'Making a root file system of Debian 12\n'
mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/debian.tar"
docker import "$work/debian.tar" stand-in/debian:12 >/dev/null

cp -r "$here"/* "$work"
# A machine behind a proxy of its own trusts what its bundle says.
cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$work/python/ca-certificates.crt"
image python:3.11-slim "$work/python"
image "$(sed -n 's/^ *image: \(postgres:.*\)/\1/p' "$repo/docker-compose.yml" | sort -u)" "$work/postgres"
cp -r "$repo/clickhouse/requirements.lock" "$repo/clickhouse/embedded" "$work/clickhouse"
image "$(sed -n 's/^ *image: \(clickhouse\/.*\)/\1/p' "$repo/docker-compose.yml")" "$work/clickhouse"
printf 'Next: ./test.sh containers\n'

"""Refuses statements that this server cannot do, each with an alternative."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from embedded.errors import QueryError
from embedded.sql.statement import Statement

_USERS = "users, roles, grants and profiles stand in clickhouse/config/users.xml"
_ENTITIES = {"USER", "ROLE", "QUOTA", "ROW", "POLICY", "MASKING", "SETTINGS", "PROFILE"}
# The engine cannot create tables of these engines, and after an attempt the data folder does not open again (code 722).
_BREAKING = re.compile(r"Kafka|NATS|RabbitMQ", re.IGNORECASE)
_CLUSTERED = re.compile(r"(?:Replicated|Shared)(\w*)", re.IGNORECASE)


def check_supported(statement: Statement) -> None:
    """Raises QueryError, with the cure, for an unsupported statement."""
    _check_files(statement)
    verb, found = statement.verb, statement.tokens
    if verb == "SET" and any(token.upper == "ROLE" for token in found[1:3]):
        raise QueryError(512, f"SET ROLE is not supported: each user has one fixed role; {_USERS}")
    if verb == "EXECUTE" and statement.words("EXECUTE", "AS"):
        raise QueryError(344, "EXECUTE AS is not supported: send the request as that user")
    if verb in ("GRANT", "REVOKE"):
        raise _read_only(verb)
    if verb in ("CREATE", "ALTER", "DROP", "MOVE"):
        noise = ("OR", "REPLACE", "TEMPORARY", "IF", "NOT", "EXISTS")
        entity = next((token.upper for token in found[1:] if token.upper not in noise), "")
        if entity in _ENTITIES:
            raise _read_only(f"{verb} {entity}")
    if verb == "SYSTEM":
        _check_system(statement)
    if any(one.upper == "ON" and two.upper == "CLUSTER" for one, two in pairwise(found)):
        raise QueryError(344, "ON CLUSTER is not supported: there is one node, leave it out")
    if any(statement.words("PARALLEL", "WITH", start=start) for start in range(1, len(found) - 1)):
        raise QueryError(344, "PARALLEL WITH is not supported: send one statement in a request")
    if verb in ("CREATE", "ATTACH", "REPLACE", "ALTER", "RESTORE"):
        _check_engine(statement)
    if verb in ("BEGIN", "COMMIT", "ROLLBACK"):
        raise QueryError(344, f"{verb} is not supported: there are no transactions; each INSERT is atomic by block")


def _check_system(statement: Statement) -> None:
    words = tuple(token.upper for token in statement.tokens[1:3])
    if words[:1] in (("SHUTDOWN",), ("KILL",)):  # the engine signals its whole process group, supervisor included
        raise QueryError(344, f"SYSTEM {words[0]} is not supported: use ./stop.sh")
    if words in (("RELOAD", "CONFIG"), ("RELOAD", "USERS"), ("START", "LISTEN"), ("STOP", "LISTEN")):
        raise QueryError(
            344, f"SYSTEM {' '.join(words)} is not supported: ./run.sh restarts the server when its settings change"
        )


def _read_only(what: str) -> QueryError:
    return QueryError(514, f"{what} is not supported: {_USERS}", "ACCESS_STORAGE_READONLY")


def _check_files(statement: Statement) -> None:
    for one, two, three in zip(statement.tokens, statement.tokens[1:], statement.tokens[2:], strict=False):
        if three.kind == "string" and (one.upper, two.upper) in (("INTO", "OUTFILE"), ("FROM", "INFILE")):
            raise QueryError(
                344,
                f"{one.upper} {two.upper} is for clickhouse-client: over HTTP the file is the request's or answer's body",
            )


def engines(statement: Statement) -> Iterator[str]:
    """Yields the names after ENGINE [=], of tables and databases; also the word after a column called engine."""
    found = statement.tokens
    for index, token in enumerate(found):
        if token.upper == "ENGINE":
            name = next((after for after in found[index + 1 : index + 3] if after.text != "="), None)
            if name is not None and name.kind in ("word", "quoted"):
                yield name.name


def _check_engine(statement: Statement) -> None:
    for name in engines(statement):
        if _BREAKING.fullmatch(name):
            raise QueryError(344, f"Engine {name} is not in this server: load the stream with INSERT over HTTP")
        if name.lower() == "buffer":
            raise QueryError(
                344, "Engine Buffer loses its rows when this server stops: use MergeTree, with async_insert = 1"
            )
        clustered = _CLUSTERED.fullmatch(name)
        if clustered:
            raise QueryError(344, f"Engine {name} needs a cluster: use {clustered.group(1) or 'Atomic'}")

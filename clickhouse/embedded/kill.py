"""KILL QUERY by the ids that clients gave: the engine has ids of its own."""

from __future__ import annotations

from embedded.engine import TAG, quoted
from embedded.statement import Statement
from embedded.users import User

_NAMES = {"query_id": f"extract(Settings['{TAG}'], '^[^/]*/(.*)$')", "user": f"extract(Settings['{TAG}'], '^[^/]*')"}


def by_client_id(user: User, statement: Statement) -> str:
    """The statement with the clients' ids and users in its condition; anybody but the admin reaches own queries only."""
    parts, position, end = [], 0, len(statement.tokens)
    for index, token in enumerate(statement.tokens):
        if token.kind in ("word", "quoted") and token.name in _NAMES:
            parts += [statement.text[position : token.start], _NAMES[token.name]]
            position = token.end
        elif token.upper == "WHERE":
            own = "" if user.admin else f"startsWith(Settings['{TAG}'], {quoted(user.name + '/')}) AND "
            parts += [statement.text[position : token.end], f" {own}("]
            position = token.end
        elif token.upper in ("SYNC", "ASYNC", "TEST", "FORMAT"):
            end = min(end, index)
    last = max(statement.tokens[end - 1].end, position)
    return "".join([*parts, statement.text[position:last], ") ", statement.text[last:]])

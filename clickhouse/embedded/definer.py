"""A view runs as the user that makes it, or as whoever reads it; never as anybody else.

Inside the engine every request is the user `default`, so a view whose definer is left to the engine would run with the
admin's rights for all of its readers.
"""

from __future__ import annotations

from embedded.errors import QueryError
from embedded.statement import Statement
from embedded.users import User


def with_definer(user: User, statement: Statement) -> str:
    """The statement's text, with the user as definer where a server would put it. Raises QueryError 497 for another."""
    if user.admin or statement.kind == "output":
        return statement.text
    named = _check(user, statement)
    if named or statement.verb not in ("CREATE", "ATTACH", "REPLACE") or not _materialized_view(statement):
        return statement.text
    at = _place(statement)
    return f"{statement.text[:at]}DEFINER = {user.name} SQL SECURITY DEFINER {statement.text[at:]}"


def _check(user: User, statement: Statement) -> bool:
    """Whether the statement says by itself as whom the view runs."""
    found = statement.tokens
    definer, security = None, None
    for index, token in enumerate(found):
        following = found[index + 1 : index + 3]
        if token.upper == "DEFINER" and following and (index == 0 or found[index - 1].upper != "SECURITY"):
            value = following[-1] if following[0].text == "=" else following[0]
            if following[0].text != "=" and found[index - 1].upper not in ("MODIFY", "ALTER"):
                continue  # a column or alias of that name
            definer = value.name
            if definer != user.name:
                raise QueryError(497, f"{user.name}: DEFINER = {definer} is refused: write DEFINER = {user.name}")
        if token.upper == "SQL" and len(following) == 2 and following[0].upper == "SECURITY":
            security = following[1].upper
    if security == "NONE":
        raise QueryError(
            497, f"{user.name}: SQL SECURITY NONE is refused: write DEFINER = {user.name} SQL SECURITY DEFINER"
        )
    if security == "DEFINER" and definer is None:
        raise QueryError(497, f"{user.name}: SQL SECURITY DEFINER needs DEFINER = {user.name} beside it")
    return definer is not None or security is not None


def _materialized_view(statement: Statement) -> bool:
    return any(
        statement.words("MATERIALIZED", "VIEW", start=start) for start in range(1, min(5, len(statement.tokens)))
    )


def _place(statement: Statement) -> int:
    """Before the view's COMMENT or AS, whichever comes first outside of parentheses."""
    depth = 0
    for token, after in zip(statement.tokens, statement.tokens[1:], strict=False):
        depth += token.nests
        if depth == 0 and token.upper == "COMMENT" and after.kind == "string":
            return token.start
        if depth == 0 and token.upper == "AS" and (after.upper in ("SELECT", "WITH", "FROM", "(")):
            return token.start
    raise QueryError(62, "Syntax error: a materialized view needs AS SELECT")

"""A view runs as the user that makes it, or as whoever reads it; never as anybody else.

Inside the engine every request is the user `default`, so a view whose definer is that of the engine would run with the
admin's rights for all of its readers. Where a statement names none, `Engine.connect` has told the engine whom to take.
"""

from __future__ import annotations

from embedded.errors import QueryError
from embedded.sql.statement import Statement
from embedded.users import User


def check_definer(user: User, statement: Statement) -> None:
    """Raises QueryError 497 for another definer than the user, and for one that is left to the engine."""
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

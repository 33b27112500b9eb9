"""Limits a view's definer to the user that creates it, or its reader.

Inside the engine every request is user `default`, so the engine's own definer would give all readers the admin's rights. If a statement names
no definer, `Engine.connect` has set the default.
"""

from __future__ import annotations

from embedded.errors import QueryError
from embedded.sql.statement import Statement
from embedded.users import User


def check_definer(user: User, statement: Statement) -> None:
    """Raises QueryError 497 for a definer other than the user, and for one that the engine would choose."""
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

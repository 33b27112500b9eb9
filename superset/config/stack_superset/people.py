"""Which user of the warehouse a person's queries run as.

Rules by rows stand in the warehouse (clickhouse/config/users.xml), where no SQL of a chart can undo them. Least rights win: a restricted role
counts whatever other roles a person has, Admin included.
"""

from collections.abc import Iterable
from typing import Any

from stack_superset.settings import RESTRICTED_USERS

# The user whose place a restricted one takes; other connections stay as they are.
UNRESTRICTED = "superset"
# Superset keeps whole answers of this path without a look at who asks.
SHARED_ANSWERS = "/superset/explore_json"


def restricted_user(roles: Iterable[str]) -> str | None:
    """The restricted user for these roles of Superset, None without one. Raises PermissionError for two: their rows cannot be joined."""
    held = sorted(set(roles) & set(RESTRICTED_USERS))
    if len(held) > 1:
        raise PermissionError(
            f"You hold the roles {' and '.join(held)}, which exclude each other; ask an admin to take one away."
        )
    return RESTRICTED_USERS[held[0]] if held else None


def _roles(username: str | None, security_manager: Any) -> list[str]:
    if username is None:  # not logged in, or Superset's own commands
        roles = [security_manager.get_public_role()]
    elif (person := security_manager.find_user(username=username)) is not None:
        roles = security_manager.get_user_roles(person)
    else:
        raise PermissionError(f"Superset has no user {username}; log in again.")
    return [role.name for role in roles if role]


def warehouse_user(named: str, username: str | None, security_manager: Any) -> str:
    """The user of the warehouse for a connection that names one. Raises PermissionError for an unknown person."""
    if named != UNRESTRICTED:
        return named
    return restricted_user(_roles(username, security_manager)) or named


def close_shared_answers(app: Any) -> None:
    """A FLASK_APP_MUTATOR: the answers that Superset shares among all people are closed to restricted ones."""
    from flask import abort, request
    from superset.utils.core import get_username

    from superset import security_manager

    def refuse() -> None:
        if request.path.startswith(SHARED_ANSWERS) and restricted_user(_roles(get_username(), security_manager)):
            abort(403)

    app.before_request(refuse)

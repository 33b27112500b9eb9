"""Authenticates clients against the users of users.xml."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from embedded.errors import QueryError, StartError

ADMIN = "default"


@dataclass(frozen=True)
class User:
    """A user of users.xml: every right comes from `role`, every limit from `profile`.

    `engines` are the table engines that the role grants, in lower case.
    """

    name: str
    role: str
    profile: str
    digest: bytes
    engines: frozenset[str] = frozenset()

    @property
    def admin(self) -> bool:
        return self.name == ADMIN


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode(errors="surrogateescape")).digest()


def read_users(path: Path, environment: Mapping[str, str]) -> dict[str, User]:
    """Returns the users of users.xml, with passwords from the variables that it names. Raises StartError."""
    users: dict[str, User] = {}
    root = ElementTree.parse(path).getroot()
    for element in root.findall("./users/*"):
        source = element.find("password")
        variable = "" if source is None else source.get("from_env", "")
        password = environment.get(variable, "")
        if not password:
            raise StartError(f"{variable or 'The password'} of user {element.tag} is not set: put it into .env.")
        grants = [re.fullmatch(r"GRANT (\w+)", query.text or "") for query in element.findall("./grants/query")]
        roles = [grant.group(1) for grant in grants if grant]
        if not roles:
            raise StartError(f"User {element.tag} in {path} has no role: give it one by <query>GRANT role</query>.")
        profile = element.findtext("profile") or "default"
        engines = frozenset(
            found.group(1).lower()
            for query in root.findall(f"./roles/{roles[0]}/grants/query")
            if (found := re.fullmatch(r"GRANT TABLE ENGINE ON (\w+)", query.text or ""))
        )
        users[element.tag] = User(element.tag, roles[0], profile, _digest(password), engines)
    if ADMIN not in users:
        raise StartError(f"{path} has no user {ADMIN}: the engine cannot open without it.")
    return users


def authenticate(users: Mapping[str, User], name: str, password: str) -> User:
    """Returns the user. Raises QueryError 516, with the same text and in the same time for an unknown name and a wrong password."""
    user = users.get(name)
    expected = secrets.token_bytes(32) if user is None else user.digest
    if not hmac.compare_digest(expected, _digest(password)) or user is None:
        raise QueryError(
            516, f"{name}: Authentication failed: password is incorrect, or there is no user with such name."
        )
    return user

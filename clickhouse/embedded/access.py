"""Who a client is, and what the server itself refuses: all that the engine, which knows one user only, cannot tell apart."""

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
from embedded.lexer import Token
from embedded.statement import Statement

ADMIN = "default"
# Settings that would lend a request somebody else's rights or limits.
_RESERVED = {
    "profile",
    "role",
    "default_view_definer",
    "default_normal_view_sql_security",
    "default_materialized_view_sql_security",
    "send_logs_source_regexp",
}


@dataclass(frozen=True)
class User:
    """A user of users.xml: every right comes from `role`, every limit from `profile`."""

    name: str
    role: str
    profile: str
    digest: bytes

    @property
    def admin(self) -> bool:
        return self.name == ADMIN


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode(errors="surrogateescape")).digest()


def read_users(path: Path, environment: Mapping[str, str]) -> dict[str, User]:
    """The users of users.xml, with passwords from the environment names that it gives. Raises StartError."""
    users: dict[str, User] = {}
    for element in ElementTree.parse(path).getroot().findall("./users/*"):
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
        users[element.tag] = User(element.tag, roles[0], profile, _digest(password))
    if ADMIN not in users:
        raise StartError(f"{path} has no user {ADMIN}: the engine cannot open without it.")
    return users


def authenticate(users: Mapping[str, User], name: str, password: str) -> User:
    """The user, or code 516 in the same time and words for an unknown name and a wrong password."""
    user = users.get(name)
    expected = secrets.token_bytes(32) if user is None else user.digest
    if not hmac.compare_digest(expected, _digest(password)) or user is None:
        raise QueryError(
            516, f"{name}: Authentication failed: password is incorrect, or there is no user with such name."
        )
    return user


def check_setting(user: User, name: str, value: str) -> None:
    """Refuse a setting that a request may not bring, wherever it stands."""
    if name == "role" and value == user.role:
        return
    if name == "role":
        raise QueryError(512, f"Role {value} should be granted to set as a current: each user has one fixed role")
    if name in _RESERVED and not user.admin:
        raise QueryError(497, f"{user.name}: setting {name} belongs to the server and cannot be changed by a request")


def check_statement(user: User, statement: Statement) -> None:
    """Refuse what the engine would allow to every request or cannot do; raises QueryError saying what to do instead."""
    _check_files(statement)
    _check_unsupported(statement)
    _check_settings(user, statement)
    if not user.admin:
        _check_definer(user, statement)


def _check_files(statement: Statement) -> None:
    for one, two, three in zip(statement.tokens, statement.tokens[1:], statement.tokens[2:], strict=False):
        if three.kind == "string" and (one.upper, two.upper) in (("INTO", "OUTFILE"), ("FROM", "INFILE")):
            clause = f"{one.upper} {two.upper}"
            raise QueryError(344, f"{clause} is for clickhouse-client: over HTTP the file is the request's or answer's body")


def _check_unsupported(statement: Statement) -> None:
    verb = statement.verb
    if verb == "SET" and any(token.upper == "ROLE" for token in statement.tokens[1:3]):
        raise QueryError(512, "SET ROLE is not for clients: each user has one fixed role, given in clickhouse/config/users.xml")
    if verb == "EXECUTE":
        raise QueryError(344, "EXECUTE AS is not supported: send the request as that user")
    if verb in ("GRANT", "REVOKE"):
        raise QueryError(514, f"{verb} is not supported: grants stand in clickhouse/config/users.xml", "ACCESS_STORAGE_READONLY")
    entity = next((token.upper for token in statement.tokens[1:4] if token.upper not in ("OR", "REPLACE", "IF")), "")
    if verb in ("CREATE", "ALTER", "DROP") and entity in ("USER", "ROLE", "QUOTA", "ROW", "POLICY", "MASKING") + ("SETTINGS", "PROFILE"):
        raise QueryError(
            514, f"{verb} {entity} is not supported: users, roles and profiles stand in clickhouse/config/users.xml",
            "ACCESS_STORAGE_READONLY",
        )  # fmt: skip
    if verb in ("CREATE", "ATTACH", "REPLACE", "ALTER"):
        _check_engine(statement.tokens)


def _check_engine(found: tuple[Token, ...]) -> None:
    for index, token in enumerate(found[:-1]):
        if token.upper != "ENGINE":
            continue
        name = found[index + 2] if found[index + 1].text == "=" and index + 2 < len(found) else found[index + 1]
        engine = name.name
        if engine in ("Kafka", "NATS", "RabbitMQ"):
            raise QueryError(344, f"Engine {engine} is not in this server: load the stream with INSERT over HTTP")
        if engine == "Replicated" or engine.startswith(("Replicated", "Shared")):
            raise QueryError(344, f"Engine {engine} needs a cluster: use {re.sub('^(Replicated|Shared)', '', engine) or 'Atomic'}")


def _check_settings(user: User, statement: Statement) -> None:
    """Names in SET and in every SETTINGS clause."""
    found = statement.tokens
    for index, token in enumerate(found):
        if token.upper != "SETTINGS" and not (index == 0 and token.upper == "SET"):
            continue
        for name, equals, value in _assignments(found[index + 1 :]):
            if equals.text == "=":
                check_setting(user, name.name.lower(), value.name)


def _assignments(found: tuple[Token, ...]) -> list[tuple[Token, Token, Token]]:
    pairs, depth, start = [], 0, True
    for index, token in enumerate(found[:-2]):
        if start and found[index + 1].text == "=":
            pairs.append((token, found[index + 1], found[index + 2]))
        if token.kind == "symbol":
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.text, 0)
        if depth < 0:
            break
        start = depth == 0 and token.text == ","
        if index == 0:
            continue
    return pairs


def _check_definer(user: User, statement: Statement) -> None:
    """A view may run as its maker and as nobody else."""
    found = statement.tokens
    definer, security = None, None
    for index, token in enumerate(found):
        following = found[index + 1 : index + 3]
        if token.upper == "DEFINER" and following and following[0].text == "=" and len(following) == 2:
            definer = following[1].name
            if definer != user.name or following[1].upper == "CURRENT_USER":
                raise QueryError(497, f"{user.name}: DEFINER = {definer} is refused: write DEFINER = {user.name}")
        if token.upper == "SQL" and len(following) == 2 and following[0].upper == "SECURITY":
            security = following[1].upper
    if security == "NONE":
        raise QueryError(497, f"{user.name}: SQL SECURITY NONE is refused: write DEFINER = {user.name} SQL SECURITY DEFINER")
    if security == "DEFINER" and definer is None:
        raise QueryError(497, f"{user.name}: SQL SECURITY DEFINER needs its definer here: write DEFINER = {user.name} beside it")

"""Limits the admin's file access to the folder user_files, the process' working directory, and to literal paths.

Other users have no access to files. ClickHouse's own server enforces that; the embedded engine reads any file, even as a table of database
`default` whose name is the file's path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from embedded.errors import QueryError
from embedded.sql.lexer import Token
from embedded.sql.statement import Statement

FOLDER = "user_files"
# Table functions with a path or a table's name, and the argument with the path.
_PATHS = {"file": 0, "filecluster": 1, "filesystem": 0, "sqlite": 0, "url": 0, "urlcluster": 1}
_TABLES = re.compile(r"loop|merge|remote|remotesecure|cluster|clusterallreplicas|dictionary", re.IGNORECASE)
_ENGINES = ("file", "sqlite")
_CLOSED_ENGINES = ("filesystem", "filelog")
_GLOB = re.compile(r"[*?{\[]")


def check_files(statement: Statement, bound: Mapping[str, str]) -> None:
    """Raises QueryError 481 for a file outside the folder, or whose path only the engine could compute."""
    found = statement.tokens
    if statement.verb in ("BACKUP", "RESTORE"):  # whose File has a folder of its own, which the engine guards
        return
    for index, token in enumerate(found):
        before, after = found[max(index - 2, 0) : index], found[index + 1 : index + 3]
        if token.kind == "quoted" and _outside(token.name) and not _names_no_file(before):
            raise _refusal(token.name)
        if token.kind == "string" and before and before[-1].upper in ("FROM", "JOIN"):
            _check(token.name)
        if token.upper == "IDENTIFIER" and before and before[-1].text == ":":
            for value in bound.values():
                if _outside(value):
                    raise _refusal(value)
        if token.kind in ("word", "quoted") and not (before and before[-1].text == "."):
            _check_name(token.name.lower(), found, index, before, after)


def _check_name(
    name: str, found: tuple[Token, ...], index: int, before: tuple[Token, ...], after: tuple[Token, ...]
) -> None:
    called = bool(after) and after[0].text == "("
    if name == "engine" and after:
        at = index + 2 if after[0].text == "=" else index + 1
        _check_engine(found, at)
    elif name == "source" and called and len(after) > 1 and re.match("file|executable", after[1].name, re.IGNORECASE):
        raise QueryError(
            481, f"SOURCE({after[1].name}) is refused: load the file into a table, and use SOURCE(CLICKHOUSE(..))"
        )
    elif name in _PATHS:
        is_table = bool(before) and before[-1].upper in ("INTO", "TABLE", "EXISTS", "VIEW")
        if called and not is_table:
            _check_argument(name, _arguments(found, index + 1))
        elif any(previous.upper == "APPLY" for previous in before) or (
            after and after[0].text == "," and _in_array_function(found, index)
        ):
            raise QueryError(481, f"{name} is refused without its path beside it: write {name}('path below {FOLDER}')")
    elif _TABLES.fullmatch(name) and called:
        for argument in _arguments(found, index + 1):
            for token in argument:
                if token.kind == "string" and _outside(token.name):
                    raise _refusal(token.name)


def _in_array_function(found: tuple[Token, ...], index: int) -> bool:
    return (
        index > 1
        and found[index - 1].text == "("
        and (index < 3 or (found[index - 3].text != "." and found[index - 3].upper not in ("INTO", "TABLE", "EXISTS")))
        and re.match("array|map", found[index - 2].name, re.IGNORECASE) is not None
    )


def _check_argument(name: str, arguments: list[list[Token]]) -> None:
    at = _PATHS[name]
    argument = arguments[at] if at < len(arguments) else []
    if len(argument) != 1 or argument[0].kind != "string":
        raise QueryError(481, f"{name} needs its path as a string in the statement: {name}('path below {FOLDER}')")
    path = argument[0].name
    if name.startswith("url"):
        if path.strip().lower().startswith("file:"):
            raise _refusal(path)
        return
    _check(path)


def _check_engine(found: tuple[Token, ...], at: int) -> None:
    name = found[at].name.lower() if at < len(found) else ""
    if name in _CLOSED_ENGINES:
        raise QueryError(481, f"Engine {found[at].name} is refused: read single files with file('path below {FOLDER}')")
    if name in _ENGINES or name == "url":
        for argument in _arguments(found, at + 1):
            if len(argument) != 1 or _outside(argument[0].name) or argument[0].name.lower().startswith("file:"):
                raise _refusal("".join(token.text for token in argument))


def _arguments(found: tuple[Token, ...], opening: int) -> list[list[Token]]:
    """Returns the arguments of a call by its opening bracket, each as its tokens."""
    arguments: list[list[Token]] = [[]]
    depth = 0
    for token in found[opening:]:
        depth += token.nests
        if depth == 0:
            break
        if depth == 1 and token.text == "," and token.kind == "symbol":
            arguments.append([])
        elif not (depth == 1 and token.nests == 1):
            arguments[-1].append(token)
    return arguments if arguments != [[]] else []


def _names_no_file(before: tuple[Token, ...]) -> bool:
    """Whether the tokens before make the name an alias, or a table of a database other than `default`; only `default` shows files."""
    if before and before[-1].upper == "AS":
        return True
    return len(before) == 2 and before[-1].text == "." and before[-2].name.lower() != "default"


def _outside(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")


def _check(path: str) -> None:
    inside = os.path.realpath(path).startswith(os.path.realpath(".") + "/")
    if ".." in path or path.startswith("/") or not (inside or _GLOB.search(path)):
        raise _refusal(path)


def _refusal(path: str) -> QueryError:
    return QueryError(481, f"File path {path} is not inside {FOLDER}: put the file there, and give its path from there")

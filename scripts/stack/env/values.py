"""Validators of values in `.env`. Each message says what is expected and what to do, and never shows the value."""

import base64
import binascii
import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import psycopg2
from notify.secrets import RULE, check_secret
from psycopg2.extensions import parse_dsn
from pydantic import AfterValidator, BeforeValidator

from stack.env import currencies, schedule

# Inside a container `localhost` is the container itself.
_THIS_MACHINE = re.compile(r"localhost|127\.[0-9.]+|::1")


def _matching(pattern: str, expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def _one_of(*words: str) -> AfterValidator:
    expected = " or ".join(word or "nothing" for word in words)
    return _matching("|".join(words), f"write {expected}")


def is_port(value: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,5}", value)) and 1 <= int(value) <= 65535


def _port(value: str) -> int:
    if not is_port(value):
        raise ValueError("a port is a number from 1 to 65535; choose a free one")
    return int(value)


def is_ip_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _ip_address(value: str) -> str:
    if not is_ip_address(value):
        raise ValueError("write an IP address of this machine, such as 127.0.0.1")
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("write a time zone of the IANA list, such as Europe/Paris") from None
    return value


def _currency(value: str) -> str:
    if value not in currencies.CODES:
        raise ValueError("write a code of ISO 4217, such as EUR")
    return value


def _schedule(value: str) -> str:
    if mistake := schedule.mistake(value):
        raise ValueError(f"the schedule {mistake}; write @daily or a cron expression in UTC")
    return value


def source_url(value: str) -> str:
    if value and not _is_source_url(value):
        raise ValueError("write an address such as postgresql://user:password@host:5432/database, or nothing")
    return value


def _is_source_url(value: str) -> bool:
    """Whether libpq accepts the URL, which may name several hosts."""
    if not value.startswith(("postgresql://", "postgres://")) or re.search(r"\s", value):
        return False
    try:
        parts = parse_dsn(value)
    except psycopg2.ProgrammingError:
        return False
    return all(not port or is_port(port) for port in parts.get("port", "").split(","))


def names_this_machine(source_url: str) -> bool:
    """Whether one of the hosts of a SOURCE_URL is localhost, under any of its names."""
    if not source_url or not _is_source_url(source_url):
        return False
    return any(_THIS_MACHINE.fullmatch(host) for host in parse_dsn(source_url).get("host", "").split(","))


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not re.search(r"\s", value)
    except ValueError:
        good = False
    if value and not good:
        raise ValueError("write an address such as https://host/path, or nothing")
    return value


def _lake_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = (parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")) or (
            parts.scheme in ("s3", "gs") and bool(parts.netloc)
        )
    except ValueError:
        good = False
    if value and (not good or re.search(r"\s", value)):
        raise ValueError("write file:///folder, s3://bucket/prefix or gs://bucket/prefix, or nothing")
    return value


def _fernet(value: str) -> str:
    try:
        lengths = {len(base64.urlsafe_b64decode(key)) for key in value.split(",")}
    except (binascii.Error, ValueError):
        lengths = {0}
    if lengths != {32}:
        raise ValueError("a Fernet key is 32 bytes in URL-safe base64; put the old key back")
    return value


def _signing_secrets(value: str) -> str:
    for secret in value.split():
        try:
            check_secret(secret)
        except ValueError as error:
            raise ValueError(f"{error}; several are separated by a space") from None
    return value


def _at_least_one(value: str) -> str:
    if not value.split():
        raise ValueError(RULE)
    return value


# Marks a type whose values no log may show: a secret, or an address that may hold one.
CONFIDENTIAL = object()

Mode = Annotated[str, _one_of("native", "docker")]
Switch = Annotated[str, _one_of("true", "false")]
DatabaseEngine = Annotated[str, _one_of("", "Replicated")]
TableEngine = Annotated[str, _one_of("MergeTree", "ReplicatedMergeTree")]
Port = Annotated[int, BeforeValidator(_port)]
IpAddress = Annotated[str, AfterValidator(_ip_address)]
TimeZone = Annotated[str, AfterValidator(_zone)]
Currency = Annotated[str, AfterValidator(_currency)]
Schedule = Annotated[str, AfterValidator(_schedule)]
Identifier = Annotated[
    str, _matching(r"[a-z_][a-z0-9_]{0,62}", "write small letters, digits and _, such as ecommerce, up to 63")
]
HostName = Annotated[
    str,
    _matching(
        r"|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]",
        "write the name of a host alone, without https:// and port, which CLICKHOUSE_SECURE and CLICKHOUSE_HTTP_PORT say",
    ),
]
Folder = Annotated[
    str, _matching(r"(/[^\s:]*)?", "write the whole path of a folder, without spaces and colons, or nothing")
]
PostgresUrl = Annotated[str, CONFIDENTIAL, AfterValidator(source_url)]
HttpUrl = Annotated[str, CONFIDENTIAL, AfterValidator(_http_url)]
LakeUrl = Annotated[str, AfterValidator(_lake_url)]
Secret = Annotated[
    str,
    CONFIDENTIAL,
    _matching(r"[^\s'\"\\$#`]{8,}", r"a secret has at least 8 characters, and no space, quote, \, $, # or `"),
]
Token = Annotated[
    str,
    CONFIDENTIAL,
    _matching(r"[^\s'\"\\$#`]{16,}", r"the token has at least 16 characters, and no space, quote, \, $, # or `"),
]
# Part of a database URL, which Compose builds without quoting.
UrlSecret = Annotated[
    str,
    CONFIDENTIAL,
    _matching(r"[A-Za-z0-9._~-]{8,}", "this secret has at least 8 characters: letters, digits, and . _ ~ -"),
]
FernetKey = Annotated[str, CONFIDENTIAL, AfterValidator(_fernet)]
SigningSecrets = Annotated[str, CONFIDENTIAL, AfterValidator(_signing_secrets)]
SomeSigningSecrets = Annotated[str, CONFIDENTIAL, AfterValidator(_signing_secrets), AfterValidator(_at_least_one)]

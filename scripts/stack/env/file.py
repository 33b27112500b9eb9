"""`.env`: created once with free ports and random secrets, validated at every start, backed up before every change."""

import base64
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from stack.env import checks as env_checks
from stack.env import lines as env_lines
from stack.env.checks import PORTS as PORTS
from stack.env.lines import Lines, Pair
from stack.env.values import (
    CONFIDENTIAL,
    Currency,
    DatabaseEngine,
    FernetKey,
    Folder,
    HostName,
    HttpUrl,
    Identifier,
    IpAddress,
    LakeUrl,
    Mode,
    Port,
    PostgresUrl,
    Schedule,
    Secret,
    SigningSecrets,
    SomeSigningSecrets,
    Switch,
    TableEngine,
    TimeZone,
    Token,
    UrlSecret,
)
from stack.env.write import write_new
from stack.errors import StackError
from stack.paths import shown

# Services with pages: the variable of their port, and the port inside their container.
PAGES = {
    "airflow-webserver": ("AIRFLOW_PORT", 8080),
    "superset": ("SUPERSET_PORT", 8088),
    "webhook-server": ("WEBHOOK_PORT", 5000),
}


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _signing_secret() -> str:
    """Returns a secret as Standard Webhooks 1.0.0 requires: `whsec_` and 24 to 64 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _hex() -> str:
    return secrets.token_hex(24)


SECRETS: Mapping[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": _hex,
    "POSTGRES_READER_PASSWORD": _hex,
    "CLICKHOUSE_PASSWORD": _hex,
    "CLICKHOUSE_LOADER_PASSWORD": _hex,
    "CLICKHOUSE_DBT_PASSWORD": _hex,
    "CLICKHOUSE_WEBHOOK_PASSWORD": _hex,
    "CLICKHOUSE_AIRFLOW_PASSWORD": _hex,
    "CLICKHOUSE_SUPERSET_PASSWORD": _hex,
    "CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD": _hex,
    "CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD": _hex,
    "AIRFLOW_ADMIN_PASSWORD": _hex,
    "AIRFLOW_AGENT_PASSWORD": _hex,
    "AIRFLOW_DB_PASSWORD": _hex,
    "AIRFLOW_FERNET_KEY": _fernet_key,
    "AIRFLOW_API_SECRET_KEY": _hex,
    # SHA-512 needs 64 bytes.
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_hex(32),
    "SUPERSET_ADMIN_PASSWORD": _hex,
    "SUPERSET_DB_PASSWORD": _hex,
    "SUPERSET_SECRET_KEY": _hex,
    "WEBHOOK_TOKEN": _hex,
    "WEBHOOK_SIGNING_SECRET": _signing_secret,
    "MASK_SALT": _hex,
}


class Env(BaseModel):
    """The validated content of `.env`. Field names are the names in the file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    STACK_MODE: Mode
    BIND_ADDRESS: IpAddress
    POSTGRES_PORT: Port
    AIRFLOW_DB_PORT: Port
    AIRFLOW_PORT: Port
    SUPERSET_PORT: Port
    CLICKHOUSE_HTTP_PORT: Port
    CLICKHOUSE_NATIVE_PORT: Port
    WEBHOOK_PORT: Port
    SHOP_TIMEZONE: TimeZone
    SHOP_CURRENCY: Currency
    SAMPLE_SHOP: Switch
    SOURCE_URL: PostgresUrl
    POSTGRES_USER: Identifier
    POSTGRES_DB: Identifier
    POSTGRES_PASSWORD: Secret
    POSTGRES_READER_PASSWORD: UrlSecret
    CLICKHOUSE_HOST: HostName
    CLICKHOUSE_BINARY: str
    CLICKHOUSE_SECURE: Switch
    CLICKHOUSE_DATABASE_ENGINE: DatabaseEngine
    CLICKHOUSE_TABLE_ENGINE: TableEngine
    CLICKHOUSE_PASSWORD: Secret
    CLICKHOUSE_LOADER_PASSWORD: Secret
    CLICKHOUSE_DBT_PASSWORD: Secret
    CLICKHOUSE_WEBHOOK_PASSWORD: Secret
    CLICKHOUSE_AIRFLOW_PASSWORD: Secret
    CLICKHOUSE_SUPERSET_PASSWORD: Secret
    CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD: Secret
    CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD: Secret
    ELT_SCHEDULE: Schedule
    AIRFLOW_ADMIN_PASSWORD: Secret
    AIRFLOW_AGENT_PASSWORD: Secret
    AIRFLOW_DB_PASSWORD: UrlSecret
    AIRFLOW_FERNET_KEY: FernetKey
    AIRFLOW_API_SECRET_KEY: Secret
    AIRFLOW_JWT_SECRET: Secret
    SUPERSET_ADMIN_PASSWORD: Secret
    SUPERSET_DB_PASSWORD: UrlSecret
    SUPERSET_SECRET_KEY: Secret
    WEBHOOK_TOKEN: Token
    WEBHOOK_SIGNING_SECRET: SomeSigningSecrets
    MASK_SALT: Secret
    LAKE_URL: LakeUrl
    FILES_FOLDER: Folder
    NOTIFY_URL: HttpUrl
    NOTIFY_SIGNING_SECRET: SigningSecrets
    NOTIFY_SUCCESS: Switch

    # Not in the file: whether this process runs inside Compose's network, where services have host names.
    in_compose: bool = False

    @property
    def address(self) -> str:
        """Address of the stack's own services from this machine."""
        return "127.0.0.1" if self.BIND_ADDRESS in ("0.0.0.0", "::") else self.BIND_ADDRESS

    def page(self, service: str) -> str:
        """Returns the base URL of a service for the user's browser."""
        return f"http://{self.address}:{self.text(PAGES[service][0])}"

    def url(self, service: str) -> str:
        """Returns the base URL of a service for this process."""
        return f"http://{service}:{PAGES[service][1]}" if self.in_compose else self.page(service)

    @property
    def own_hosts(self) -> str:
        """Hosts of the stack's own services, in the form of NO_PROXY. A proxy would look for them on its own machine."""
        return ",".join(dict.fromkeys(["localhost", "127.0.0.1", "::1", self.address]))

    @property
    def source_url(self) -> str:
        """SOURCE_URL, or the stack's own Postgres read by its read-only role."""
        if self.SOURCE_URL:
            return self.SOURCE_URL
        password = quote(self.POSTGRES_READER_PASSWORD, safe="")
        server = "postgres-source:5432" if self.in_compose else f"{self.address}:{self.POSTGRES_PORT}"
        return f"postgresql://elt_reader:{password}@{server}/{self.POSTGRES_DB}"

    @property
    def own_clickhouse(self) -> bool:
        return not self.CLICKHOUSE_HOST

    @property
    def clickhouse_host(self) -> str:
        return self.CLICKHOUSE_HOST or ("clickhouse-server" if self.in_compose else self.address)

    def text(self, name: str) -> str:
        """Returns the value of `name` as written in the file."""
        return str(getattr(self, name))


CONFIDENTIAL_NAMES = tuple(name for name, field in Env.model_fields.items() if CONFIDENTIAL in field.metadata)


def _key_of(line: str) -> str | None:
    match = re.match(r"^([A-Z][A-Z0-9_]*)=", line)
    return match.group(1) if match else None


def read_values(file: Path) -> dict[str, str]:
    """Returns the pairs of an env file, unvalidated. Raises StackError that names each unreadable line."""
    return env_lines.read(file).values


def fill(example: Path, present: Mapping[str, str], environ: Mapping[str, str], **decided: str) -> list[str]:
    """Returns the lines of `.env.example` whose keys `present` lacks, each with its comment and a value.

    The value comes from `decided`, else from `environ`, else it is a random secret, else the example's own. Raises StackError for a value of
    `environ` that no line can hold.
    """
    lines: list[str] = []
    comment: list[str] = []
    for line in example.read_text().splitlines():
        key = _key_of(line)
        if key is None:
            comment = [] if not line else [*comment, line]
            if not line and lines and lines[-1]:
                lines.append("")
            continue
        if key not in present:
            value = decided.get(key) or environ.get(key) or line.partition("=")[2]
            if not value and key in SECRETS:
                value = SECRETS[key]()
            try:
                lines += [*comment, env_lines.render(key, value)]
            except ValueError as error:
                raise StackError(f"The environment's {error} Set {key} anew, or unset it.") from None
        comment = []
    return lines


def make(example: Path, file: Path, environ: Mapping[str, str], **decided: str) -> None:
    """Writes the first `.env`. Raises StackError, and writes nothing, if a value of `environ` is invalid."""
    lines = fill(example, {}, environ, **decided)
    _validated(file, _with_origin(Lines(file, "\n".join(lines)), environ, decided))
    write_new(file, lines)


def add_missing(
    example: Path, file: Path, environ: Mapping[str, str], *, bound: Iterable[str] = (), **decided: str
) -> list[str]:
    """Adds missing keys of the example to `file`, including empty secrets; returns the keys.

    It never regenerates a secret of `bound`, on which existing data depends. Raises StackError, and writes nothing, if one of those is missing
    or a line or value is invalid.
    """
    old = env_lines.read(file)
    present = {key: value for key, value in old.values.items() if value or key not in (*SECRETS, "STACK_MODE")}
    if missing := [name for name in bound if name not in present]:
        cure = f"The data was made with them; {shown(file)}.bak may have them, and `./stop.sh --wipe` starts with empty data."
        raise StackError(env_lines.refusal(file, [*(_gone(old, name) for name in missing), cure]))
    added = fill(example, present, environ, **decided)
    keys = [key for line in added if (key := _key_of(line))]
    if keys:
        text = _with_added(old, added)
        new = _with_origin(Lines(file, text), {key: environ[key] for key in keys if key in environ}, decided)
        _validated(file, new)
        write_new(file, text.split("\n"))
    return keys


def _gone(lines: Lines, name: str) -> str:
    mistake = f"{lines.pairs[name].where}: {name} is empty" if name in lines.pairs else f"{name} is missing"
    return f"{mistake}; put the old value back."


def _with_added(old: Lines, added: list[str]) -> str:
    """Returns the file's text with `added`: each replaces the empty line of its name, or is appended."""
    lines = old.text.rstrip("\r\n").split("\n")
    end = "\r" if lines[0].endswith("\r") else ""
    lines[-1] += end
    appended: list[str] = []
    comment: list[str] = []
    for line in added:
        key = _key_of(line)
        if key is None:
            comment = [*comment, line]
            continue
        if key in old.at:
            lines[old.at[key][-1] - 1] = line + end
        else:
            appended += [*(each + end for each in comment), line + end]
        comment = []
    return "\n".join([*lines, *([end] if appended else []), *appended])


def _with_origin(lines: Lines, environ: Mapping[str, str], decided: Mapping[str, str]) -> dict[str, Pair]:
    """Returns the pairs of unwritten lines; the origin of a value of the environment is `the environment`."""
    return {
        name: replace(pair, where="the environment") if environ.get(name) and not decided.get(name) else pair
        for name, pair in lines.pairs.items()
    }


def load(file: Path) -> Env:
    """Reads and validates `.env`. Raises StackError that names every wrong line and value; never shows secrets."""
    return _validated(file, env_lines.read(file).pairs)


def _validated(file: Path, pairs: Mapping[str, Pair]) -> Env:
    values = {name: pair.value for name, pair in pairs.items()}
    mistakes = env_checks.together(pairs)
    env = None
    try:
        env = Env(**values, in_compose=os.environ.get("STACK_NETWORK") == "compose")  # type: ignore[arg-type]
    except ValidationError as error:
        mistakes += [env_checks.describe(pairs, one) for one in error.errors()]
    if env is None or mistakes:
        raise StackError(env_lines.refusal(file, mistakes))
    return env

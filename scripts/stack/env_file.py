"""`.env`: made once with free ports and random secrets, validated at every start, never overwritten."""

import base64
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stack.errors import StackError

Port = Annotated[int, Field(ge=1, le=65535)]
Secret = Annotated[str, Field(min_length=8, pattern=r"^[^\s'\"\\$#`]+$")]

# Stands inside a database address, in Compose without any quoting.
UrlSecret = Annotated[str, Field(min_length=8, pattern=r"^[A-Za-z0-9._~-]+$")]

PORTS = (
    "POSTGRES_PORT",
    "AIRFLOW_DB_PORT",
    "AIRFLOW_PORT",
    "SUPERSET_PORT",
    "CLICKHOUSE_HTTP_PORT",
    "CLICKHOUSE_NATIVE_PORT",
    "WEBHOOK_PORT",
)


# Services with pages: the name of their port, and the port inside their container.
PAGES = {
    "airflow-webserver": ("AIRFLOW_PORT", 8080),
    "superset": ("SUPERSET_PORT", 8088),
    "webhook-server": ("WEBHOOK_PORT", 5000),
}


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _signing_secret() -> str:
    """As Standard Webhooks 1.0.0 asks: `whsec_` and 24 to 64 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _hex() -> str:
    return secrets.token_hex(24)


SECRETS: Mapping[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": _hex,
    "POSTGRES_READER_PASSWORD": _hex,
    "CLICKHOUSE_PASSWORD": _hex,
    "CLICKHOUSE_LOADER_PASSWORD": _hex,
    "CLICKHOUSE_DBT_PASSWORD": _hex,
    "CLICKHOUSE_SUPERSET_PASSWORD": _hex,
    "CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD": _hex,
    "CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD": _hex,
    "AIRFLOW_ADMIN_PASSWORD": _hex,
    "AIRFLOW_DB_PASSWORD": _hex,
    "AIRFLOW_FERNET_KEY": _fernet_key,
    "AIRFLOW_API_SECRET_KEY": _hex,
    # SHA-512 wants 64 bytes.
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

    STACK_MODE: Literal["native", "docker"]
    BIND_ADDRESS: Annotated[str, Field(pattern=r"^[0-9a-fA-F.:]+$")]
    POSTGRES_PORT: Port
    AIRFLOW_DB_PORT: Port
    AIRFLOW_PORT: Port
    SUPERSET_PORT: Port
    CLICKHOUSE_HTTP_PORT: Port
    CLICKHOUSE_NATIVE_PORT: Port
    WEBHOOK_PORT: Port
    SHOP_TIMEZONE: str
    SHOP_CURRENCY: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    SAMPLE_SHOP: Literal["true", "false"]
    SOURCE_URL: str
    POSTGRES_USER: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]
    POSTGRES_DB: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]
    POSTGRES_PASSWORD: Secret
    POSTGRES_READER_PASSWORD: UrlSecret
    CLICKHOUSE_HOST: str
    CLICKHOUSE_BINARY: str
    CLICKHOUSE_SECURE: Literal["true", "false"]
    CLICKHOUSE_DATABASE_ENGINE: Literal["", "Replicated"]
    CLICKHOUSE_TABLE_ENGINE: Literal["MergeTree", "ReplicatedMergeTree"]
    CLICKHOUSE_PASSWORD: Secret
    CLICKHOUSE_LOADER_PASSWORD: Secret
    CLICKHOUSE_DBT_PASSWORD: Secret
    CLICKHOUSE_SUPERSET_PASSWORD: Secret
    CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD: Secret
    CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD: Secret
    ELT_SCHEDULE: Annotated[str, Field(min_length=1)]
    AIRFLOW_ADMIN_PASSWORD: Secret
    AIRFLOW_DB_PASSWORD: UrlSecret
    AIRFLOW_FERNET_KEY: Secret
    AIRFLOW_API_SECRET_KEY: Secret
    AIRFLOW_JWT_SECRET: Secret
    SUPERSET_ADMIN_PASSWORD: Secret
    SUPERSET_DB_PASSWORD: UrlSecret
    SUPERSET_SECRET_KEY: Secret
    WEBHOOK_TOKEN: Secret
    WEBHOOK_SIGNING_SECRET: Secret
    MASK_SALT: Secret
    NOTIFY_URL: str
    NOTIFY_SIGNING_SECRET: str
    NOTIFY_SUCCESS: Literal["true", "false"]

    @field_validator("SHOP_TIMEZONE")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("is no time zone of the IANA list, such as Europe/Paris") from error
        return value

    @field_validator("SOURCE_URL")
    @classmethod
    def _postgres_url(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("postgresql", "postgres"):
            raise ValueError("must be empty or begin with postgresql://")
        return value

    # Not in the file: whether we stand inside Compose's network, where services go by their names.
    in_compose: bool = False

    @property
    def address(self) -> str:
        """The address at which the stack's own services are reached from this machine."""
        return "127.0.0.1" if self.BIND_ADDRESS in ("0.0.0.0", "::") else self.BIND_ADDRESS

    def page(self, service: str) -> str:
        """The base of a service's pages, as a person's browser reaches it."""
        return f"http://{self.address}:{self.text(PAGES[service][0])}"

    def url(self, service: str) -> str:
        """The base of a service's pages, as we reach it from where we stand."""
        return f"http://{service}:{PAGES[service][1]}" if self.in_compose else self.page(service)

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
        """The value of `name` as it stands in the file."""
        return str(getattr(self, name))


def _key_of(line: str) -> str | None:
    match = re.match(r"^([A-Z][A-Z0-9_]*)=", line)
    return match.group(1) if match else None


def read_values(file: Path) -> dict[str, str]:
    """The pairs of an env file, uninterpreted."""
    return {key: value or "" for key, value in dotenv_values(file, interpolate=False).items()}


def fill(example: Path, present: Mapping[str, str], environ: Mapping[str, str], **decided: str) -> list[str]:
    """The lines of `.env.example` whose keys are missing in `present`, each with its comment and a value.

    A value comes from `decided`, else from `environ`, else it is a random secret, else the example's own.
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
            lines += [*comment, f"{key}={value}"]
        comment = []
    return lines


def add_missing(example: Path, file: Path, environ: Mapping[str, str], **decided: str) -> list[str]:
    """Add to `file` the keys of the example that it lacks, secrets that are empty among them; returns the keys."""
    present = {key: value for key, value in read_values(file).items() if value or key not in SECRETS}
    added = fill(example, present, environ, **decided)
    keys = [key for line in added if (key := _key_of(line))]
    if keys:
        kept = [line for line in file.read_text().splitlines() if _key_of(line) not in keys]
        write_new(file, [*kept, "", *added])
    return keys


def write_new(file: Path, lines: list[str]) -> None:
    """Create `file` with mode 600, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(file.name + ".new")
    staging.unlink(missing_ok=True)
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as sink:
        sink.write("\n".join(lines).strip("\n") + "\n")
        sink.flush()
        os.fsync(sink.fileno())
    staging.replace(file)


def load(file: Path) -> Env:
    """Read and validate `.env`. Raises StackError naming the first variable that is wrong, never its value."""
    values = read_values(file)
    in_compose = os.environ.get("STACK_NETWORK") == "compose"
    try:
        return Env(**values, in_compose=in_compose)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = first["loc"][0] if first["loc"] else "?"
        raise StackError(
            f"{name} in {file} is not usable: {first['msg']}. Correct that line and start again."
        ) from None

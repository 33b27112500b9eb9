"""The loader's settings, read once from the environment."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2.extensions import parse_dsn
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from warehouse.client import Address
from warehouse.errors import TerminalError


class Settings(BaseSettings):
    """Addresses, passwords and files. Each field is read from the variable of its name in upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    source_url: SecretStr = Field(default=..., description="postgresql://user:password@host:port/database")
    clickhouse_host: str = "127.0.0.1"
    clickhouse_http_port: int = 8123
    clickhouse_secure: bool = False
    clickhouse_loader_password: SecretStr = Field(default=..., description="of the ClickHouse user `loader`")
    clickhouse_loader_user: str = "loader"
    mask_salt: SecretStr = SecretStr("")
    elt_pipeline: Path = Path("pipeline.yml")
    elt_plan: Path = Path(".stack/data/plan.json")
    notify_url: str = ""
    sample_shop: bool = True

    @property
    def source_address(self) -> str:
        """Address of the source for messages, without the password: user@host:port/database."""
        try:
            parts = urlsplit(self.source_url.get_secret_value())
            port = parts.port or 5432
        except ValueError:
            return "the address in SOURCE_URL"
        if not parts.netloc:
            # libpq also accepts a list of names and values, which may include the password.
            return "the address in SOURCE_URL"
        return f"{unquote(parts.username or '')}@{parts.hostname or ''}:{port}{parts.path}"

    @property
    def warehouse(self) -> Address:
        return Address(
            self.clickhouse_host,
            self.clickhouse_http_port,
            self.clickhouse_loader_user,
            self.clickhouse_loader_password.get_secret_value(),
            self.clickhouse_secure,
            "CLICKHOUSE_LOADER_PASSWORD",
        )

    def redact(self, text: str) -> str:
        """Removes all secrets from `text`, such as a driver's message."""
        secrets = [self.clickhouse_loader_password.get_secret_value(), self.mask_salt.get_secret_value()]
        url = self.source_url.get_secret_value()
        secrets.append(url)
        secrets += passwords_of(url)
        for secret in secrets:
            if secret:
                text = text.replace(secret, "***")
        return text


def passwords_of(url: str) -> list[str]:
    """Returns the passwords of a URL, encoded and decoded; libpq also reads them from its query."""
    passwords: list[str] = []
    with suppress(ValueError):
        if written := urlsplit(url).password:
            passwords += [written, unquote(written)]
    with suppress(psycopg2.Error):
        if meant := parse_dsn(url).get("password"):
            passwords.append(str(meant))
    return passwords


def read_settings() -> Settings:
    """Returns the settings of this process.

    Raises TerminalError that names every missing or malformed variable, never its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        mistakes = [f"{str(e['loc'][0]).upper()}: {e['msg'].lower()}" for e in error.errors(include_input=False)]
        raise TerminalError(
            f"The environment is not complete ({'; '.join(mistakes)}); set what is named, or start by scripts/exec, "
            "which reads .env"
        ) from None

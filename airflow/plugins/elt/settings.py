"""The loader's settings, read once from the environment."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2.extensions import parse_dsn
from pydantic import Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from warehouse.client import Address
from warehouse.errors import TerminalError


class Settings(BaseSettings):
    """Addresses, passwords and files. Each field is read from the variable of its name in upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    source_url: SecretStr = Field(default=SecretStr(""), description="postgresql://user:password@host:port/database")
    clickhouse_host: str = "127.0.0.1"
    clickhouse_http_port: int = 8123
    clickhouse_secure: bool = False
    clickhouse_loader_password: SecretStr = Field(default=..., description="of the ClickHouse user `loader`")
    clickhouse_loader_user: str = "loader"
    mask_salt: SecretStr = SecretStr("")
    elt_pipeline: Path = Path("pipeline.yml")
    elt_plan: Path = Path(".stack/data/plan.json")
    lake_url: str = Field(default_factory=lambda: Path(".stack/data/lake").absolute().as_uri())
    notify_url: str = ""
    sample_shop: bool = True

    _urls: dict[str, SecretStr] = PrivateAttr(default_factory=dict)

    def url(self, variable: str) -> SecretStr:
        """The address or secret of a source in the environment variable of that name; empty where it is not set."""
        if variable == "SOURCE_URL":
            return self.source_url
        return self._urls.setdefault(variable, SecretStr(os.environ.get(variable, "")))

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
        for url in (self.source_url, *self._urls.values()):
            secrets += [url.get_secret_value(), *passwords_of(url.get_secret_value())]
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

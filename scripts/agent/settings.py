"""The agent's settings, read once from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from warehouse.client import Address
from warehouse.errors import TerminalError


class Settings(BaseSettings):
    """Addresses and passwords. Each field is read from the variable of its name in upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    agent_home: Path = Field(default=..., description="folder of the agent's own files")
    airflow_url: str = Field(default=..., description="http://host:port")
    airflow_agent_password: SecretStr = Field(default=..., description="of Airflow's user `agent`")
    clickhouse_host: str = "127.0.0.1"
    clickhouse_http_port: int = 8123
    clickhouse_secure: bool = False
    clickhouse_loader_password: SecretStr = Field(default=..., description="of the ClickHouse user `loader`")
    notify_url: SecretStr = SecretStr("")
    notify_signing_secret: SecretStr = SecretStr("")
    webhook_signing_secret: SecretStr = SecretStr("")

    @property
    def heartbeat(self) -> Path:
        """The file whose modification time is the agent's heartbeat; stack.table.health reads it."""
        return self.agent_home / "heartbeat"

    @property
    def warehouse(self) -> Address:
        return Address(
            self.clickhouse_host,
            self.clickhouse_http_port,
            "loader",
            self.clickhouse_loader_password.get_secret_value(),
            self.clickhouse_secure,
            "CLICKHOUSE_LOADER_PASSWORD",
        )

    @property
    def notice_secrets(self) -> str:
        """Secrets that sign notices, separated by blanks; those of the webhook where notices have none of their own."""
        return self.notify_signing_secret.get_secret_value() or self.webhook_signing_secret.get_secret_value()


def read_settings() -> Settings:
    """Returns the settings of this process. Raises TerminalError that names every missing or malformed variable."""
    try:
        return Settings()
    except ValidationError as error:
        mistakes = [f"{str(e['loc'][0]).upper()}: {e['msg'].lower()}" for e in error.errors(include_input=False)]
        raise TerminalError(
            f"The environment is not complete ({'; '.join(mistakes)}); start elt-agent by ./run.sh, which reads .env"
        ) from None

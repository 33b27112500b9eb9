"""The agent's settings, read once from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from environment.secrets import Secrets
from notify.settings import HttpAddress, SigningSecrets
from pydantic import Field, SecretStr
from warehouse.client import Address


class Settings(Secrets):
    """Addresses and passwords."""

    home: Annotated[Path, Field(alias="AGENT_HOME")]
    """Folder of the agent's own files."""
    airflow_url: Annotated[str, Field(alias="AIRFLOW_URL")]
    airflow_password: Annotated[SecretStr, Field(alias="AIRFLOW_AGENT_PASSWORD")]
    """Of Airflow's user `agent`."""
    clickhouse_host: Annotated[str, Field(alias="CLICKHOUSE_HOST")] = "127.0.0.1"
    clickhouse_port: Annotated[int, Field(alias="CLICKHOUSE_HTTP_PORT", ge=1, le=65535)] = 8123
    clickhouse_secure: Annotated[bool, Field(alias="CLICKHOUSE_SECURE")] = False
    loader_password: Annotated[SecretStr, Field(alias="CLICKHOUSE_LOADER_PASSWORD")]
    """Of the warehouse's user `loader`."""
    notify_url: Annotated[HttpAddress | None, Field(alias="NOTIFY_URL")] = None
    notify_secrets: Annotated[SigningSecrets, Field(alias="NOTIFY_SIGNING_SECRET")] = ()
    webhook_secrets: Annotated[SigningSecrets, Field(alias="WEBHOOK_SIGNING_SECRET")] = ()
    """Sign notices where those have no secret of their own."""

    @property
    def heartbeat(self) -> Path:
        """The file whose modification time is the agent's heartbeat; stack.table.health reads it."""
        return self.home / "heartbeat"

    @property
    def warehouse(self) -> Address:
        host, port, password = self.clickhouse_host, self.clickhouse_port, self.loader_password.get_secret_value()
        return Address(host, port, "loader", password, self.clickhouse_secure, "CLICKHOUSE_LOADER_PASSWORD")

    @property
    def notice_secrets(self) -> str:
        """Secrets that sign notices, separated by blanks."""
        return " ".join(one.get_secret_value() for one in self.notify_secrets or self.webhook_secrets)

"""Settings of the web process and the worker, read once from the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from environment import reading
from environment.secrets import Secrets
from notify.settings import HttpAddress, SigningSecrets
from pydantic import Field, SecretStr
from warehouse.client import Address

WarehouseUser = Literal["dbt", "webhook"]


class Settings(Secrets):
    """Settings of both processes. Durations are seconds."""

    home: Annotated[Path, Field(alias="WEBHOOK_HOME")]
    project: Annotated[Path, Field(alias="DBT_PROJECT_DIR")]
    # Only the web process needs it.
    token: Annotated[SecretStr | None, Field(alias="WEBHOOK_TOKEN", min_length=16)] = None

    # Verify requests to /webhook. To rotate, put the new secret before the old one; remove the old one when every sender has the new one.
    signing_secrets: Annotated[SigningSecrets, Field(alias="WEBHOOK_SIGNING_SECRET")] = ()
    # Wrong credentials a minute, beyond which further wrong ones get 429. Right ones always pass.
    failed_tries: Annotated[int, Field(alias="WEBHOOK_FAILED_TRIES", ge=1)] = 60
    notify_url: Annotated[HttpAddress | None, Field(alias="NOTIFY_URL")] = None
    # Sign notices. Without them the secrets above sign; then every receiver of notices can also start runs.
    notify_secrets: Annotated[SigningSecrets, Field(alias="NOTIFY_SIGNING_SECRET")] = ()
    notify_success: Annotated[bool, Field(alias="NOTIFY_SUCCESS")] = False

    clickhouse_host: Annotated[str, Field(alias="CLICKHOUSE_HOST")] = "127.0.0.1"
    clickhouse_port: Annotated[int, Field(alias="CLICKHOUSE_HTTP_PORT", ge=1, le=65535)] = 8123
    clickhouse_secure: Annotated[bool, Field(alias="CLICKHOUSE_SECURE")] = False
    dbt_password: Annotated[SecretStr, Field(alias="CLICKHOUSE_DBT_PASSWORD")]
    # Password of the user that writes ops.dbt_*; dbt must not get it.
    webhook_password: Annotated[SecretStr, Field(alias="CLICKHOUSE_WEBHOOK_PASSWORD")]

    queue_limit: Annotated[int, Field(alias="WEBHOOK_QUEUE_LIMIT", ge=1)] = 100
    # Longest wait of one request with ?wait.
    max_wait: Annotated[int, Field(alias="WEBHOOK_MAX_WAIT", ge=0, le=3600)] = 300
    run_timeout: Annotated[float, Field(alias="WEBHOOK_RUN_TIMEOUT", gt=0)] = 3600.0
    stop_grace: Annotated[float, Field(alias="WEBHOOK_STOP_GRACE", ge=0)] = 30.0
    publish_wait: Annotated[float, Field(alias="WEBHOOK_PUBLISH_WAIT", ge=0)] = 60.0
    keep_days: Annotated[int, Field(alias="WEBHOOK_KEEP_DAYS", ge=1)] = 30
    keep_runs: Annotated[int, Field(alias="WEBHOOK_KEEP_RUNS", ge=1)] = 1000
    log_bytes: Annotated[int, Field(alias="WEBHOOK_LOG_BYTES", ge=10_000)] = 4_000_000

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Reads the settings. Raises SettingsError."""
        return reading.read(cls, environ)

    def warehouse(self, user: WarehouseUser) -> Address:
        """The warehouse as user `dbt`, who builds and publishes, or `webhook`, who writes ops.dbt_*."""
        password = self.dbt_password if user == "dbt" else self.webhook_password
        variable = f"CLICKHOUSE_{user.upper()}_PASSWORD"
        host, port, secure = self.clickhouse_host, self.clickhouse_port, self.clickhouse_secure
        return Address(host, port, user, password.get_secret_value(), secure, variable)

    @property
    def database(self) -> Path:
        return self.home / "webhook.sqlite3"

    @property
    def worker_lock(self) -> Path:
        """Lock file of the active worker; its modification time is the worker's heartbeat."""
        return self.home / "worker.lock"

    @property
    def dbt_target(self) -> Path:
        return self.home / "target"

    @property
    def documentation(self) -> Path:
        """Page with dbt's documentation of the last good run."""
        return self.home / "docs" / "index.html"

    @property
    def documentation_target(self) -> Path:
        return self.home / "target-docs"

    def run_log(self, run_id: str) -> Path:
        return self.home / "logs" / f"{run_id}.log"

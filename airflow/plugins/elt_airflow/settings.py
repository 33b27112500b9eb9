"""Settings of Airflow's side, one class for each part: a task fails only for variables that it needs itself."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from environment.reading import Settings
from notify.settings import HttpAddress, SigningSecrets
from pydantic import AfterValidator, Field, SecretStr


def _http_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("expected the webhook's address, such as http://127.0.0.1:5001")
    return value.rstrip("/")


class WebhookClient(Settings):
    """Address and token of the webhook that runs dbt."""

    url: Annotated[str, AfterValidator(_http_address), Field(alias="WEBHOOK_URL")]
    token: Annotated[SecretStr, Field(alias="WEBHOOK_TOKEN")]


class Notices(Settings):
    """Address that is told of failures, and the secrets that sign what it gets."""

    url: Annotated[HttpAddress | None, Field(alias="NOTIFY_URL")] = None
    own_secrets: Annotated[SigningSecrets, Field(alias="NOTIFY_SIGNING_SECRET")] = ()
    webhook_secrets: Annotated[SigningSecrets, Field(alias="WEBHOOK_SIGNING_SECRET")] = ()

    @property
    def signing_secrets(self) -> str:
        """The secrets, separated by blanks. Without secrets of their own, notices are signed with the webhook's."""
        return " ".join(secret.get_secret_value() for secret in self.own_secrets or self.webhook_secrets)


class LogRetention(Settings):
    """Where Airflow writes the logs of tasks."""

    home: Annotated[Path, Field(alias="AIRFLOW_HOME")]
    configured: Annotated[Path | None, Field(alias="AIRFLOW__LOGGING__BASE_LOG_FOLDER")] = None

    @property
    def folder(self) -> Path:
        return self.configured or self.home / "logs"


class MetadataRetention(Settings):
    """Airflow's metadata database, under the name that Airflow does not hide from tasks."""

    database: Annotated[SecretStr, Field(alias="AIRFLOW_METADATA_CONN")]


class Provision(Settings):
    """What provision.py makes ready: Airflow's folder, its metadata database and the password of its admin."""

    home: Annotated[Path, Field(alias="AIRFLOW_HOME")]
    database: Annotated[SecretStr, Field(alias="AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")]
    admin_password: Annotated[SecretStr, Field(alias="AIRFLOW_ADMIN_PASSWORD")]

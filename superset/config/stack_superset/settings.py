"""The environment of Superset, read once. Imports nothing of Superset: provisioning decides with it before that is imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from environment import reading
from pydantic import Field

# Superset asks for holders of the role as that user of the warehouse, whose rows are filtered there, and not as `superset`.
RESTRICTED_USERS = {"Only California": "superset_california"}
# All users of the warehouse, each with CLICKHOUSE_<USER>_PASSWORD.
WAREHOUSE_USERS = ("superset", "superset_operations", *RESTRICTED_USERS.values())

SettingsError = reading.SettingsError
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(reading.Settings):
    """Where Superset keeps its own data, where the warehouse is, and how the shop shows money."""

    home: Annotated[Path, Field(alias="SUPERSET_HOME")]
    secret_key: Annotated[str, Field(alias="SUPERSET_SECRET_KEY", repr=False)]
    database_host: Annotated[str, Field(alias="SUPERSET_DB_HOST")]
    database_port: Annotated[Port, Field(alias="SUPERSET_DB_PORT")]
    database_password: Annotated[str, Field(alias="SUPERSET_DB_PASSWORD", repr=False)]
    warehouse_host: Annotated[str, Field(alias="CLICKHOUSE_HOST")]
    warehouse_port: Annotated[Port, Field(alias="CLICKHOUSE_HTTP_PORT")]
    warehouse_secure: Annotated[bool, Field(alias="CLICKHOUSE_SECURE")] = False
    superset_password: Annotated[str, Field(alias="CLICKHOUSE_SUPERSET_PASSWORD", repr=False)]
    operations_password: Annotated[str, Field(alias="CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD", repr=False)]
    california_password: Annotated[str, Field(alias="CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD", repr=False)]
    currency: Annotated[str, Field(alias="SHOP_CURRENCY")] = "USD"
    timezone: Annotated[str, Field(alias="SHOP_TIMEZONE")] = "UTC"
    sample_shop: Annotated[bool, Field(alias="SAMPLE_SHOP")] = True

    database_name: str = "superset"
    database_user: str = "superset"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Raises SettingsError that names every variable that is missing or not understood."""
        return reading.read(cls, environ)

    @property
    def warehouse_passwords(self) -> Mapping[str, str]:
        """Passwords of the warehouse's users, by user."""
        passwords = (self.superset_password, self.operations_password, self.california_password)
        return dict(zip(WAREHOUSE_USERS, passwords, strict=True))


class Admin(reading.Settings):
    """The password of Superset's admin."""

    password: Annotated[str, Field(alias="SUPERSET_ADMIN_PASSWORD", repr=False)]

"""The environment of Superset, read once. Standard library only: provisioning decides with it before Superset is imported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Superset asks for holders of the role as that user of the warehouse, whose rows are filtered there, and not as `superset`.
RESTRICTED_USERS = {"Only California": "superset_california"}
# All users of the warehouse, each with CLICKHOUSE_<USER>_PASSWORD.
WAREHOUSE_USERS = ("superset", "superset_operations", *RESTRICTED_USERS.values())


class SettingsError(ValueError):
    """One sentence: the variable, what was found, and the cure."""


def required(environ: Mapping[str, str], name: str) -> str:
    """The value of an environment variable. Raises SettingsError if it is missing or empty."""
    value = environ.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set; start Superset by ./run.sh, which takes it from .env.")
    return value


def port(environ: Mapping[str, str], name: str) -> int:
    """The value of an environment variable as a port. Raises SettingsError."""
    value = required(environ, name)
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise SettingsError(f"{name} is {value!r}, not a port; correct it in .env.")
    return int(value)


def switch(environ: Mapping[str, str], name: str, default: bool) -> bool:
    """The value of an environment variable as true or false. Raises SettingsError."""
    value = environ.get(name, "").lower()
    if value in ("", "true", "false"):
        return value == "true" if value else default
    raise SettingsError(f"{name} is {value!r}, neither true nor false; correct it in .env.")


@dataclass(frozen=True)
class Settings:
    """Where Superset keeps its own data, where the warehouse is, and how the shop shows money."""

    home: Path
    secret_key: str = field(repr=False)
    database_host: str
    database_port: int
    database_password: str = field(repr=False)
    warehouse_host: str
    warehouse_port: int
    warehouse_secure: bool
    warehouse_passwords: Mapping[str, str] = field(repr=False)
    currency: str
    timezone: str
    sample_shop: bool

    database_name: str = "superset"
    database_user: str = "superset"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Raises SettingsError for the first variable that is missing or not understood."""
        return cls(
            home=Path(required(environ, "SUPERSET_HOME")),
            secret_key=required(environ, "SUPERSET_SECRET_KEY"),
            database_host=required(environ, "SUPERSET_DB_HOST"),
            database_port=port(environ, "SUPERSET_DB_PORT"),
            database_password=required(environ, "SUPERSET_DB_PASSWORD"),
            warehouse_host=required(environ, "CLICKHOUSE_HOST"),
            warehouse_port=port(environ, "CLICKHOUSE_HTTP_PORT"),
            warehouse_secure=switch(environ, "CLICKHOUSE_SECURE", default=False),
            warehouse_passwords={
                user: required(environ, f"CLICKHOUSE_{user.upper()}_PASSWORD") for user in WAREHOUSE_USERS
            },
            currency=environ.get("SHOP_CURRENCY") or "USD",
            timezone=environ.get("SHOP_TIMEZONE") or "UTC",
            sample_shop=switch(environ, "SAMPLE_SHOP", default=True),
        )

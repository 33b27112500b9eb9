"""Settings of Superset: what is missing or wrong is named, secrets are not shown."""

import pytest
from stack_superset.settings import Settings, SettingsError

ENVIRON = {
    "SUPERSET_HOME": "/home",
    "SUPERSET_SECRET_KEY": "hidden-key",
    "SUPERSET_DB_HOST": "db",
    "SUPERSET_DB_PORT": "5432",
    "SUPERSET_DB_PASSWORD": "hidden-db",
    "CLICKHOUSE_HOST": "warehouse.example",
    "CLICKHOUSE_HTTP_PORT": "8443",
    "CLICKHOUSE_SECURE": "true",
    "CLICKHOUSE_SUPERSET_PASSWORD": "hidden-warehouse",
    "CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD": "hidden-operations",
    "CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD": "hidden-california",
    "SAMPLE_SHOP": "false",
}


def test_the_environment_is_read() -> None:
    settings = Settings.from_environ(ENVIRON)
    assert (settings.warehouse_host, settings.warehouse_port, settings.warehouse_secure) == (
        "warehouse.example",
        8443,
        True,
    )
    assert (settings.currency, settings.timezone, settings.sample_shop) == ("USD", "UTC", False)


def test_secrets_are_not_shown() -> None:
    assert "hidden" not in repr(Settings.from_environ(ENVIRON))


@pytest.mark.parametrize("name", [name for name in ENVIRON if name not in ("CLICKHOUSE_SECURE", "SAMPLE_SHOP")])
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        Settings.from_environ({**ENVIRON, name: ""})


@pytest.mark.parametrize(
    ("name", "value"), [("SUPERSET_DB_PORT", "0"), ("CLICKHOUSE_HTTP_PORT", "x"), ("CLICKHOUSE_SECURE", "perhaps")]
)
def test_a_value_that_makes_no_sense_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: input should be"):
        Settings.from_environ({**ENVIRON, name: value})

"""Puts the warehouse's address and password into a connection at the moment it is opened."""

from collections.abc import Callable
from typing import Any

from sqlalchemy.engine.url import URL

from stack_superset.settings import Settings

# The host in superset/assets/warehouse/databases/warehouse.yaml. It exists nowhere: a connection that was not completed here fails.
PLACEHOLDER = "warehouse"

Mutator = Callable[[URL, dict[str, Any], str | None, Any, Any], tuple[URL, dict[str, Any]]]


def connection_mutator(settings: Settings) -> Mutator:
    """A DB_CONNECTION_MUTATOR that completes URLs whose host is the placeholder and leaves every other one alone.

    So neither files nor the metadata database hold where the warehouse is or what its password is, and a changed address
    in `.env` needs no import.
    """

    def complete(
        url: URL, params: dict[str, Any], _username: str | None, _security_manager: Any, _source: Any
    ) -> tuple[URL, dict[str, Any]]:
        if url.get_backend_name() != "clickhousedb" or url.host != PLACEHOLDER:
            return url, params
        complete_url = url.set(
            username=settings.warehouse_user,
            password=settings.warehouse_password,
            host=settings.warehouse_host,
            port=settings.warehouse_port,
            query={
                **url.query,
                "secure": "true" if settings.warehouse_secure else "false",
                # Superset keeps the message of a refused query; the driver leaves the address out of it.
                "show_clickhouse_errors": "scrub",
            },
        )
        return complete_url, params

    return complete

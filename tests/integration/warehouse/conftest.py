"""Clients of the embedded ClickHouse as user `loader`."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from warehouse.client import Address, Warehouse


@pytest.fixture(scope="session")
def address(clickhouse: Any) -> Address:
    return Address(clickhouse.host, clickhouse.port, "loader", clickhouse.password("loader"))


@pytest.fixture
def connect(address: Address) -> Iterator[Callable[[], Warehouse]]:
    made: list[Warehouse] = []

    def client() -> Warehouse:
        made.append(Warehouse(address))
        return made[-1]

    yield client
    for one in made:
        one.close()

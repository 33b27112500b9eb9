"""Errors of the warehouse: which of them another try may help."""

from typing import Any

import pytest
from warehouse.client import Address, Warehouse
from warehouse.errors import WarehouseRefusedError, WarehouseUnavailableError


def test_a_query_that_finds_no_memory_is_worth_another_try(connect: Any) -> None:
    """Others need less of it in a moment."""
    with connect() as warehouse:
        with pytest.raises(WarehouseUnavailableError, match="MEMORY_LIMIT_EXCEEDED") as raised:
            warehouse.rows("SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 10000000")
        assert raised.value.code == 241
        with pytest.raises(WarehouseRefusedError, match="UNKNOWN_IDENTIFIER"):
            warehouse.rows("SELECT no_such_column")


def test_a_wrong_password_is_told_with_the_variable_and_without_the_password(address: Address) -> None:
    wrong = Address(
        address.host, address.port, "loader", "not-the-password", password_variable="CLICKHOUSE_LOADER_PASSWORD"
    )
    with Warehouse(wrong) as warehouse, pytest.raises(WarehouseRefusedError, match="refuses user loader") as refused:
        warehouse.ping()
    assert "CLICKHOUSE_LOADER_PASSWORD" in str(refused.value) and "not-the-password" not in str(refused.value)
    assert refused.value.code == 516


def test_a_client_connects_again_after_its_server_was_away(address: Address) -> None:
    nobody = Address(address.host, 1, "loader", address.password)
    with Warehouse(nobody) as warehouse:
        with pytest.raises(WarehouseUnavailableError, match=r":1 does not answer") as away:
            warehouse.ping()
        assert away.value.code is None
        warehouse.address = address
        warehouse.ping()

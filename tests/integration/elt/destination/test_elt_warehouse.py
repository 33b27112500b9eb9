"""Errors of the warehouse: which of them another try may help."""

from typing import Any

import pytest
from elt.destination.warehouse import Warehouse
from elt.errors import WarehouseRefusedError, WarehouseUnavailableError


def test_a_query_that_finds_no_memory_is_worth_another_try(shop: Any) -> None:
    """Others need less of it in a moment."""
    with Warehouse(shop.settings) as warehouse:
        with pytest.raises(WarehouseUnavailableError, match="MEMORY_LIMIT_EXCEEDED") as raised:
            warehouse.rows("SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 10000000")
        assert raised.value.code == 241
        with pytest.raises(WarehouseRefusedError, match="UNKNOWN_IDENTIFIER"):
            warehouse.rows("SELECT no_such_column")

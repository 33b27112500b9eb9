"""Tables that are published, and have changed since at the source."""

from typing import Any

import pytest


@pytest.fixture
def two(shop: Any) -> Any:
    """Tables a and b, published with one row each; the source has two rows by now."""
    shop.sql(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY)",
        "INSERT INTO a VALUES (1)",
        "INSERT INTO b VALUES (1)",
    )
    shop.tables("public.a", "public.b")
    shop.load()
    shop.sql("INSERT INTO a VALUES (2)", "INSERT INTO b VALUES (2)")
    return shop

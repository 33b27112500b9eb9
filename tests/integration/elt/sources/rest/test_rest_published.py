"""An API as a source of runs: fetched into the lake, published by the day, compared, and read again without the API."""

from __future__ import annotations

from datetime import date
from typing import Any


def test_items_are_published_exactly_as_they_were_sent(store: Any) -> None:
    price = "1234567890123456789.10"
    store.api.products[3] = store.api.products[3].replace('"price":24.40', f'"price":{price}')
    done = store.load(verify=True, day=date(2026, 1, 3))
    assert {load.target: (load.mode, load.rows) for load in done.loads} == {
        "store__products": ("by_day", 20),
        "store__users": ("by_day", 10),
        "store__carts": ("by_day", 7),
    }
    assert all(load.verified_columns == ("dt", "object", "row", "data") for load in done.loads)
    assert store.rows("store__products") == [("2026-01-03", item) for item in store.api.products]
    assert price in store.rows("store__products")[3][1]
    assert store.rows("store__carts", "data") == [(item,) for item in store.api.carts]

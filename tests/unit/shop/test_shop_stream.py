"""The generated rows keep the promises of the schema before Postgres sees them."""

from collections import Counter
from datetime import date
from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from shop import stream
from shop.catalogue import MOST_PRODUCTS, make_products, product_count
from shop.stream import Batch, Ids

UNTIL = date(2026, 11, 20)
FIRST = Ids(customer=11, product=16, order=101, order_item=301)


def generate(orders: int, seed: int = 1, days: int = 90) -> list[Batch]:
    return list(stream.batches(orders, seed=seed, days=days, until=UNTIL, ids=FIRST))


def rows(batches: list[Batch], table: str) -> list[list[str]]:
    text = "".join(getattr(batch, table) for batch in batches)
    return [line.split("\t") for line in text.splitlines()]


def test_the_same_seed_gives_the_same_shop_and_another_seed_another() -> None:
    assert generate(500, seed=3) == generate(500, seed=3)
    assert generate(500, seed=3) != generate(500, seed=4)


# The first example pays for the tables of the catalogue, so a deadline would only measure the machine.
@settings(max_examples=30, deadline=None)
@given(orders=st.integers(1, 400), seed=st.integers(), days=st.integers(1, 800))
def test_totals_add_up_and_references_point_at_rows(orders: int, seed: int, days: int) -> None:
    batches = generate(orders, seed, days)
    customers = {row[0]: row[7] for row in rows(batches, "customers")}
    products = {row[0]: Decimal(row[3]) for row in rows(batches, "products")}
    order_rows = rows(batches, "orders")
    assert [int(row[0]) for row in order_rows] == list(range(101, 101 + orders))
    billed: Counter[str] = Counter()
    seen = set()
    for number, row in enumerate(rows(batches, "order_items"), 301):
        item, order, product, quantity, unit_price, subtotal = row
        assert int(item) == number
        assert (order, product) not in seen
        seen.add((order, product))
        assert 0 <= Decimal(unit_price) <= products[product]
        assert int(quantity) * Decimal(unit_price) == Decimal(subtotal)
        billed[order] += Decimal(subtotal)  # type: ignore[assignment]
    for order, customer, at, _, total in order_rows:
        assert customers[customer] <= at
        assert billed[order] == Decimal(total)


def test_batches_are_bounded_and_add_up() -> None:
    batches = generate(stream.BATCH_ORDERS + 1)
    assert [batch.rows["orders"] for batch in batches] == [stream.BATCH_ORDERS, 1]
    assert batches[1].products == ""


def test_customers_return_and_products_are_skewed() -> None:
    batches = generate(12_000)
    customers = Counter(row[1] for row in rows(batches, "orders"))
    assert len(rows(batches, "customers")) == 2_000
    assert sum(1 for orders in customers.values() if orders > 1) > 1_000
    sold = sorted(Counter(row[2] for row in rows(batches, "order_items")).values(), reverse=True)
    assert sum(sold[: len(sold) // 5]) > 0.4 * sum(sold)


def test_products_have_distinct_names_and_a_margin() -> None:
    products = make_products(MOST_PRODUCTS, Random(1))
    assert len({product.name for product in products}) == MOST_PRODUCTS == product_count(10**9)
    assert all(0 < product.cost < product.price for product in products)

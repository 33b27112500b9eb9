"""The generated shop as a stream of batches of COPY text: memory does not grow with the number of orders."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from shop import catalogue, seasons
from shop.customers import Clientele, money

BATCH_ORDERS = 20_000
# A hundred sizes of baskets, three articles on average.
BASKETS = [
    size for size, percent in zip(range(1, 11), (25, 25, 18, 12, 8, 5, 3, 2, 1, 1), strict=True) for _ in range(percent)
]
QUANTITIES = [1] * 78 + [2] * 15 + [3] * 5 + [4] * 2
# Percent off: nothing, 10 in the weeks before Christmas, 25 on the last Friday of November.
DISCOUNTS = (0, 10, 25)


@dataclass(frozen=True)
class Ids:
    """The first number to give out in each table."""

    customer: int
    product: int
    order: int
    order_item: int


@dataclass(frozen=True)
class Batch:
    """Rows in COPY text, tables in an order that keeps foreign keys whole, and how many rows each has."""

    products: str
    customers: str
    orders: str
    order_items: str
    rows: dict[str, int]


def discount(day: date) -> int:
    """Index into DISCOUNTS for a day."""
    if day.month == 11 and day.weekday() == 4 and day.day >= 23:
        return 2
    return 1 if day.month == 12 and day.day < 24 else 0


def _product_rows(products: list[catalogue.Product], first_id: int, since: date, rng: Random) -> str:
    lines = []
    for number, product in enumerate(products, first_id):
        created = datetime.combine(since, time(9), UTC) - timedelta(days=1 + int(rng.random() * 300))
        lines.append(
            f"{number}\t{product.name}\t{product.category}\t{money(product.price)}\t{money(product.cost)}"
            f"\t{created:%Y-%m-%d %H:%M:%S}+00\n"
        )
    return "".join(lines)


def _item_tails(products: list[catalogue.Product], first_id: int, off: int) -> list[list[tuple[str, int]]]:
    """For each product and quantity from 1 on: the end of an item's row, from product_id on, and its subtotal in cents."""
    tails = []
    for number, product in enumerate(products, first_id):
        unit = round(product.price * (100 - off) / 100)
        tails.append(
            [(f"\t{number}\t{n}\t{money(unit)}\t{money(n * unit)}\n", n * unit) for n in range(1, max(QUANTITIES) + 1)]
        )
    return tails


def batches(orders: int, *, seed: int, days: int, until: date, ids: Ids) -> Iterator[Batch]:
    """A shop with exactly `orders` orders over the `days` days before `until` (midnight UTC, exclusive), a batch at a time.

    The same arguments give the same rows. Numbers rise with time. Every order has items of distinct products, its total is the sum of
    its items' subtotals, and no order is older than its customer's account.
    """
    rng = Random(seed)
    draw = rng.random
    products = catalogue.make_products(catalogue.product_count(orders), rng)
    months = catalogue.demand(products, rng)
    tails = [_item_tails(products, ids.product, off) for off in DISCOUNTS]
    clientele = Clientele(orders, ids.customer, rng)
    minutes = [f"{second // 60:02d}:{second % 60:02d}+00" for second in range(3600)]
    product_text = _product_rows(products, ids.product, until - timedelta(days=days), rng)
    customer_lines: list[str] = []
    order_lines: list[str] = []
    item_lines: list[str] = []
    order_id = ids.order
    item_id = ids.order_item

    def batch() -> Batch:
        rows = {
            "products": len(products) if product_text else 0,
            "customers": len(customer_lines),
            "orders": len(order_lines),
            "order_items": len(item_lines),
        }
        return Batch(product_text, "".join(customer_lines), "".join(order_lines), "".join(item_lines), rows)

    for hour in seasons.hours(orders, days, until):
        prefix = f"{hour.start:%Y-%m-%d %H}:"
        statuses = seasons.statuses_at(hour.age)
        tickets = months[hour.start.month - 1]
        tail = tails[discount(hour.start.date())]
        for second in sorted(int(draw() * 3600) for _ in range(hour.orders)):
            customer_id, row = clientele.next_buyer(hour.start + timedelta(seconds=second))
            if row is not None:
                customer_lines.append(row)
            total = 0
            basket = {tickets[int(draw() * catalogue.TICKETS)] for _ in range(BASKETS[int(draw() * 100)])}
            for product in basket:
                text, cents = tail[product][QUANTITIES[int(draw() * 100)] - 1]
                item_lines.append(f"{item_id}\t{order_id}{text}")
                item_id += 1
                total += cents
            order_lines.append(
                f"{order_id}\t{customer_id}\t{prefix}{minutes[second]}\t{statuses[int(draw() * 100)]}\t{money(total)}\n"
            )
            order_id += 1
            if len(order_lines) == BATCH_ORDERS:
                yield batch()
                product_text = ""
                customer_lines, order_lines, item_lines = [], [], []
    if order_lines:
        yield batch()

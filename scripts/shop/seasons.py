"""When orders happen, and how far each has come: growth, months, weekdays, hours; statuses that fit the age."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

MONTHS = (0.85, 0.80, 0.92, 0.95, 1.00, 0.97, 0.95, 0.97, 1.00, 1.05, 1.40, 1.60)
WEEKDAYS = (1.05, 1.00, 0.97, 0.98, 1.02, 1.10, 1.15)
HOURS = (0.35, 0.2, 0.12, 0.1, 0.1, 0.2, 0.4, 0.7, 1.0, 1.2, 1.3, 1.35, 1.4, 1.3, 1.2, 1.15, 1.2, 1.3, 1.5, 1.7, 1.8, 1.6, 1.2, 0.7)  # fmt: skip
GROWTH_A_YEAR = 1.35

# Age in whole days from which the shares (in percent) of the statuses hold.
STATUSES: tuple[tuple[int, dict[str, int]], ...] = (
    (0, {"pending": 50, "paid": 42, "cancelled": 8}),
    (1, {"pending": 8, "paid": 64, "shipped": 21, "cancelled": 7}),
    (3, {"paid": 18, "shipped": 66, "delivered": 9, "cancelled": 7}),
    (6, {"paid": 2, "shipped": 36, "delivered": 55, "cancelled": 7}),
    (10, {"shipped": 5, "delivered": 86, "cancelled": 7, "returned": 2}),
    (21, {"delivered": 88, "cancelled": 7, "returned": 5}),
)


class Hour(NamedTuple):
    """One hour of the shop's life and the number of orders in it."""

    start: datetime
    orders: int
    age: int


def statuses_at(age: int) -> list[str]:
    """A hundred statuses, as often as they occur among orders that are `age` days old."""
    shares = next(shares for since, shares in reversed(STATUSES) if age >= since)
    return [status for status, percent in shares.items() for _ in range(percent)]


def weight(hour: datetime, first: date) -> float:
    """How busy an hour is, relative to the others."""
    years = (hour.date() - first).days / 365
    return float(GROWTH_A_YEAR**years) * MONTHS[hour.month - 1] * WEEKDAYS[hour.weekday()] * HOURS[hour.hour]


def hours(orders: int, days: int, until: date) -> Iterator[Hour]:
    """Exactly `orders` orders over the `days` days before `until` (midnight UTC, exclusive), in the order of time; empty hours left out."""
    end = datetime.combine(until, time(), UTC)
    first = until - timedelta(days=days)
    starts = [end - timedelta(hours=left) for left in range(days * 24, 0, -1)]
    weights = [weight(start, first) for start in starts]
    whole = sum(weights)
    passed = 0.0
    given = 0
    for start, share in zip(starts, weights, strict=True):
        passed += share
        # What is due so far less what was given: rounding never adds up.
        due = min(orders, round(orders * passed / whole))
        if start == starts[-1]:
            due = orders
        if due > given:
            yield Hour(start, due - given, (end - start - timedelta(hours=1)).days)
        given = due

"""Orders fall into hours: all of them, in order, inside the period, with statuses that fit."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import seasons

UNTIL = date(2026, 11, 20)


@settings(deadline=None)
@given(orders=st.integers(1, 5_000), days=st.integers(1, 800))
def test_every_order_gets_an_hour_of_the_period(orders: int, days: int) -> None:
    hours = list(seasons.hours(orders, days, UNTIL))
    assert sum(hour.orders for hour in hours) == orders
    assert all(hour.orders > 0 for hour in hours)
    starts = [hour.start for hour in hours]
    assert starts == sorted(starts)
    end = datetime(2026, 11, 20, tzinfo=UTC)
    assert starts[0] >= end - timedelta(days=days)
    assert starts[-1] <= end - timedelta(hours=1)


def test_december_is_busier_than_february_and_evenings_busier_than_nights() -> None:
    hours = list(seasons.hours(1_000_000, 365, UNTIL))
    december = sum(hour.orders for hour in hours if hour.start.month == 12)
    february = sum(hour.orders for hour in hours if hour.start.month == 2)
    assert december > 1.5 * february
    assert sum(h.orders for h in hours if h.start.hour == 20) > 5 * sum(h.orders for h in hours if h.start.hour == 4)


@pytest.mark.parametrize("age", range(0, 60))
def test_the_shares_of_statuses_are_whole(age: int) -> None:
    assert len(seasons.statuses_at(age)) == 100


def test_young_orders_are_not_delivered_and_old_ones_not_pending() -> None:
    assert set(seasons.statuses_at(0)) == {"pending", "paid", "cancelled"}
    assert set(seasons.statuses_at(400)) == {"delivered", "cancelled", "returned"}

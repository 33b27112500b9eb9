"""Incremental loads that would read most of a table: copied whole instead, and nothing is lost by that."""

from typing import Any

import pytest
from elt.runs.modes.incremental import SMALL_ROWS

EVENTS = "name: public.events, mode: incremental, cursor: updated_at"
ROWS = SMALL_ROWS + 50_000
WHOLE = "public.events is copied whole: by the planner's estimate"


@pytest.fixture
def events(shop: Any) -> Any:
    """A table that no autovacuum looks at, so that its statistics are those that a test made."""
    shop.sql(
        "CREATE TABLE events (id int PRIMARY KEY, v int NOT NULL, updated_at timestamptz NOT NULL) WITH (autovacuum_enabled = false)",
        "CREATE INDEX ON events (updated_at)",
    )
    shop.tables(EVENTS)
    return shop


def insert(shop: Any, first: int, last: int, newest: str, every: str = "1 s", *, table: str = "events") -> None:
    """Rows that were written one `every` so long, the last of them that long ago."""
    shop.sql(
        f"INSERT INTO {table} SELECT i, 1, now() - interval '{newest}' - ({last} - i) * interval '{every}' FROM generate_series({first}, {last}) i"
    )


def loaded(shop: Any) -> tuple[str, int, str]:
    """Mode, rows read and note of a load, after which the warehouse has what the source has."""
    (load,) = shop.load().loads
    assert shop.warehouse("SELECT count(), sum(id) FROM raw.events SETTINGS final = 1") == shop.sql(
        "SELECT count(*), sum(id) FROM events"
    )
    return load.mode, load.rows, load.note


def watermark(shop: Any) -> str:
    ((mark,),) = shop.warehouse(
        "SELECT watermark FROM ops.loads FINAL WHERE target = 'events' ORDER BY run DESC LIMIT 1"
    )
    return str(mark)


def test_within_the_lookback_of_a_bulk_change_the_table_is_copied_whole_and_deletes_arrive(events: Any) -> None:
    insert(events, 1, ROWS, "10 min", "1 ms")
    events.sql("ANALYZE events")
    assert loaded(events)[:2] == ("full", ROWS)
    events.sql("DELETE FROM events WHERE id <= 10", "INSERT INTO events VALUES (1000000, 1, now())")
    mode, rows, note = loaded(events)
    assert (mode, rows) == ("full", ROWS - 9) and note.startswith(WHOLE) and "read 100% of its rows" in note
    kept = events.warehouse("SELECT note FROM ops.loads FINAL WHERE target = 'events' ORDER BY run DESC LIMIT 1")
    assert kept == [(note,)]
    # The next load goes on from that copy, as it is no full refresh.
    events.tables(f"{EVENTS}, lookback: 1min")
    assert loaded(events) == ("incremental", 1, "")


def test_a_load_that_reads_the_smaller_part_stays_incremental(events: Any) -> None:
    insert(events, 1, ROWS, "1 day")
    assert loaded(events)[0] == "full"
    insert(events, ROWS + 1, ROWS + 50_000, "0 s", "1 ms")
    events.sql("ANALYZE events")
    assert loaded(events)[0] == "incremental"


def test_rows_that_came_after_the_last_analyze_are_counted(events: Any) -> None:
    insert(events, 1, SMALL_ROWS, "1 day")
    events.sql("ANALYZE events")
    loaded(events)
    insert(events, SMALL_ROWS + 1, 4 * SMALL_ROWS, "0 s", "1 ms")
    mode, rows, note = loaded(events)
    assert (mode, rows) == ("full", 4 * SMALL_ROWS) and "read 75% of its rows" in note


def test_a_table_that_was_never_analyzed_stays_incremental(events: Any) -> None:
    insert(events, 1, ROWS, "10 min", "1 ms")
    loaded(events)
    assert loaded(events) == ("incremental", ROWS, "")


def test_the_size_of_a_table_that_was_never_analyzed_says_nothing(events: Any) -> None:
    """The planner takes its long rows for many short ones."""
    events.sql("ALTER TABLE events ADD COLUMN t text NOT NULL DEFAULT repeat('x', 1500)")
    events.tables(f"{EVENTS}, lookback: 0s")
    insert(events, 1, 20_000, "1 day")
    loaded(events)
    assert loaded(events) == ("incremental", 1, "")


def test_a_small_table_stays_incremental(events: Any) -> None:
    insert(events, 1, 1000, "10 min", "1 ms")
    events.sql("ANALYZE events")
    loaded(events)
    assert loaded(events) == ("incremental", 1000, "")


def test_the_condition_of_the_file_makes_a_large_table_small(events: Any) -> None:
    insert(events, 1, ROWS, "10 min", "1 ms")
    events.sql("UPDATE events SET v = 2 WHERE id <= 1000", "ANALYZE events")
    events.tables(f"{EVENTS}, where: v = 2")
    assert [load.mode for load in events.load().loads] == ["full"]
    (load,) = events.load().loads
    assert (load.mode, load.rows, load.note) == ("incremental", 1000, "")


def test_more_rows_than_are_published_are_no_new_ones_where_a_condition_is_guessed(events: Any) -> None:
    """The planner expects all rows to meet the condition, and few do."""
    insert(events, 1, ROWS, "1 day")
    events.sql("UPDATE events SET v = 2", "ANALYZE events", f"UPDATE events SET v = 1 WHERE id <= {ROWS - 100}")
    events.tables(f"{EVENTS}, where: v = 2, lookback: 1s")
    assert [load.mode for load in events.load().loads] == ["full"]
    (load,) = events.load().loads
    assert (load.mode, load.note) == ("incremental", "")


@pytest.fixture
def parts(shop: Any) -> Any:
    """A partitioned table with a large partition of old rows."""
    shop.sql(
        "CREATE TABLE events (id int PRIMARY KEY, v int NOT NULL, updated_at timestamptz NOT NULL) PARTITION BY RANGE (id)",
        "CREATE TABLE old PARTITION OF events FOR VALUES FROM (1) TO (1000001) WITH (autovacuum_enabled = false)",
        "CREATE INDEX ON events (updated_at)",
    )
    shop.tables(f"{EVENTS}, lookback: 0s")
    insert(shop, 1, ROWS, "1 day")
    shop.sql("ANALYZE events")
    assert loaded(shop)[:2] == ("full", ROWS)
    shop.sql("CREATE TABLE added (LIKE events INCLUDING ALL) WITH (autovacuum_enabled = false)")
    return shop


ATTACH = "ALTER TABLE events ATTACH PARTITION added FOR VALUES FROM (1000001) TO (3000001)"


def test_a_new_partition_of_few_rows_leaves_the_load_incremental(parts: Any) -> None:
    insert(parts, 1_000_001, 1_000_100, "2 days", table="added")
    parts.sql(ATTACH, "ANALYZE events")
    # The row at the watermark is read again.
    assert loaded(parts) == ("incremental", 101, "")


def test_a_new_partition_that_is_most_of_the_table_is_a_full_copy(parts: Any) -> None:
    insert(parts, 1_000_001, 1_000_000 + 2 * ROWS, "2 days", table="added")
    parts.sql("ANALYZE added", ATTACH)
    mode, rows, note = loaded(parts)
    assert (mode, rows) == ("full", 3 * ROWS) and note.startswith(WHOLE) and "read 67% of its rows" in note


def test_a_full_refresh_asks_no_planner(events: Any) -> None:
    insert(events, 1, ROWS, "10 min", "1 ms")
    events.sql("ANALYZE events")
    loaded(events)
    (load,) = events.load(full_refresh=True).loads
    assert (load.mode, load.note) == ("full", "")


def test_a_full_copy_beside_a_prepared_transaction_keeps_the_watermark(events: Any) -> None:
    """Its row comes with a cursor of before, and the next load still goes on from where that is sure."""
    insert(events, 1, ROWS, "10 min", "1 ms")
    events.sql("ANALYZE events")
    loaded(events)
    before = watermark(events)
    assert before
    events.tables(f"{EVENTS}, lookback: 5s")
    events.sql("BEGIN", "INSERT INTO events VALUES (1000000, 1, now())", "PREPARE TRANSACTION 'late'")
    try:
        insert(events, ROWS + 1, 4 * ROWS, "0 s", "1 ms")
        assert loaded(events)[0] == "full" and watermark(events) == before
    finally:
        events.sql("COMMIT PREPARED 'late'")
    loaded(events)
    assert watermark(events) > before

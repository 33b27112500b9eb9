"""Options of a table in pipeline.yml, against real servers."""

import dataclasses
import hashlib
import threading
from typing import Any

import pytest
from elt.cli.check import check
from elt.errors import ValueRefusedError
from elt.runs import copying
from elt.sources.postgres import ranges as dividing
from elt.sources.postgres.options import PostgresTable
from elt.sources.postgres.sessions.session import CopySession, Session
from elt.sources.postgres.statements import ranges
from pydantic import SecretStr
from warehouse.errors import TerminalError

SALT = "s4l t'\\ \"end"


@pytest.fixture
def people(shop: Any) -> Any:
    shop.sql(
        "CREATE TABLE people (id int PRIMARY KEY, email text, phone text NOT NULL, born date NOT NULL, country text NOT NULL)",
        "INSERT INTO people VALUES (1, 'a@x', '1', '1990-05-01', 'pt'), (2, NULL, '2', '1991-06-01', 'pt'), (3, 'c@x', '3', '1990-07-01', 'es')",
    )
    return shop


def salted(shop: Any, salt: str) -> Any:
    settings = shop.settings.model_copy(update={"mask_salt": SecretStr(salt)})
    return dataclasses.replace(shop, settings=settings, environment=shop.environment | {"MASK_SALT": salt})


def test_masked_columns_are_salted_hashes_and_the_salt_stands_in_no_query(
    people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.tables("name: public.people, mask: [email, phone], exclude: [country]")
    texts: list[str] = []
    for session, method in ((Session, "execute"), (Session, "rows"), (CopySession, "execute"), (CopySession, "copy")):
        original = getattr(session, method)

        def recorded(self: Any, sql: str, *rest: Any, original: Any = original) -> Any:
            texts.append(sql)
            return original(self, sql, *rest)

        monkeypatch.setattr(session, method, recorded)
    salted(people, SALT).load()
    assert any("sha256" in text for text in texts) and not any(SALT in text for text in texts)
    assert not any("country" in text for text in texts if "sha256" in text)

    def hashed(value: str) -> str:
        return hashlib.sha256((SALT + value).encode()).hexdigest()

    assert people.warehouse("SELECT id, email, phone FROM raw.people ORDER BY id") == [
        (1, hashed("a@x"), hashed("1")),
        (2, None, hashed("2")),
        (3, hashed("c@x"), hashed("3")),
    ]
    columns = "SELECT name FROM system.columns WHERE database = 'raw' AND table = 'people' ORDER BY position"
    assert [row[0] for row in people.warehouse(columns)] == [
        "id",
        "email",
        "phone",
        "born",
        "_elt_run",
        "_elt_loaded_at",
    ]


def test_options_of_the_address_are_kept_beside_the_salt(people: Any) -> None:
    people.tables("name: public.people, mask: [email]")
    url = people.settings.source_url.get_secret_value() + "?options=-c%20work_mem%3D64kB"
    settings = people.settings.model_copy(update={"source_url": SecretStr(url)})
    dataclasses.replace(people, settings=settings).load()
    assert people.warehouse("SELECT count() FROM raw.people") == [(3,)]


def test_a_mask_without_a_salt_is_refused_before_anything_is_read(people: Any) -> None:
    people.tables("name: public.people, mask: [email]")
    without = salted(people, "")
    assert any("MASK_SALT" in mistake for mistake in check(without.settings).mistakes)
    with pytest.raises(TerminalError, match="MASK_SALT is empty"):
        without.load()


def test_only_rows_that_meet_the_condition_are_copied_and_counted(people: Any) -> None:
    people.tables("name: public.people, where: \"country = 'pt' -- and nobody else\"")
    (load,) = people.load().loads
    assert load.rows == 2
    assert people.warehouse("SELECT id FROM raw.people ORDER BY id") == [(1,), (2,)]


def test_a_condition_that_the_source_does_not_understand_is_a_mistake_of_the_file(people: Any) -> None:
    people.tables("name: public.people, where: land = 1")
    assert any("land" in mistake for mistake in check(people.settings).mistakes)


def test_order_and_partitions_are_those_of_the_file(people: Any) -> None:
    people.tables("name: public.people, order_by: [country, born], partition_by: toYear(born)")
    people.load()
    found = "SELECT sorting_key, partition_key FROM system.tables WHERE database = 'raw' AND name = 'people'"
    assert people.warehouse(found) == [("country, born", "toYear(born)")]
    assert people.warehouse("SELECT count() FROM raw.people") == [(3,)]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("order_by: [email]", "may be NULL"),
        ("mask: [nobody]", "has no column nobody"),
        ("partition_by: toYear(nothing)", "nothing"),
    ],
)
def test_what_does_not_fit_the_table_is_refused_before_the_load(people: Any, entry: str, words: str) -> None:
    people.tables(f"name: public.people, {entry}")
    with pytest.raises(TerminalError, match=words):
        people.load()
    assert people.warehouse("SELECT count() FROM system.tables WHERE database = 'raw' AND name LIKE 'people%'") == [
        (0,)
    ]


@pytest.fixture
def many_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dividing, "processors", lambda: 8)


@pytest.mark.usefixtures("many_processors")
def test_ranges_divide_the_blocks_evenly_and_every_row_comes_once(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sql(
        "CREATE TABLE big (id int PRIMARY KEY, t text)",
        "INSERT INTO big SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, 60000) i",
        "DELETE FROM big WHERE id BETWEEN 1000 AND 20000",
        "CREATE TABLE part (id int, t text) PARTITION BY RANGE (id)",
        "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (5000)",
        "CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (5000) TO (50000)",
        "INSERT INTO part SELECT i, md5(i::text) FROM generate_series(1, 20000) i",
        "CREATE TABLE empty (id int)",
    )
    shop.tables(*(f"name: public.{name}, ranges: 3" for name in ("big", "part", "empty")))
    opened: list[str] = []
    open_session = Session.copy_session

    def seen(source: Session, application: str, *rest: Any) -> CopySession:
        opened.append(application)
        return open_session(source, application, *rest)

    monkeypatch.setattr(Session, "copy_session", seen)
    done = {load.target: load.rows for load in shop.load().loads}
    assert sorted(name for name in opened if name.startswith("elt range")) == [
        "elt range 2 public.big",
        "elt range 2 public.part",
        "elt range 3 public.big",
        "elt range 3 public.part",
    ]
    assert done == {"big": 40999, "part": 20000, "empty": 0}
    assert shop.warehouse("SELECT count(), uniqExact(id), sum(id) FROM raw.big") == shop.sql(
        "SELECT count(*), count(DISTINCT id), sum(id) FROM big"
    )
    assert shop.warehouse("SELECT count(), uniqExact(id) FROM raw.part") == [(20000, 20000)]
    blocks = shop.sql("SELECT pg_relation_size('big') / 8192")[0][0]
    shares = [
        shop.sql(f"SELECT count(DISTINCT (ctid::text::point)[0]) FROM big WHERE {part}")[0][0]
        for part in ranges(200, 2)
    ]
    assert blocks > 700 and [part.count("ctid") for part in ranges(blocks, 3) if part] == [2, 2, 1]
    assert shares[0] <= 100
    # The planner reads a range of blocks, and not the whole table behind a filter.
    plan = shop.sql(f"EXPLAIN SELECT * FROM big WHERE {ranges(blocks, 3)[0]}")
    assert "Tid Range Scan" in plan[0][0]


def test_ranges_are_one_session_where_a_second_finds_no_processor(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sql("CREATE TABLE big (id int PRIMARY KEY)", "INSERT INTO big SELECT generate_series(1, 60000)")
    shop.tables("name: public.big, ranges: 3")
    monkeypatch.setattr(dividing, "processors", lambda: 2)
    monkeypatch.setattr(dividing.statements, "ranges", None)
    assert [load.rows for load in shop.load().loads] == [60000]
    (table,) = check(shop.settings).tables
    assert any("ranges: 3 is one session here" in note for note in table.notes)
    entry = PostgresTable(name="public.big", ranges=3)
    # Who is elsewhere has processors of its own.
    for hosts, count in ((("localhost", "/tmp"), 1), (("127.0.0.1", "192.0.2.1"), 3), (("no.such.host.", "::1"), 3)):
        assert dividing.sessions(entry, hosts) == count, hosts
    monkeypatch.setattr(dividing, "processors", lambda: 4)
    assert dividing.sessions(entry, ("localhost", "localhost")) == 3
    (table,) = check(shop.settings).tables
    assert not any("ranges" in note for note in table.notes)


@pytest.mark.usefixtures("many_processors")
def test_a_range_that_fails_ends_the_load_with_the_reason(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE big (id int PRIMARY KEY, at timestamp)",
        "INSERT INTO big SELECT i, CASE WHEN i = 59999 THEN 'infinity'::timestamp ELSE now() END FROM generate_series(1, 60000) i",
    )
    shop.tables("name: public.big, ranges: 2")
    with pytest.raises(ValueRefusedError, match="id = 59999"):
        shop.load()
    assert shop.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'elt range%'") == [(0,)]


@pytest.mark.usefixtures("many_processors")
def test_a_range_that_opens_after_another_has_failed_copies_nothing(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sql(
        "CREATE TABLE big (id int PRIMARY KEY, at timestamp)",
        "INSERT INTO big SELECT i, CASE WHEN i = 1 THEN 'infinity'::timestamp ELSE now() END FROM generate_series(1, 60000) i",
    )
    shop.tables("name: public.big, ranges: 2")
    cancelled = threading.Event()
    copied: list[Any] = []
    cancel, open_session, copy_one = copying._Opened.cancel, Session.copy_session, copying._copy_one

    def cancel_and_tell(opened: copying._Opened) -> None:
        cancel(opened)
        cancelled.set()

    def open_late(source: Session, application: str, *rest: Any) -> CopySession:
        assert not application.startswith("elt range") or cancelled.wait(60)
        return open_session(source, application, *rest)

    def seen(warehouse: Any, reader: Any, *rest: Any, **more: Any) -> copying.Copied:
        copied.append(reader)
        return copy_one(warehouse, reader, *rest, **more)

    monkeypatch.setattr(copying._Opened, "cancel", cancel_and_tell)
    monkeypatch.setattr(Session, "copy_session", open_late)
    monkeypatch.setattr(copying, "_copy_one", seen)
    with pytest.raises(ValueRefusedError, match="id = 1"):
        shop.load()
    assert len(copied) == 1


def test_a_declared_replacement_stands_for_values_that_no_type_holds(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE t (id int PRIMARY KEY, d date, tz timestamptz, n numeric(9, 2), u numeric, s date NOT NULL)",
        "INSERT INTO t VALUES (1, 'infinity', '-infinity', 'NaN', 1e50, '2026-01-01'), (2, '2026-01-02', '2026-01-02 03:04:05+02', 1.50, 2.5, 'infinity'),"
        " (3, NULL, NULL, NULL, NULL, '2026-01-01')",
    )
    values = "d: '9999-12-31', tz: '2000-01-01 00:00:00', n: null, u: '-1', s: '1900-01-01'"
    shop.tables(f"name: public.t, replace: {{{values}}}")
    shop.load()
    columns = "id, toString(d), toString(tz), toString(n), toString(u), toString(s)"
    assert shop.warehouse(f"SELECT {columns} FROM raw.t ORDER BY id") == [
        (1, "9999-12-31", "2000-01-01 00:00:00.000000", None, "-1", "2026-01-01"),
        (2, "2026-01-02", "2026-01-02 01:04:05.000000", "1.5", "2.5", "1900-01-01"),
        (3, None, None, None, None, "2026-01-01"),
    ]
    for entry, words in (("s: null", "NOT NULL"), ("id: '1'", "is ever refused"), ("x: '1'", "no column x")):
        shop.tables(f"name: public.t, replace: {{{entry}}}")
        with pytest.raises(TerminalError, match=words):
            shop.load()


def test_changes_of_the_source_are_followed_and_what_readers_see_is_never_in_between(shop: Any) -> None:
    shop.sql("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b text)", "INSERT INTO t VALUES (1, 1, 'x')")
    shop.tables("public.t")

    def columns() -> list[tuple[Any, ...]]:
        shop.load()
        query = "SELECT name, type FROM system.columns WHERE database = 'raw' AND table = 't' AND name NOT LIKE '_elt%'"
        return list(shop.warehouse(query + " ORDER BY position"))

    assert columns() == [("id", "Int32"), ("a", "Int32"), ("b", "Nullable(String)")]
    shop.sql("ALTER TABLE t ADD COLUMN c date", "ALTER TABLE t ALTER a TYPE bigint", "ALTER TABLE t DROP COLUMN b")
    assert columns() == [("id", "Int32"), ("a", "Int64"), ("c", "Nullable(Date32)")]
    shop.sql(
        "ALTER TABLE t ALTER a DROP NOT NULL", "ALTER TABLE t RENAME c TO d", "ALTER TABLE t DROP CONSTRAINT t_pkey"
    )
    assert columns() == [("id", "Int32"), ("a", "Nullable(Int64)"), ("d", "Nullable(Date32)")]
    # What cannot be followed is refused, and what is published stays.
    shop.tables("name: public.t, exclude: [d]")
    shop.sql("ALTER TABLE t DROP COLUMN d")
    with pytest.raises(TerminalError, match="has no column d"):
        shop.load()
    assert shop.warehouse("SELECT id, a FROM raw.t") == [(1, 1)]

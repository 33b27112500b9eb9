"""Verification: what is published is what the source has, value by value, or the run fails and names what differs."""

import re
import signal
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from elt.errors import CountMismatchError, VerificationError
from elt.runs import load, run
from elt.runs.reconcile import reconcile
from elt.verification import verify
from stack.check import exact
from stack.errors import StackError
from testing.waiting import until
from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import TerminalError

from ..test_elt_type_matrix import DEFINED, TYPES, columns

LOADS = "SELECT {} FROM ops.loads FINAL WHERE target = '{}' ORDER BY run DESC LIMIT 1"


@pytest.fixture
def orders(shop: Any) -> Any:
    shop.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, note text, paid numeric(10, 2), at timestamptz NOT NULL)",
        "INSERT INTO orders SELECT i, 'n' || i, i / 100.0, timestamptz '2026-01-01' + i * interval '1 s' FROM generate_series(1, 3000) i",
    )
    shop.tables("name: public.orders, mode: incremental, cursor: at, lookback: 0s")
    shop.load()
    return shop


def altered(shop: Any, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    """Has `statement` done to each loaded table before it is verified, as a fault of the warehouse would."""
    verified = load._verified

    def spoiled(warehouse: Any, reader: Any, event: Any, table: str) -> Any:
        shop.admin_client.command(
            statement.format(table=f"raw.`{event.loading_table}`"), settings={"mutations_sync": 2}
        )
        return verified(warehouse, reader, event, table)

    monkeypatch.setattr(load, "_verified", spoiled)


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_any_altered_value_of_any_type_is_found_and_named(shop: Any, mode: str) -> None:
    made = [(one, column) for number, one in enumerate(TYPES) for column in columns(number, one)]
    names = ", ".join(f"{name} {kind}" for _, (name, kind, *_) in made)
    shop.sql(
        *DEFINED,
        f"CREATE TABLE matrix (id int PRIMARY KEY, changed timestamptz NOT NULL DEFAULT now(), {names})",
        *(
            f"INSERT INTO matrix VALUES ({row}, now(), {', '.join(column[2][row] for _, column in made)})"
            for row in range(len(made[0][1][2]))
        ),
    )
    shop.tables("name: public.matrix" + (", mode: incremental, cursor: changed" if mode == "incremental" else ""))
    shop.load()
    code, out, err = shop.command("verify", "--published")
    assert code == 0, out + err
    assert f"{len(made) + 2} columns, every value" in out
    changes = []
    for one, (name, kind, *_) in made:
        inner = dict(
            shop.warehouse("SELECT name, type FROM system.columns WHERE table = 'matrix' AND database = 'raw'")
        )[name]
        changes.append(f"{name} = {_another(inner, name, one.name, kind)}")
    shop.admin_client.command(
        f"ALTER TABLE raw.matrix UPDATE {', '.join(changes)} WHERE id = 0", settings={"mutations_sync": 2}
    )
    code, out, _ = shop.command("verify", "--published")
    assert code == 1
    named = set(re.findall(r"\b[snabcd]\d+\b", out))
    assert named == {column[0] for _, column in made}
    if mode == "incremental":
        assert "1 rows ((0)) have other values" in out


def _another(inner: str, name: str, kind: str, declared: str) -> str:
    if inner.startswith("Array("):
        # One element more, or the first one NULL.
        return f"arrayConcat({name}, [{name}[1]])"
    core = inner.replace("LowCardinality(", "").replace("Nullable(", "").rstrip(")")
    if core.startswith(("Int", "UInt")):
        return f"{name} - 1" if "4294967295" in kind else f"bitXor(assumeNotNull({name}), 1)"
    if core.startswith("Float"):
        return f"assumeNotNull({name}) + 1"
    if core.startswith("Decimal"):
        return f"assumeNotNull({name}) + CAST({_least(inner)}, '{inner.replace('Nullable(', '', 1).rstrip(')') + ')'}')"
    if core.startswith("DateTime64"):
        return f"addMicroseconds(assumeNotNull({name}), -1)"
    if core.startswith("Date32"):
        return f"addDays(assumeNotNull({name}), 1)"
    if core == "Bool":
        return f"NOT assumeNotNull({name})"
    if core == "UUID":
        return "toUUID('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12')"
    return f"concat(assumeNotNull({name}), ' ')"


def _least(inner: str) -> str:
    scale = int(re.findall(r", (\d+)\)", inner)[0])
    return "'1'" if scale == 0 else "'0." + "0" * (scale - 1) + "1'"


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("ALTER TABLE {table} UPDATE note = 'x' WHERE id = 7", "other values in note"),
        ("ALTER TABLE {table} UPDATE note = NULL WHERE id = 7", "other values in note"),
        ("ALTER TABLE {table} UPDATE paid = paid + 1 WHERE id = 7", "other values in paid"),
        ("ALTER TABLE {table} UPDATE note = concat('n', toString(15 - id)) WHERE id IN (7, 8)", "values in other rows"),
        ("ALTER TABLE {table} DELETE WHERE id = 7", "another number of rows"),
        ("INSERT INTO {table} SELECT * FROM {table} WHERE id = 7", "another number of rows"),
    ],
)
def test_a_full_copy_that_went_wrong_is_not_published(
    shop: Any, monkeypatch: pytest.MonkeyPatch, statement: str, named: str
) -> None:
    shop.sql(
        "CREATE TABLE t (id int PRIMARY KEY, note text, paid numeric(10, 2))",
        "INSERT INTO t SELECT i, 'n' || i, i FROM generate_series(1, 20) i",
    )
    shop.tables("public.t")
    altered(shop, monkeypatch, statement)
    with pytest.raises(VerificationError, match=rf"public\.t is not as the source has it: .*{named}"):
        shop.load(verify=True)
    assert shop.warehouse("SELECT name FROM system.tables WHERE database = 'raw' AND name LIKE 't%'") == []
    assert shop.warehouse(LOADS.format("status, verified_at", "t")) == [("failed", None)]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("ALTER TABLE raw.orders UPDATE note = 'x' WHERE id = 7", r"1 rows \(\(7\)\) have other values in note"),
        ("ALTER TABLE raw.orders DELETE WHERE id = 7", "1 rows are missing"),
    ],
)
def test_what_an_incremental_load_carries_over_is_verified_too(orders: Any, statement: str, named: str) -> None:
    orders.admin_client.command(statement, settings={"mutations_sync": 2})
    orders.sql("INSERT INTO orders VALUES (3001, 'new', 1, '2026-02-01')")
    with pytest.raises(VerificationError, match=named):
        orders.load(verify=True)
    assert orders.warehouse("SELECT count() FROM raw.orders WHERE id = 3001") == [(0,)]
    assert orders.load(verify=True, full_refresh=True).loads[0].verified_columns == ("id", "note", "paid", "at")


def test_rows_deleted_at_the_source_are_counted_and_no_failure(orders: Any) -> None:
    orders.sql(
        "DELETE FROM orders WHERE id IN (5, 2900)", "UPDATE orders SET note = 'c', at = '2026-02-01' WHERE id = 9"
    )
    (done,) = orders.load(verify=True).loads
    assert done.mode == "incremental"
    assert "2 rows were deleted at the source" in done.note
    assert done.verified_columns == ("id", "note", "paid", "at")
    orders.sql("UPDATE orders SET note = 'unseen' WHERE id = 10")
    with pytest.raises(VerificationError, match=r"1 rows \(\(10\)\) have other values in note;"):
        orders.load(verify=True)


def test_reconcile_finds_changed_content_and_repairs_it(orders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    orders.sql("UPDATE orders SET note = 'unseen' WHERE id IN (10, 2000)", "DELETE FROM orders WHERE id = 3")
    # As of a table so large that its rows are compared in many steps.
    monkeypatch.setattr(verify, "_NUMBERS_AT_ONCE", 40)
    (compared,) = reconcile(orders.settings)
    found = compared.found
    assert (found.missing, found.changed, found.deleted, found.wrong) == (0, 2, 1, ("note",))
    assert found.examples == ("(3)",)
    code, out, err = orders.command("reconcile")
    assert code == 0, out + err
    assert orders.warehouse("SELECT count() FROM raw.orders WHERE note = 'unseen'") == [(2,)]
    assert reconcile(orders.settings)[0].found.is_right


def test_policy_of_pipeline_yml(shop: Any) -> None:
    shop.sql("CREATE TABLE p (id int PRIMARY KEY)", "INSERT INTO p VALUES (1)")

    def verified(policy: str) -> bool:
        shop.tables("public.p")
        text = shop.settings.elt_pipeline.read_text()
        shop.settings.elt_pipeline.write_text(text.replace("    tables:", f"    verify: {policy}\n    tables:"))
        return bool(shop.load().loads[0].verified_columns)

    assert not verified("never")
    assert verified("daily")
    assert not verified("daily")
    assert verified("every_run")
    # The last one that was published is of the day before.
    with Warehouse(shop.settings.warehouse) as warehouse:
        runs = [
            one
            for (number,) in shop.warehouse("SELECT run FROM ops.loads FINAL WHERE target = 'p'")
            for one in ops.loads(warehouse, number)
        ]
        records.append(
            warehouse,
            [replace(one, verified_at=one.verified_at - timedelta(days=1)) for one in runs if one.verified_at],
        )
    assert verified("daily")


def test_verify_by_hand_publishes_nothing_unless_told(orders: Any) -> None:
    before = orders.warehouse("SELECT name, uuid FROM system.tables WHERE database = 'raw' ORDER BY name")
    orders.sql("INSERT INTO orders VALUES (3001, 'new', 1, '2026-02-01')")
    code, out, err = orders.command("verify", "orders")
    assert code == 0, out + err
    assert "1 tables, 4 columns, every value" in out
    assert orders.warehouse("SELECT name, uuid FROM system.tables WHERE database = 'raw' ORDER BY name") == before
    assert orders.warehouse(LOADS.format("status, length(verified_columns)", "orders")) == [("verified", 4)]
    assert orders.command("verify", "--publish")[0] == 0
    assert orders.warehouse("SELECT count() FROM raw.orders WHERE id = 3001") == [(1,)]


def test_verify_keeps_no_table_that_differs(orders: Any) -> None:
    """`on_error: keep` is for what is published: a run that is to compare tells of the difference, and fails."""
    text = orders.settings.elt_pipeline.read_text()
    orders.settings.elt_pipeline.write_text(
        text.replace("    kind: postgres\n", "    kind: postgres\n    on_error: keep\n")
    )
    orders.admin_client.command("ALTER TABLE raw.orders UPDATE note = 'x' WHERE id = 7 SETTINGS mutations_sync = 2")
    code, out, err = orders.command("verify", "orders")
    assert code == 1 and "Equal to the source" not in out and "orders" in err
    assert orders.warehouse("SELECT status FROM ops.loads FINAL ORDER BY run DESC LIMIT 1") == [("failed",)]


def test_a_view_whose_values_change_with_each_reading_is_named_and_no_failure(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE base (id int PRIMARY KEY)",
        "INSERT INTO base SELECT generate_series(1, 5)",
        "CREATE VIEW dice AS SELECT id, random() AS thrown, now() AS at FROM base",
    )
    shop.tables("public.dice")
    (done,) = shop.load(verify=True).loads
    assert done.verified_columns == ("id",)
    assert [text.split(":")[0] for text in done.not_verified] == ["thrown", "at"]


def test_masked_replaced_and_awkward_columns_are_compared(shop: Any) -> None:
    shop.sql(
        'CREATE TABLE odd (_id float8 PRIMARY KEY, "c0 %s {x}" text, x int[], e text[], until date, paid numeric, m text, b char(3)[])',
        "INSERT INTO odd VALUES ('-0', '%', '{{1,2},{3,4}}', '{e,NULL,\"\"}', 'infinity', 'NaN', 'a', '{a,b}'), ('NaN', '', NULL, '{}', NULL, 1.50, NULL, NULL)",
    )
    shop.tables(
        "name: public.odd, mask: [m], replace: {until: '9999-12-31', paid: null}, types: {x: String}, exclude: [b]"
    )
    (done,) = shop.load(verify=True).loads
    assert done.verified_columns == ("_id", "c0 %s {x}", "x", "e", "until", "paid", "m")
    for name, other in (("until", "'9999-12-30'"), ("m", "'b'"), ("paid", "1.51"), ("x", "'{}'")):
        shop.admin_client.command(
            f"ALTER TABLE raw.odd UPDATE {name} = {other} WHERE 1", settings={"mutations_sync": 2}
        )
        code, out, _ = shop.command("verify", "--published")
        assert code == 1
        assert re.search(rf"other values in .*\b{name}\b", out)


def test_a_kill_amid_a_comparison_leaves_nothing(orders: Any) -> None:
    # Slow enough that the comparison row by row, which each reading of the source is a part of, is seen from here.
    orders.tables("name: public.orders, mode: incremental, cursor: at, lookback: 0s, where: pg_sleep(0.001)::text = ''")
    orders.load()
    orders.sql("UPDATE orders SET note = 'unseen' WHERE id <= 2999")
    scratch = "SELECT count() FROM system.tables WHERE database = 'raw' AND match(name, '__loading_.*_d$')"
    with orders.python("verify", "orders") as process:
        until(lambda: orders.warehouse(scratch)[0][0] or process.poll() is not None, "the comparison row by row")
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert orders.command("recover")[0] == 0
    names = [name for (name,) in orders.warehouse("SELECT name FROM system.tables WHERE database = 'raw'")]
    assert [name for name in names if "__loading_" in name] == []
    assert orders.warehouse("SELECT count() FROM raw.orders WHERE note = 'unseen'") == [(0,)]


def test_the_exact_check_tells_what_the_comparison_of_raw_found(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE people (id int PRIMARY KEY, email text, card text, region text, paid numeric, tags text[])",
        "INSERT INTO people SELECT i, i || '@x', 'c', CASE WHEN i > 3 THEN 'eu' ELSE 'us' END, i / 3.0, ARRAY['a']"
        " FROM generate_series(1, 9) i",
    )
    shop.tables("name: public.people, mask: [email], exclude: [card], where: region = 'eu', types: {paid: String}")

    def check() -> str:
        code, out, err = shop.command("verify", "--published")
        return " ".join(exact.raw_equals_postgres(f"{code} {out}{err}"))

    with pytest.raises(StackError, match="None of these tables has been published"):
        check()
    shop.load()
    assert check() == "6 rows of 1 tables are as the source has them now, 5 columns, every value."
    shop.sql("UPDATE people SET paid = 0 WHERE id = 9", "DELETE FROM people WHERE id = 8")
    with pytest.raises(StackError, match=r"public\.people: other values in .*paid.*another number of rows"):
        check()


def test_a_table_of_as_many_columns_as_postgres_allows_is_compared(shop: Any) -> None:
    kinds = ("int", "bool", "date", "numeric(4, 2)")
    names = [f"column_{number}" for number in range(1590)]
    columns = ", ".join(f"{name} {kinds[number % 4]}" for number, name in enumerate(names))
    shop.sql(
        f"CREATE TABLE many (id int PRIMARY KEY, at timestamptz DEFAULT now(), {columns})",
        "INSERT INTO many (id, column_0, column_1, column_2, column_3) SELECT i, i, true, '2026-01-01', 1.5 FROM generate_series(1, 100) i",
    )
    shop.tables("public.many")
    assert len(shop.load(verify=True).loads[0].verified_columns) == 1592
    shop.admin_client.command(
        "ALTER TABLE raw.many UPDATE column_1589 = true WHERE id = 5", settings={"mutations_sync": 2}
    )
    code, out, _ = shop.command("verify", "--published")
    assert code == 1 and "other values in column_1589" in out


@pytest.mark.parametrize(
    "statement", ["ALTER TABLE {} DELETE WHERE id = 7", "INSERT INTO {} (id) SELECT id FROM {} WHERE id = 7"]
)
def test_rows_that_are_there_are_counted_and_not_only_those_sent_and_written(
    shop: Any, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    shop.sql("CREATE TABLE c (id int PRIMARY KEY)", "INSERT INTO c SELECT generate_series(1, 20)")
    never_verified(shop, "public.c")
    streamed = load._stream

    def spoiled(*arguments: Any) -> Any:
        event = streamed(*arguments)
        table = f"raw.`{event.loading_table}`"
        shop.admin_client.command(statement.replace("{}", table), settings={"mutations_sync": 2})
        return event

    monkeypatch.setattr(load, "_stream", spoiled)
    with pytest.raises(
        CountMismatchError, match=r"the source sent 20 rows, ClickHouse says it wrote 20 and holds (19|21)"
    ):
        shop.load()
    assert shop.warehouse("SELECT count() FROM system.tables WHERE database = 'raw' AND name = 'c'") == [(0,)]


def test_rows_carried_over_that_are_lost_before_the_publish_stops_it(orders: Any) -> None:
    orders.sql("INSERT INTO orders VALUES (3001, 'new', 1, '2026-02-01')")
    number = run.begin(orders.settings, run_key="dag/lost", tables=None, full_refresh=False)
    with orders.held(number):
        done = run.load_table(orders.settings, run=number, target="orders", attempt=1)
    assert done.mode == "incremental"
    # Two of them: the last row of before was read again, and stands there twice until a merge.
    orders.admin_client.command(
        f"ALTER TABLE raw.`{done.loading_table}` DELETE WHERE id IN (7, 8)", settings={"mutations_sync": 2}
    )
    with pytest.raises(TerminalError, match="has 3000 rows and was loaded with 3001"):
        run.publish(orders.settings, run=number)
    assert orders.warehouse("SELECT count() FROM raw.orders WHERE id = 3001") == [(0,)]


def never_verified(shop: Any, *tables: str) -> None:
    shop.tables(*tables)
    text = shop.settings.elt_pipeline.read_text()
    shop.settings.elt_pipeline.write_text(text.replace("    tables:", "    verify: never\n    tables:"))


def test_tables_of_every_make_are_compared(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE empty_one (id int PRIMARY KEY, t text)",
        "CREATE TABLE no_key (a int, rows text)",
        "INSERT INTO no_key VALUES (1, 'x'), (1, 'x'), (NULL, NULL)",
        "CREATE TABLE one_column (t text)",
        "INSERT INTO one_column VALUES (''), (NULL), ('a')",
        'CREATE TABLE dotted (id int PRIMARY KEY, "a.x" int[], "a.y" int[])',
        "INSERT INTO dotted VALUES (1, '{1}', '{1,2}')",
        'CREATE TABLE parted (id int, at date NOT NULL, "%s" text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)',
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "INSERT INTO parted SELECT i, '2026-03-01', 'v' || i FROM generate_series(1, 500) i",
        'CREATE TABLE "Empty too" (id uuid PRIMARY KEY, at timestamp NOT NULL)',
    )
    shop.tables(
        "public.empty_one",
        "public.no_key",
        "public.one_column",
        "public.dotted",
        "name: public.parted, mode: incremental, cursor: at",
        "name: public.Empty too, mode: incremental, cursor: at",
    )
    for _ in range(2):
        done = {one.target: one.verified_columns for one in shop.load(verify=True).loads}
        assert {name: len(columns) for name, columns in done.items()} == {
            "empty_one": 2, "no_key": 2, "one_column": 1, "dotted": 3, "parted": 3, "Empty too": 2,
        }  # fmt: skip
    shop.sql("DELETE FROM parted WHERE id = 5", "INSERT INTO parted VALUES (501, '2026-01-01', NULL)")
    shop.admin_client.command(
        "ALTER TABLE raw.one_column UPDATE t = '' WHERE t IS NULL", settings={"mutations_sync": 2}
    )
    shop.admin_client.command("ALTER TABLE raw.no_key UPDATE rows = 'y' WHERE a = 1", settings={"mutations_sync": 2})
    code, out, _ = shop.command("verify", "--published")
    assert code == 1
    assert "public.one_column: other values in t" in out
    assert "public.no_key: other values in rows;" in out.replace("\n", ";")
    assert "public.parted: 1 rows are missing" in out
    assert "1 rows were deleted at the source" in out

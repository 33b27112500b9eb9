"""The commands as a person meets them: what they say, and how they fail."""

import json
from typing import Any

import pytest
from elt.planning.plan import PlannedTable, read_plan, write_plan


@pytest.fixture
def orders(shop: Any) -> Any:
    shop.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, total numeric, span interval)",
        "INSERT INTO orders SELECT i, i FROM generate_series(1, 5) i",
    )
    shop.tables("public.orders")
    return shop


def test_check_load_status_and_plan_tell_what_is_and_what_to_do_next(orders: Any) -> None:
    code, out, err = orders.command("check")
    assert code == 0, err
    assert "raw.orders" in out and "as text: span" in out and "numeric without precision: total" in out
    assert "Next: python -m elt load" in out
    code, out, err = orders.command("plan")
    assert code == 0 and "public.orders -> raw.orders" in out, err
    code, out, err = orders.command("load", "public.orders")
    assert code == 0 and "Published 1 tables with 5 rows" in out, err
    code, out, err = orders.run_python("status")
    assert code == 0 and "raw.orders" in out and "success" in out, err


def test_the_plan_spells_out_all(shop: Any) -> None:
    shop.sql(
        "CREATE SCHEMA sales",
        "GRANT USAGE ON SCHEMA sales TO elt_test_reader",
        "CREATE TABLE sales.orders (id int)",
        "CREATE TABLE b (id int, at date) PARTITION BY RANGE (at)",
        "CREATE TABLE b1 PARTITION OF b DEFAULT",
        "CREATE TABLE secret (id int)",
        "REVOKE SELECT ON secret FROM elt_test_reader",
        "CREATE VIEW seen AS SELECT 1 AS one",
    )
    shop.settings.elt_pipeline.write_text("sources: [{name: s, kind: postgres, tables: all}]")
    expected = (PlannedTable("public.b", "b", "full"), PlannedTable("sales.orders", "sales__orders", "full"))

    def planned() -> tuple[PlannedTable, ...]:
        (source,) = read_plan(shop.settings.elt_plan, shop.settings.elt_pipeline)
        return source.tables

    assert planned() == ()
    assert write_plan(shop.settings)[0].tables == expected == planned()
    assert json.loads(shop.settings.elt_plan.read_text())["version"] == 2
    # That of the version before.
    tables = [{"source": "public.b", "target": "b", "mode": "full", "task": "small tables 1"}]
    shop.settings.elt_plan.write_text(json.dumps({"version": 1, "tables": tables}))
    assert planned() == (PlannedTable("public.b", "b", "full", "small tables 1"),)
    assert {table.target for table in shop.load().published.tables} == {"b", "sales__orders"}
    shop.sql("CREATE TABLE sales__orders (id int)")
    code, _, err = shop.command("plan")
    assert code == 1 and "would both be raw.sales__orders" in err


def test_all_tables_with_options_of_some(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE a (id int PRIMARY KEY, secret text)",
        "INSERT INTO a VALUES (1, 'x'), (2, 'y')",
        "CREATE TABLE b (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())",
        "CREATE TABLE c (id int)",
        "CREATE VIEW seen AS SELECT 1 AS one",
    )
    head = "sources:\n  - name: s\n    kind: postgres\n    tables: all\n    options:\n"
    shop.settings.elt_pipeline.write_text(
        head + "      - {name: public.a, exclude: [secret], where: id > 1}\n"
        "      - {name: public.b, mode: incremental, cursor: at}\n      - name: public.seen\n"
    )
    assert [(table.target, table.mode) for table in write_plan(shop.settings)[0].tables] == [
        ("a", "full"),
        ("b", "incremental"),
        ("c", "full"),
        ("seen", "full"),
    ]
    done = {load.target: load.rows for load in shop.load().loads}
    assert done == {"a": 1, "b": 0, "c": 0, "seen": 1}
    assert shop.warehouse("SELECT name FROM system.columns WHERE table = 'a' AND name NOT LIKE '_elt_%'") == [("id",)]
    for text, words in (
        (head + "      - {name: public.c, target: a}\n", "would both be raw.a"),
        (head + "      - {name: public.nothing}\n", "no table public.nothing"),
        (
            head + "      - name: public.c\n      - name: public.c\n",
            "line 7: public.c and public.c would both be raw.c",
        ),
        (head.replace("all", "[{name: public.a}]") + "      - name: public.c\n", "options stands beside tables: all"),
    ):
        shop.settings.elt_pipeline.write_text(text)
        code, out, err = shop.command("check")
        assert code == 1 and words in " ".join((out + err).split()), out + err


WRONG = [
    ({"SOURCE_URL": "postgresql://elt:s3cret@127.0.0.1:1/shop"}, "check SOURCE_URL and that Postgres runs"),
    ({"SOURCE_URL": "postgresql://elt:s3cret@no.such.host.invalid/shop"}, "check SOURCE_URL"),
    ({"SOURCE_URL": "host=s3cret port"}, "SOURCE_URL is not an address"),
    ({"SOURCE_URL": ""}, "SOURCE_URL"),
    ({"CLICKHOUSE_HTTP_PORT": "1"}, "check CLICKHOUSE_HOST and CLICKHOUSE_HTTP_PORT"),
    ({"CLICKHOUSE_LOADER_PASSWORD": "s3cret"}, "CLICKHOUSE_LOADER_PASSWORD"),
    ({"CLICKHOUSE_HTTP_PORT": "many"}, "CLICKHOUSE_HTTP_PORT"),
    ({"ELT_PIPELINE": "/no/such/pipeline.yml"}, "ELT_PIPELINE names the file"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=[" ".join(c) + str(i) for i, (c, _) in enumerate(WRONG)])
def test_a_wrong_setting_is_one_sentence_without_secrets(orders: Any, changes: dict[str, str], words: str) -> None:
    code, out, err = orders.command("load", **changes)
    assert code == 1
    assert words in err and err.count("\n") == 1 and "Traceback" not in err
    for secret in ("s3cret", orders.environment["SOURCE_URL"], orders.environment["CLICKHOUSE_LOADER_PASSWORD"]):
        assert secret not in out + err


def test_a_wrong_password_of_the_source_is_not_repeated(orders: Any) -> None:
    url = orders.environment["SOURCE_URL"].replace("elt_test_reader:", "elt_test_reader:s3cret")
    code, out, err = orders.command("check", SOURCE_URL=url)
    assert code == 1 and "does not let the loader in" in err and "s3cret" not in out + err


def test_wrong_usage_exits_2(orders: Any) -> None:
    for arguments in ([], ["fly"], ["load", "--parallel", "0"]):
        code, _, err = orders.command(*arguments)
        assert code == 2 and "usage: python -m elt" in err


def test_check_names_every_mistake(orders: Any) -> None:
    orders.sql("CREATE TABLE hidden (id int)", "REVOKE SELECT ON hidden FROM elt_test_reader")
    orders.tables("public.orders", "public.nothing", "public.hidden", "name: public.orders, target: x, exclude: [y]")
    code, out, _ = orders.command("check")
    assert code == 1
    assert "no table public.nothing" in out and "permission denied for table hidden" in out
    assert "has no column y" in out


def test_mistakes_in_the_file_are_listed_with_their_lines(orders: Any) -> None:
    orders.tables("public.orders", "orders", "name: public.b, mode: incremental", "public.orders")
    code, _, err = orders.command("load")
    assert code == 1
    lines = [line.strip() for line in err.splitlines()[1:]]
    assert [line.split(":")[0] for line in lines] == ["line 6", "line 7"]
    assert "needs a cursor" in lines[1]


def test_a_table_that_policies_would_thin_out_is_refused(orders: Any) -> None:
    orders.sql("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    code, _, err = orders.command("load")
    assert code == 1 and "row-level security" in err


def test_a_warehouse_without_init_is_told(orders: Any) -> None:
    orders.admin_client.command("RENAME TABLE ops.loads TO ops.loads_away")
    try:
        code, _, err = orders.command("load")
    finally:
        orders.admin_client.command("RENAME TABLE ops.loads_away TO ops.loads")
    assert code == 1 and "no ops.loads; apply clickhouse/init" in err


def test_check_names_what_the_role_could_leave_behind_until_the_revokes_of_the_documentation(orders: Any) -> None:
    _, out, _ = orders.command("check")
    assert "may leave large objects, temporary tables in the source" in " ".join(out.split())
    text = (orders.repo / "docs/source.md").read_text().split("```sql\nREVOKE ")[1].partition("```")[0]
    name = orders.sql("SELECT current_database()")[0][0]
    text = f"REVOKE {text}".replace("DATABASE shop", f"DATABASE {name}")
    if orders.sql("SELECT current_setting('server_version_num')::int >= 170000")[0][0]:
        text = text.replace("text, text)", "text, text, boolean)").replace("text, bytea)", "text, bytea, boolean)")
    revokes = [statement for statement in text.split(";") if "REVOKE" in statement]
    try:
        orders.sql(*revokes)
        code, out, _ = orders.command("check")
        assert code == 0 and "may leave" not in out
    finally:
        orders.sql(*(statement.replace("REVOKE", "GRANT").replace("FROM PUBLIC", "TO PUBLIC") for statement in revokes))


def test_check_names_a_schema_that_the_role_may_fill(orders: Any) -> None:
    orders.sql("GRANT CREATE ON SCHEMA public TO elt_test_reader")
    assert "objects of its own" in orders.command("check")[1]

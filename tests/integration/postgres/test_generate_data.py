"""scripts/generate_data against a real Postgres."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

DIGEST = """
SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM (
    SELECT o.order_id, o.order_date, o.status, o.total_amount, c.email, c.phone, c.created_at, i.order_item_id, i.quantity, i.unit_price,
    p.product_name, p.price, p.cost
    FROM orders AS o JOIN customers AS c USING (customer_id) JOIN order_items AS i USING (order_id) JOIN products AS p USING (product_id)
    WHERE o.order_id > 100
) AS x
"""


@pytest.fixture(scope="module")
def generate(repo: Path, venvs: Path, postgres: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the script as a person would, against the database of an owner's URL."""

    def run(url: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "STACK_VENVS": str(venvs),
            "STACK_HOME": "/nonexistent",
            "POSTGRES_USER": postgres.superuser,
            "POSTGRES_PASSWORD": postgres.password,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_DB": url.rsplit("/", 1)[1],
            **env,
        }
        command = [str(repo / "scripts" / "generate_data"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


def values(url: str, query: str) -> Any:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cur:
        cur.execute(query)
        row = cur.fetchone()
    connection.close()
    return row


@pytest.fixture(scope="module")
def grown(new_shop: Callable[..., str], generate: Callable[..., Any]) -> str:
    """A shop with 25,000 orders, more than a batch, added twice."""
    url = new_shop()
    for seed in ("7", "8"):
        run = generate(url, "--orders", "25000", "--seed", seed, "--until", "2026-11-20")
        assert run.returncode == 0, run.stderr
        assert "25,000 orders" in run.stdout
    return url


def test_exactly_the_orders_asked_for_are_added(grown: str) -> None:
    assert values(grown, "SELECT count(*), max(order_id) FROM orders") == (50_100, 50_100)


def test_totals_add_up_and_references_point_at_rows(grown: str) -> None:
    """Foreign keys are not checked row by row while rows are copied; so all of them are checked here."""
    orders = "orders AS o JOIN (SELECT order_id, sum(subtotal) AS s FROM order_items GROUP BY 1) AS i USING (order_id)"
    assert values(grown, f"SELECT count(*), count(*) FILTER (WHERE o.total_amount <> i.s) FROM {orders}") == (50_100, 0)
    connection = psycopg2.connect(grown)
    with connection.cursor() as cur:
        cur.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'"
        )
        keys = cur.fetchall()
        assert len(keys) == 3
        for table, name, definition in keys:
            cur.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {definition}")
    connection.rollback()
    connection.close()


def test_statuses_fit_the_dates(grown: str) -> None:
    row = values(
        grown,
        """
        SELECT
            count(*) FILTER (WHERE age < interval '2 days' AND status IN ('delivered', 'returned')),
            count(*) FILTER (WHERE age > interval '30 days' AND status IN ('pending', 'paid', 'shipped')),
            count(DISTINCT status), min(age) >= interval '0'
        FROM (SELECT status, '2026-11-20 00:00+00'::timestamptz - order_date AS age FROM orders WHERE order_id > 100) AS aged
        """,
    )
    assert row == (0, 0, 6, True)


def test_new_rows_of_the_shop_get_free_numbers(grown: str) -> None:
    query = "INSERT INTO {0} ({1}) SELECT {2} FROM {0} WHERE {3} = 1 RETURNING {3} - (SELECT max({3}) FROM {0})"
    tables = {
        "products": ("product_name, category, price, cost",) * 2 + ("product_id",),
        "orders": ("customer_id, total_amount",) * 2 + ("order_id",),
        "order_items": ("order_id, product_id, quantity, unit_price, subtotal",) * 2 + ("order_item_id",),
        "customers": (
            "first_name, last_name, email, state",
            "first_name, last_name, 'new@example.com', state",
            "customer_id",
        ),
    }
    for table, parts in tables.items():
        assert values(grown, query.format(table, *parts)) == (1,), table


def test_a_reader_that_follows_updated_at_finds_the_new_rows(grown: str) -> None:
    assert values(
        grown,
        "SELECT (SELECT min(updated_at) FROM orders WHERE order_id > 100) > (SELECT max(updated_at) FROM orders WHERE order_id <= 100)",
    ) == (True,)


def test_the_same_seed_makes_the_same_shop(new_shop: Callable[..., str], generate: Callable[..., Any]) -> None:
    shops = [new_shop(), new_shop(), new_shop()]
    for url, seed in zip(shops, ("5", "5", "6"), strict=True):
        run = generate(url, "--orders", "300", "--seed", seed, "--days", "60", "--until", "2026-11-20")
        assert run.returncode == 0, run.stderr
    first, second, third = (values(url, DIGEST) for url in shops)
    assert first == second != third


def test_one_order_is_a_shop_too(new_shop: Callable[..., str], generate: Callable[..., Any]) -> None:
    url = new_shop()
    assert generate(url, "--orders", "1", "--days", "1").returncode == 0
    assert values(url, "SELECT count(*) FROM orders") == (101,)


def test_an_owner_without_superuser_rights_can_add_a_shop(
    new_shop: Callable[..., str], generate: Callable[..., Any]
) -> None:
    url = new_shop(only=["03-reader.sql"])
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cur:
        cur.execute(
            "CREATE ROLE plain_owner LOGIN PASSWORD 'plain'; GRANT ALL ON DATABASE "
            + url.rsplit("/", 1)[1]
            + " TO plain_owner"
        )
        cur.execute("GRANT ALL ON SCHEMA public TO plain_owner; SET ROLE plain_owner")
        cur.execute((Path(__file__).parents[3] / "postgres/init/01-init-schema.sql").read_text())
    connection.close()
    run = generate(url, "--orders", "50", POSTGRES_USER="plain_owner", POSTGRES_PASSWORD="plain")
    assert run.returncode == 0, run.stderr
    assert values(url, "SELECT count(*) FROM orders") == (50,)


def test_a_database_without_the_shop_is_said_in_one_sentence(
    new_shop: Callable[..., str], generate: Callable[..., Any]
) -> None:
    run = generate(new_shop(only=["03-reader.sql"]), "--orders", "5")
    assert run.returncode == 1
    assert "no sample shop" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_server_that_does_not_answer_is_said_in_one_sentence(
    free_port: Callable[[], int], generate: Callable[..., Any], postgres: Any
) -> None:
    run = generate(postgres.dsn(), "--orders", "5", POSTGRES_PORT=str(free_port()))
    assert run.returncode == 1
    assert "cannot be reached" in run.stderr
    assert "Traceback" not in run.stderr
    assert postgres.password not in run.stderr


def test_without_its_environment_the_script_sends_to_run_sh(
    generate: Callable[..., Any], postgres: Any, tmp_path: Path
) -> None:
    run = generate(postgres.dsn(), "--orders", "5", STACK_VENVS=str(tmp_path))
    assert run.returncode == 1
    assert "run ./run.sh first" in run.stderr

"""Probes of the check. A probe yields its present wait, and at last its result; a failing probe raises."""

import time
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg2
import requests
from warehouse.client import Warehouse
from warehouse.errors import ACCESS_DENIED, AUTHENTICATION_FAILED, WarehouseError
from warehouse.quoting import qualified

from stack import grants
from stack.check import connections, rights
from stack.check.airflow_api import DAG, FINAL, AirflowApi, is_started_by_hand
from stack.env import sources
from stack.errors import StackError
from stack.native import supervisor
from stack.table import health, services
from stack.table.services import Context

FAILURES = (psycopg2.Error, requests.RequestException, WarehouseError)
# A first or recovering run, a retry after five minutes included, is waited for this long.
RUN_ENDS_WITHIN = 900.0

# elt-agent closes a run within this time of Airflow's verdict.
CLOSED_WITHIN = 120.0

# Largest source table, in rows, that the check counts; takes some seconds.
COUNTED_UP_TO = 20_000_000

PUBLISHED = """
    WITH last AS (SELECT target, max(run) AS run FROM ops.publishes FINAL WHERE status = 'done' GROUP BY target)
    SELECT p.target, p.rows, r.source_name, l.source
    FROM ops.publishes AS p FINAL
    INNER JOIN last ON last.target = p.target AND last.run = p.run
    INNER JOIN (SELECT run, target, any(source) AS source FROM ops.loads FINAL GROUP BY run, target) AS l
        ON l.run = p.run AND l.target = p.target
    LEFT JOIN (SELECT run, source_name FROM ops.runs FINAL) AS r ON r.run = p.run
    WHERE p.target NOT IN (SELECT target FROM ops.absences FINAL WHERE status IN ('gone', 'dropped'))
    ORDER BY p.target
"""


def published(client: Warehouse) -> list[tuple[str, int, str, str]]:
    """(target, rows, name of its source, name at the source) of the last publish of each raw table that is still copied.

    The name of the source is empty in records from before there were several. Raises StackError where nothing is published.
    """
    found = [(target, int(rows), source, name) for target, rows, source, name in client.rows(PUBLISHED)]
    if not found:
        raise StackError("Nothing has been published to raw yet: start a run of elt_pipeline in Airflow.")
    return found


def services_run(context: Context) -> Iterator[str]:
    if context.env.in_compose:
        yield from _containers_run(context)
        return
    states = supervisor.states(context.paths)
    if states is None:
        raise StackError("The stack is not running: start it by ./run.sh.")
    names = [row.name for row in services.enabled(context.env) if not row.one_shot]
    running = supervisor.running(context.paths)
    down = [f"{name} ({states.get(name, 'missing').lower()})" for name in names if name not in running]
    if down:
        raise StackError(f"{', '.join(down)}: run ./run.sh, which starts what is missing.")
    yield f"{len(names)} services under one supervisor"


def _containers_run(context: Context) -> Iterator[str]:
    """Checks, from inside the containers' network, the services that report health over HTTP; others have their own probes."""
    names = {
        "WEBHOOK_URL": context.env.url("webhook-server"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": context.env.url("airflow-webserver"),
    }
    asked = ("webhook-worker", "airflow-scheduler", "airflow-dag-processor")
    missing = {name: health.CHECKS[name](names, datetime.fromtimestamp(0, UTC)) for name in asked}
    if down := [f"{name} {what}" for name, what in missing.items() if what]:
        raise StackError(f"{'; '.join(down)}: run ./run.sh, which starts what is missing.")
    yield f"{', '.join(asked)} in their containers"


def source_answers(context: Context) -> Iterator[str]:
    """Asks each Postgres of pipeline.yml."""
    urls = sources.postgres_urls(context.paths, context.env, context.urls)
    said = []
    for name, url in urls.items():
        if not url:
            raise StackError(
                f"The address of the source {name} in pipeline.yml is not set: write it into {sources.NAME}."
            )
        with connections.source(url) as cursor:
            cursor.execute("SELECT current_setting('server_version'), current_database(), current_user")
            version, database, user = cursor.fetchone()
        said.append(
            f"{f'{name}: ' if len(urls) > 1 else ''}Postgres {version.split()[0]}, database {database}, as {user}"
        )
    yield "; ".join(said) or "no Postgres in pipeline.yml"


def warehouse_answers(context: Context) -> Iterator[str]:
    with connections.warehouse(context.env) as client:
        ((version, databases),) = client.rows(
            "SELECT version(), (SELECT count() FROM system.databases WHERE name IN ('raw', 'analytics', 'analytics_dev', 'ops'))",
        )
    if databases != 4:
        raise StackError(
            f"Only {databases} of the databases raw, analytics, analytics_dev and ops are there: run ./run.sh again."
        )
    yield f"ClickHouse {version}, databases raw, analytics, analytics_dev, ops"


def rights_are_those_of_the_file(context: Context) -> Iterator[str]:
    try:
        with connections.warehouse(context.env, admin=True) as client:
            found = rights.differences(client, grants.USERS_FILE)
    except WarehouseError as error:
        if error.code not in (AUTHENTICATION_FAILED, ACCESS_DENIED):
            raise
        yield "not known: the warehouse does not let user default of .env read system.grants"
        return
    if found:
        cure = "./run.sh restarts it with the file" if context.env.own_clickhouse else "run clickhouse/grants.sql"
        raise StackError(
            f"Rights on the warehouse differ from clickhouse/config/users.xml ({cure}): {'; '.join(found)}."
        )
    yield "roles and users have what clickhouse/config/users.xml gives, and no more"


SET_ASIDE = """
SELECT concat('ops.publishes, raw.', target, ' of run ', toString(run), ': ', error), closed_at
FROM ops.publishes FINAL WHERE status = 'set_aside' AND closed_at > now() - INTERVAL 7 DAY
UNION ALL
SELECT concat('ops.dbt_publishes, analytics.', target, ' of run ', run_id, ': ', error), closed_at
FROM ops.dbt_publishes FINAL WHERE status = 'set_aside' AND closed_at > now() - INTERVAL 7 DAY
"""


def journals_fit(context: Context) -> Iterator[str]:
    """Reports entries that were set aside; never fails, because they have swapped nothing."""
    with connections.warehouse(context.env) as client:
        found = client.rows(f"SELECT * FROM ({SET_ASIDE}) ORDER BY 2 DESC")
    last = f", the last at {found[0][1]:%Y-%m-%d %H:%M} UTC: {found[0][0]}" if found else ""
    yield f"{len(found) or 'no'} row{'' if len(found) == 1 else 's'} set aside in the last 7 days{last}"


def dags_are_green(context: Context) -> Iterator[str]:
    """Asks for the last run of each source's DAG. That of the main source must have one, unless only a person starts it."""
    api = AirflowApi(context.env)
    deadline = time.monotonic() + RUN_ENDS_WITHIN
    while True:
        if errors := api.import_errors():
            raise StackError(f"The DAG cannot be imported: {errors[0]}")
        dag = api.dag()
        if dag is not None:
            break
        if time.monotonic() > deadline:
            raise StackError(f"Airflow has not read {DAG}: see `scripts/logs airflow-dag-processor`.")
        yield "waiting for Airflow to read the DAG"
        time.sleep(1)
    said = []
    for one in (dag, *api.further_dags()):
        said.append((yield from _last_run(api, one, deadline)))
    yield f"{'; '.join(said)}, no import errors"


def _last_run(api: AirflowApi, dag: dict[str, Any], deadline: float) -> Generator[str, None, str]:
    """Waits for the end of a run that is at work; returns the last run in words. Raises StackError if it failed or the DAG is paused."""
    name = dag["dag_id"]
    if dag["is_paused"]:
        raise StackError(f"{name} is paused: switch it on in Airflow.")
    while not (runs := api.runs(1, name)) or runs[0]["state"] not in FINAL:
        if not runs and (name != DAG or is_started_by_hand(dag)):
            return f"{name}, no run yet"
        if time.monotonic() > deadline:
            raise StackError(
                f"No run of {name} has ended in {RUN_ENDS_WITHIN / 60:.0f} minutes: look at it in Airflow."
            )
        yield api.progress(runs[0], name) if runs else "waiting for the first DAG run to begin"
        time.sleep(1)
    if runs[0]["state"] != "success":
        raise StackError(
            f"The last run {runs[0]['dag_run_id']} of {name} failed ({api.progress(runs[0], name)}): its tasks' logs are in Airflow."
        )
    return f"{name}, last run {runs[0]['dag_run_id']} {runs[0]['state']}"


OPEN_RUNS = """
SELECT run_key FROM ops.runs FINAL
WHERE status = 'running' AND source_name != '' AND position(run_key, '/') > 0 AND NOT startsWith(run_key, 'cli/')
"""


def dead_runs_are_closed(context: Context) -> Iterator[str]:
    """Checks elt-agent by its work: no run that Airflow has ended is still open in ops.runs."""
    api = AirflowApi(context.env)
    deadline = time.monotonic() + CLOSED_WITHIN
    with connections.warehouse(context.env) as client:
        while True:
            running = [str(key) for (key,) in client.rows(OPEN_RUNS)]
            dead = [key for key in running if api.has_ended(*key.split("/", 1))]
            if not dead:
                break
            if time.monotonic() > deadline:
                raise StackError(
                    f"{', '.join(dead)}: running in ops.runs, ended in Airflow; see `scripts/logs elt-agent`, which closes it."
                )
            yield f"waiting for elt-agent to close {', '.join(dead)}"
            time.sleep(1)
    yield f"no run is open that Airflow has ended; {len(running) or 'none'} at work"


def webhook_is_healthy_and_guarded(context: Context) -> Iterator[str]:
    env = context.env
    page = env.url("webhook-server")
    health = requests.get(f"{page}/health", timeout=10)
    if health.status_code != 200:
        raise StackError(
            f"/health answers {health.status_code} {health.text[:200]}: see `scripts/logs webhook-worker`."
        )
    for path in ("/webhook/manual", "/webhook"):
        refused = requests.post(f"{page}{path}", json={}, timeout=10)
        if refused.status_code != 401:
            raise StackError(f"{path} answers {refused.status_code} to a call without a token, not 401.")
    known = requests.get(f"{page}/runs", headers={"Authorization": f"Bearer {env.WEBHOOK_TOKEN}"}, timeout=10)
    if known.status_code != 200:
        raise StackError(
            f"/runs answers {known.status_code} to the token of .env: run ./run.sh, which restarts what has changed."
        )
    yield "/health 200, without a token 401, with it 200"


def raw_holds_what_was_loaded(context: Context) -> Iterator[str]:
    with connections.warehouse(context.env) as client:
        tables = published(client)
        wrong = []
        for target, expected, _source, _name in tables:
            ((found,),) = client.rows(f"SELECT count() FROM {qualified('raw', target)} SETTINGS final = 1")
            if found != expected:
                wrong.append(f"raw.{target} has {found:,} rows and the last publish recorded {expected:,}")
    if wrong:
        raise StackError("; ".join(wrong))
    yield ", ".join(f"{target} {count:,}" for target, count, _source, _name in tables[:6]) + (
        " …" if len(tables) > 6 else ""
    )


MARTS_AND_RAW = """
SELECT
    (SELECT count() FROM raw.order_items),
    (SELECT count() FROM analytics.fact_sales),
    (SELECT sum(subtotal) FROM raw.order_items),
    (SELECT sum(gross_revenue) FROM analytics.fact_sales),
    (SELECT sum(gross_revenue) FROM analytics.agg_sales_by_state),
    (SELECT groupArray((state, revenue)) FROM (
        SELECT c.state AS state, sum(i.subtotal) AS revenue
        FROM raw.order_items AS i
        INNER JOIN raw.orders AS o ON o.order_id = i.order_id
        INNER JOIN raw.customers AS c ON c.customer_id = o.customer_id
        GROUP BY state ORDER BY state)),
    (SELECT groupArray((customer_state, gross_revenue)) FROM (
        SELECT customer_state, gross_revenue FROM analytics.agg_sales_by_state ORDER BY customer_state))
SETTINGS final = 1
"""


def marts_agree_with_raw(context: Context) -> Iterator[str]:
    if context.env.SAMPLE_SHOP == "false":
        yield "no sample marts (SAMPLE_SHOP=false)"
        return
    with connections.warehouse(context.env) as client:
        ((items, facts, raw_sum, fact_sum, state_sum, raw_states, mart_states),) = client.rows(MARTS_AND_RAW)
    if items != facts:
        raise StackError(f"fact_sales has {facts:,} rows and raw.order_items {items:,}: run dbt by the webhook.")
    if not raw_sum == fact_sum == state_sum:
        raise StackError(
            f"gross revenue is {raw_sum} in raw, {fact_sum} in fact_sales, {state_sum} in agg_sales_by_state."
        )
    if list(raw_states) != list(mart_states):
        raise StackError("agg_sales_by_state differs from the same figures computed from raw: run dbt by the webhook.")
    yield f"{facts:,} sales in {len(mart_states)} states, gross revenue {fact_sum:,} {context.env.SHOP_CURRENCY}"


def superset_answers(context: Context) -> Iterator[str]:
    env = context.env
    page = env.url("superset")
    with requests.Session() as session:
        login = session.post(
            f"{page}/api/v1/security/login",
            json={"username": "admin", "password": env.SUPERSET_ADMIN_PASSWORD, "provider": "db"},
            timeout=20,
        )
        if login.status_code != 200:
            raise StackError(f"Superset refuses the admin of .env ({login.status_code}): see `scripts/logs superset`.")
        session.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        session.headers["X-CSRFToken"] = session.get(f"{page}/api/v1/security/csrf_token/", timeout=20).json()["result"]
        session.headers["Referer"] = page
        databases = session.get(f"{page}/api/v1/database/", timeout=20).json()["result"]
        warehouse = next((row for row in databases if row["database_name"] == "Warehouse"), None)
        if warehouse is None:
            raise StackError("Superset has no database Warehouse: run ./run.sh again.")
        sql = "SELECT count() AS sales FROM analytics.fact_sales" if env.SAMPLE_SHOP == "true" else "SELECT 1 AS sales"
        answer = session.post(
            f"{page}/api/v1/sqllab/execute/",
            json={"database_id": warehouse["id"], "sql": sql, "runAsync": False},
            timeout=30,
        )
    if answer.status_code != 200:
        raise StackError(f"SQL Lab answers {answer.status_code}: {answer.text[:200]}")
    yield f"SQL Lab on {warehouse['database_name']}: {sql} = {answer.json()['data'][0]['sales']:,}"


def source_moved_on(context: Context) -> Iterator[str]:
    """Reports how far the source has moved on; never fails, because a live source always moves. Large tables are estimated by the planner."""
    with connections.warehouse(context.env) as client:
        tables = published(client)
    urls = sources.postgres_urls(context.paths, context.env, context.urls)
    moved: list[str] = []
    for name, url in urls.items():
        # Records from before there were several sources are of the main one.
        own = {name, ""} if url == context.env.source_url else {name}
        if url and (of_source := [(table, rows) for _target, rows, source, table in tables if source in own]):
            moved += _moved(url, of_source)
    yield ", ".join(moved) + " since the last load" if moved else "as many rows as at the last load"


def _moved(url: str, tables: Iterable[tuple[str, int]]) -> list[str]:
    """Returns the tables of one Postgres that have another number of rows than the given one, in words."""
    moved = []
    with connections.source(url) as cursor:
        for source, count in tables:
            schema, _, table = source.partition(".")
            cursor.execute(
                "SELECT format('%%I.%%I', nspname, relname), reltuples::bigint FROM pg_class c "
                "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = %s AND relname = %s",
                (schema, table),
            )
            found = cursor.fetchone()
            if found is None:
                moved.append(f"{source} is gone")
                continue
            name, estimate = found
            if estimate > COUNTED_UP_TO:
                if abs(estimate - count) > count // 100:
                    moved.append(f"{source} about {estimate - count:+,} rows")
                continue
            cursor.execute(f"SELECT count(*) FROM {name}")
            (now,) = cursor.fetchone()
            if now != count:
                moved.append(f"{source} {now - count:+,} rows")
    return moved

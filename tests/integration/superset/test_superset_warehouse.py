"""How Superset reaches the warehouse: the questions of charts share a client (see stack_superset/warehouse.py)."""

import json
import subprocess
from typing import Any

# As Superset opens its connections: an engine for each question, without a pool.
ASKED = """
import json, os, sys
from types import SimpleNamespace

from sqlalchemy import create_engine
from sqlalchemy.engine.url import make_url
from sqlalchemy.pool import NullPool

from stack_superset import warehouse
from stack_superset.settings import Settings

complete = warehouse.connection_mutator(Settings.from_environ(os.environ))
# Nobody is logged in, and the role Public does not exist.
security_manager = SimpleNamespace(get_public_role=lambda: None)
CHART, SQL_LAB = SimpleNamespace(name="CHART"), SimpleNamespace(name="SQL_LAB")

def engine(source, user="superset", database="analytics"):
    url, params = complete(make_url(f"clickhousedb://{user}@warehouse/{database}"), {"poolclass": NullPool}, None, security_manager, source)
    return create_engine(url, **params)

def asked(source, *statements, **url):
    # The last answer, and the number of the client that gave it.
    connection = engine(source, **url).raw_connection()
    for statement in statements:
        cursor = connection.cursor()
        cursor.execute(statement)
    rows = cursor.fetchall()
    client = connection.dbapi_connection.client
    connection.close()
    clients.append(client)
    return str(rows[0][0]), clients.index(client), "session_id" in client.params

clients = []
"""
SETTING = "SELECT value FROM system.settings WHERE name = 'max_block_size'"


def run(superset: Any, script: str) -> Any:
    env = superset.env | {"PYTHONPATH": f"{superset.repo}/superset/config:{superset.repo}/scripts"}
    command = [str(superset.python), "-c", ASKED + script]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_charts_share_a_client_for_each_database_and_nothing_stays_of_a_question(superset: Any) -> None:
    answers = run(
        superset,
        f"""
print(json.dumps([
    asked(CHART, "SELECT currentDatabase()"),
    asked(None, "{SETTING}"),
    asked(CHART, "SET max_block_size = 4321", "{SETTING}"),
    asked(CHART, "{SETTING}"),
    asked(CHART, "SELECT currentDatabase()", user="superset_operations", database="ops"),
]))""",
    )
    first, before, while_set, after, other = answers
    assert first == ["analytics", 0, False]
    assert before[1:] == while_set[1:] == after[1:] == [0, False]
    assert before[0] == while_set[0] == after[0] != "4321"
    assert other == ["ops", 4, False]


def test_an_unknown_user_of_the_warehouse_is_refused_by_name(superset: Any) -> None:
    said = run(
        superset,
        """
try:
    said = engine(CHART, user="loader")
except ValueError as error:
    said = str(error)
print(json.dumps(said))""",
    )
    assert "no user 'loader' for Superset" in said and "superset_operations" in said


def test_sql_lab_has_a_connection_of_its_own_where_a_setting_holds(superset: Any) -> None:
    first, second = run(
        superset,
        f"""
print(json.dumps([asked(SQL_LAB, "SET max_block_size = 4321", "{SETTING}"), asked(SQL_LAB, "{SETTING}")]))""",
    )
    assert first[1:] == [0, True] and second[1:] == [1, True]
    assert first[0] != second[0]


def test_what_a_client_knows_of_the_server_is_asked_again_in_time(superset: Any) -> None:
    answers = run(
        superset,
        """
kept = [asked(CHART, "SELECT 1"), asked(CHART, "SELECT 1")]
warehouse.KNOWN_SECONDS = 0
print(json.dumps(kept + [asked(CHART, "SELECT 1")]))""",
    )
    assert [number for _, number, _ in answers] == [0, 0, 2]


def test_a_server_that_was_away_is_asked_again(superset: Any) -> None:
    answers = run(
        superset,
        """
shared = warehouse.Shared()
url, _ = complete(make_url("clickhousedb://superset@warehouse/analytics"), {}, None, security_manager, None)
try:
    shared.connect(url.set(port=1), {})
    refused = ""
except Exception as error:
    refused = type(error).__name__
print(json.dumps([refused, len(shared._known), shared.connect(url, {}).client.command("SELECT 1")]))""",
    )
    assert answers == ["OperationalError", 0, 1]

"""The server's own rules, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from embedded.engine.kill import by_client_id
from embedded.errors import QueryError, StartError
from embedded.sql.access import check_setting, check_statement
from embedded.sql.statement import Statement, parse
from embedded.users import User, authenticate, read_users

DBT = User("dbt", "transformer", "transformer", b"", frozenset({"mergetree"}))
ADMIN = User("default", "admin", "default", b"")
ENGINES = {"MergeTree", "Merge", "Memory"}


def statement(text: str) -> Statement:
    found = parse(text, complete=True)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT file FROM t",
        "SELECT t.file, concat(file, 'x') FROM t WHERE file = 'a'",
        "CREATE TABLE raw.file (file String, disk String, engine String) ENGINE = MergeTree ORDER BY file",
        "INSERT INTO raw.file (file) VALUES",
        "SELECT arrayMap(x -> x.file, [t.file]) FROM t",
        "WITH file AS (SELECT 1) SELECT * FROM file",
        "CREATE TABLE t ENGINE = MergeTree ORDER BY a AS SELECT engine FROM cars",
        "SELECT definer, role, profile FROM t WHERE profile = 'x' AND definer = 'y'",
        "SELECT 'SET ROLE admin; file(1)'",
        "CREATE VIEW v DEFINER = dbt SQL SECURITY DEFINER AS SELECT 1",
        "CREATE VIEW v SQL SECURITY INVOKER AS SELECT 1",
    ],
)
def test_harmless_statements_pass(sql: str) -> None:
    check_statement(DBT, statement(sql), ENGINES)


@pytest.mark.parametrize("name", ["profile", "PROFILE", "default_view_definer", "send_logs_source_regexp"])
def test_reserved_settings(name: str) -> None:
    with pytest.raises(QueryError):
        check_setting(DBT, name, "x")
    check_setting(ADMIN, name, "x")


def test_role_may_only_be_ones_own() -> None:
    check_setting(DBT, "role", "transformer")
    with pytest.raises(QueryError) as error:
        check_setting(DBT, "role", "admin")
    assert error.value.code == 512


def test_engine_needs_its_grant() -> None:
    check_statement(DBT, statement("CREATE TABLE t (a Int8) ENGINE MergeTree ORDER BY a"), ENGINES)
    with pytest.raises(QueryError) as error:
        check_statement(DBT, statement("CREATE TABLE t AS x ENGINE = Merge(raw, '.*')"), ENGINES)
    assert error.value.code == 497


def test_kill_is_told_in_the_engines_terms() -> None:
    text = by_client_id(DBT, statement("KILL QUERY WHERE query_id = 'a' OR user = 'b' SYNC FORMAT TSV"))
    assert text.startswith("KILL QUERY WHERE startsWith(Settings['send_logs_source_regexp'], 'dbt/') AND ( extract(")
    assert text.endswith("= 'b') SYNC")
    assert "startsWith" not in by_client_id(ADMIN, statement("KILL QUERY WHERE query_id = 'a'"))


USERS = """<clickhouse><users>
<default><password from_env="A"/><grants><query>GRANT admin</query></grants></default>
<dbt><password from_env="B"/><profile>p</profile><grants><query>GRANT t</query></grants></dbt>
</users><roles><t><grants><query>GRANT TABLE ENGINE ON Memory</query></grants></t></roles></clickhouse>"""


def test_users_come_from_the_file_and_passwords_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "users.xml"
    path.write_text(USERS)
    users = read_users(path, {"A": "one", "B": "two"})
    assert (users["dbt"].role, users["dbt"].profile, users["dbt"].engines) == ("t", "p", {"memory"})
    assert authenticate(users, "dbt", "two") is users["dbt"]
    messages = set()
    for name, password in (("dbt", "one"), ("dbt", ""), ("who", "two")):
        with pytest.raises(QueryError) as error:
            authenticate(users, name, password)
        assert error.value.code == 516
        messages.add(error.value.message.replace(name, ""))
    assert len(messages) == 1
    with pytest.raises(StartError, match="B of user dbt"):
        read_users(path, {"A": "one"})


def test_our_own_users_file(repo: Path) -> None:
    names = {
        "CLICKHOUSE_PASSWORD",
        "CLICKHOUSE_LOADER_PASSWORD",
        "CLICKHOUSE_DBT_PASSWORD",
        "CLICKHOUSE_WEBHOOK_PASSWORD",
        "CLICKHOUSE_AIRFLOW_PASSWORD",
        "CLICKHOUSE_SUPERSET_PASSWORD",
        "CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD",
        "CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD",
    }
    users = read_users(repo / "clickhouse/config/users.xml", dict.fromkeys(names, "x"))
    assert {name: user.role for name, user in users.items()} == {
        "default": "admin",
        "loader": "loader",
        "dbt": "transformer",
        "webhook": "recorder",
        "airflow": "reader",
        "superset": "reader",
        "superset_operations": "operations",
        "superset_california": "reader_california",
    }

"""The check of rights, against the embedded warehouse: what differs from users.xml is named."""

import re
from pathlib import Path
from typing import Any

import pytest
from stack import grants
from stack.check import probes, rights
from stack.env import file as env_file
from stack.errors import StackError
from stack.paths import Paths
from stack.table.services import Context
from warehouse.client import Address, Warehouse

CHANGES = {
    "a right that the file has no more": (
        "<query>GRANT INSERT ON ops.loads</query>",
        "",
        "role loader has INSERT ON ops.loads, which the file does not give",
    ),
    "a right that the file has and the server not": (
        "<query>GRANT INSERT ON ops.loads</query>",
        "<query>GRANT INSERT ON ops.loads</query><query>GRANT INSERT ON ops.dbt_runs</query>",
        "role loader lacks INSERT ON ops.dbt_runs",
    ),
    "a verb among several": (
        "GRANT SHOW, SELECT, dictGet ON analytics.*",
        "GRANT SHOW, SELECT ON analytics.*",
        "role reader has dictGet ON analytics.*, which the file does not give",
    ),
    "an engine": (
        "<query>GRANT TABLE ENGINE ON SummingMergeTree</query>",
        "",
        "role transformer has TABLE ENGINE ON SummingMergeTree, which the file does not give",
    ),
    "another role of a user": (
        "<grants><query>GRANT recorder</query></grants>",
        "<grants><query>GRANT reader</query></grants>",
        "user webhook has role recorder, which the file does not give",
    ),
}


@pytest.fixture(scope="module")
def differing(clickhouse: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Sentences of the check, with one change in the file."""

    def differences(before: str, after: str) -> list[str]:
        text = grants.USERS_FILE.read_text()
        assert before in text
        file = tmp_path_factory.mktemp("rights") / "users.xml"
        file.write_text(text.replace(before, after))
        address = Address(clickhouse.host, clickhouse.port, "default", clickhouse.password("default"))
        with Warehouse(address) as admin:
            return rights.differences(admin, file)

    return differences


@pytest.mark.parametrize("what", CHANGES)
def test_a_right_that_differs_from_the_file_is_named(differing: Any, what: str) -> None:
    before, after, sentence = CHANGES[what]
    assert sentence in differing(before, after)


def context(repo: Path, folder: Path, clickhouse: Any, **changes: str) -> Context:
    file = folder / ".env"
    names = clickhouse.env("default", "dbt") | changes
    env_file.write_new(file, env_file.fill(repo / ".env.example", {}, {}, STACK_MODE="native", **names))
    return Context(Paths(home=folder, env_file=file, venvs=folder), env_file.load(file))


def test_the_check_says_so_where_all_is_as_in_the_file(repo: Path, tmp_path: Path, clickhouse: Any) -> None:
    *_, seen = probes.rights_are_those_of_the_file(context(repo, tmp_path, clickhouse))
    assert "have what clickhouse/config/users.xml gives, and no more" in seen


def test_the_check_fails_where_they_differ(
    repo: Path, tmp_path: Path, clickhouse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after, sentence = CHANGES["a right that the file has no more"]
    file = tmp_path / "users.xml"
    file.write_text(grants.USERS_FILE.read_text().replace(before, after))
    monkeypatch.setattr(grants, "USERS_FILE", file)
    with pytest.raises(StackError, match=rf"run clickhouse/grants.sql.*{sentence}"):
        list(probes.rights_are_those_of_the_file(context(repo, tmp_path, clickhouse)))


def test_the_check_says_that_it_could_not_ask(repo: Path, tmp_path: Path, clickhouse: Any) -> None:
    *_, seen = probes.rights_are_those_of_the_file(
        context(repo, tmp_path, clickhouse, CLICKHOUSE_PASSWORD="another-password")
    )
    assert seen.startswith("not known: the warehouse does not let user default")


def test_rows_that_were_set_aside_are_told(repo: Path, tmp_path: Path, clickhouse: Any) -> None:
    with clickhouse.client("loader") as loader:
        loader.command(
            "INSERT INTO ops.publishes (run, target, status, error, opened_at, closed_at, version)"
            " VALUES (7, 'told_by_the_check', 'set_aside', 'no such run', now(), now64(6), 1)"
        )
    *_, seen = probes.journals_fit(context(repo, tmp_path, clickhouse))
    assert re.search(
        r"\d+ rows? set aside in the last 7 days, the last at .* raw.told_by_the_check of run 7: no such", seen
    )


def test_the_server_takes_every_statement_of_grants_sql(clickhouse: Any) -> None:
    """The embedded server has no users by SQL; its parser is the real one."""
    text = "\n".join(line for line in grants.as_sql().splitlines() if not line.startswith("--"))
    statements = [part.strip() for part in text.rstrip().rstrip(";").split(";\n")]
    with clickhouse.client() as admin:
        for statement in statements:
            (parsed,) = admin.query("SELECT formatQuery({sql:String})", {"sql": statement}).result_rows[0]
            if statement.startswith(("GRANT", "REVOKE")):
                assert " ".join(parsed.split()).replace("`", "") == " ".join(statement.split()), statement

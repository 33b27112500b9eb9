"""Rows of ops.dbt_publishes that were written by hand: those that do not fit are told, set aside once, and move nothing."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from warehouse.client import Warehouse
from webhook.publishing import Publisher, journal
from webhook.publishing.journal import roll_forward
from webhook.queue.runs import RunRequest
from webhook.settings import Settings
from webhook.worker.execution import Outcome

NONE = UUID(int=0)
HIGHEST = 2**64 - 1
RUN = "misfits"


class Interrupted(Warehouse):
    """Runs statements between a publisher's look at the tables and its first rename."""

    def __init__(self, settings: Settings, *statements: str) -> None:
        super().__init__(settings.warehouse("dbt"))
        self._statements = list(statements)

    def command(self, sql: str, settings: Any = None) -> None:
        while sql.startswith("RENAME TABLE") and self._statements:
            super().command(self._statements.pop(0))
        super().command(sql, settings)


class Marts:
    """Two published tables, each with what a build has made beside it."""

    def __init__(self, clickhouse: Any, home: Path) -> None:
        self._clickhouse = clickhouse
        names = {"WEBHOOK_HOME": str(home), "DBT_PROJECT_DIR": str(home)}
        self.settings = Settings.from_environ(names | clickhouse.env("dbt", "webhook"))
        self.publisher = Publisher(self.settings)
        self.do("webhook", f"INSERT INTO ops.dbt_runs (id, queued_at) VALUES ('{RUN}', now())")
        for mart in ("one", "two"):
            for name, content in ((f"mart_{mart}", "old"), (f"mart_{mart}__next", "new")):
                self.make(name, content)

    def do(self, user: str, sql: str) -> None:
        with self._clickhouse.client(user) as client:
            client.command(sql)

    def make(self, name: str, content: str) -> None:
        self.do("dbt", f"CREATE TABLE analytics.{name} ENGINE = MergeTree ORDER BY is AS SELECT '{content}' AS is")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._clickhouse.client() as admin:
            return list(admin.query(sql).result_rows)

    def tables(self) -> dict[str, UUID]:
        return {
            name: UUID(str(uuid))
            for name, uuid in self.rows("SELECT name, uuid FROM system.tables WHERE database = 'analytics'")
        }

    def content(self, mart: str) -> str:
        return str(self.rows(f"SELECT is FROM analytics.{mart}")[0][0])

    def forge(
        self,
        run_id: str,
        attempt: int,
        target: str,
        old: UUID,
        new: UUID,
        version: str = "toUnixTimestamp64Micro(now64(6))",
    ) -> None:
        """Adds an open row as the worker's own user, whose table it is."""
        columns = "run_id, attempt, target, status, old_uuid, new_uuid, opened_at, version"
        values = f"'{run_id}', {attempt}, '{target}', 'open', '{old}', '{new}', now64(6), {version}"
        self.do("webhook", f"INSERT INTO ops.dbt_publishes ({columns}) VALUES ({values})")

    def statuses(self, run_id: str, attempt: int) -> dict[str, str]:
        where = f"run_id = '{run_id}' AND attempt = {attempt}"
        return dict(self.rows(f"SELECT target, status FROM ops.dbt_publishes FINAL WHERE {where}"))


@pytest.fixture
def marts(clickhouse: Any, tmp_path: Path) -> Iterator[Marts]:
    with clickhouse.client() as admin:
        find = "SELECT name FROM system.tables WHERE database = 'analytics'"
        before = {name for (name,) in admin.query(find).result_rows}
        yield Marts(clickhouse, tmp_path)
        for (name,) in admin.query(find).result_rows:
            if name not in before:
                admin.command(f"DROP TABLE analytics.`{name}` SYNC")


def test_a_forged_row_is_set_aside_once_and_moves_nothing(marts: Marts) -> None:
    marts.do(
        "dbt", "CREATE MATERIALIZED VIEW analytics.mart_mv__next ENGINE = Memory AS SELECT is FROM analytics.mart_one"
    )
    before = marts.tables()
    one, two, next_one, next_two = (before[f"mart_{name}"] for name in ("one", "two", "one__next", "two__next"))
    attempts: dict[str, tuple[tuple[Any, ...], str]] = {
        "a run that never was": (("never", 1, "mart_one", one, next_one), "no such run"),
        "another mart's rows": ((RUN, 2, "mart_one", one, two), "its new_uuid is that of analytics.mart_two"),
        "another mart's build": ((RUN, 3, "mart_one", one, next_two), "that of analytics.mart_two__next"),
        "a mart to drop": ((RUN, 4, "mart_one", two, next_one), "its old_uuid is that of analytics.mart_two"),
        "a build as the target": ((RUN, 5, "mart_one__next", next_one, one), "not the name of a published table"),
        "no target": ((RUN, 6, "", NONE, next_one), "not the name of a published table"),
        "no new table": ((RUN, 7, "mart_one", one, NONE), "not that of a new table"),
        "the old table as the new one": ((RUN, 8, "mart_one", one, one), "not that of a new table"),
        "a materialized view": ((RUN, 9, "mart_mv", NONE, before["mart_mv__next"]), "that of a MaterializedView"),
        "the highest version": ((RUN, 10, "mart_one", one, two, HIGHEST), "its new_uuid is that of analytics.mart_two"),
    }
    for what, (row, reason) in attempts.items():
        marts.forge(*row)
        recovered = marts.publisher.recover()
        assert recovered.published == () and len(recovered.set_aside) == 1, what
        assert reason in recovered.set_aside[0], what
        assert marts.tables() == before, what
        assert marts.statuses(row[0], row[1]) == {row[2]: "set_aside"}, what
        assert marts.publisher.recover().set_aside == (), what


def test_an_attempt_with_a_row_that_does_not_fit_publishes_nothing(marts: Marts) -> None:
    before = marts.tables()
    marts.forge(RUN, 21, "mart_one", before["mart_one"], before["mart_one__next"])
    marts.forge(RUN, 21, "mart_two", before["mart_two"], before["mart_one"])
    assert len(marts.publisher.recover().set_aside) == 2
    assert marts.tables() == before


def test_a_publish_that_was_cut_between_its_swaps_is_finished_beside_a_forged_row(marts: Marts) -> None:
    before = marts.tables()
    for name in ("mart_one", "mart_two"):
        marts.forge(RUN, 31, name, before[name], before[f"{name}__next"])
    marts.do("dbt", "EXCHANGE TABLES analytics.mart_one AND analytics.mart_one__next")
    marts.forge(RUN, 31, "mart_three", NONE, before["mart_two"])
    recovered = marts.publisher.recover()
    assert sorted(recovered.published) == ["mart_one", "mart_two"] and len(recovered.set_aside) == 1
    assert [marts.content(name) for name in ("mart_one", "mart_two")] == ["new", "new"]
    assert marts.statuses(RUN, 31) == {"mart_one": "done", "mart_two": "done", "mart_three": "set_aside"}


@pytest.mark.parametrize(
    ("replaced", "content"), [("mart_one", "another"), ("mart_one__next", "old")], ids=["published", "built"]
)
def test_a_publisher_looks_again_before_it_swaps(marts: Marts, replaced: str, content: str) -> None:
    """A name may stand for another table than a moment before; the journal is about tables, and swaps no others."""
    before = marts.tables()
    marts.make("another", "another")
    marts.forge(RUN, 41, "mart_one", before["mart_one"], before["mart_one__next"])
    warehouse = Interrupted(
        marts.settings, f"EXCHANGE TABLES analytics.{replaced} AND analytics.another", "DROP TABLE analytics.another"
    )
    records = Warehouse(marts.settings.warehouse("webhook"))
    (entry,) = roll_forward(warehouse, records, journal.open_entries(records))
    assert entry.status == "abandoned" and marts.content("mart_one") == content


def test_the_next_run_tells_of_it_in_its_log_and_publishes_its_own(marts: Marts) -> None:
    before = marts.tables()
    marts.forge(RUN, 41, "mart_one", before["mart_one"], before["mart_two"])

    def build() -> Outcome:
        marts.make("mart_one__next", "newest")
        return Outcome("success")

    run: Any = SimpleNamespace(id=RUN, request=RunRequest(select=("mart_one",)))
    assert marts.publisher.run(run, 42, build).status == "success"
    assert "was set aside and has moved nothing: analytics.mart_one" in marts.settings.run_log(RUN).read_text()
    assert [marts.content(name) for name in ("mart_one", "mart_two")] == ["newest", "old"]

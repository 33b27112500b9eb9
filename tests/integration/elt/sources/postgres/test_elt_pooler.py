"""The source behind a real PgBouncer: transaction pooling is refused before anything is set, session pooling works, masks included."""

import dataclasses
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from elt.errors import SourceRefusedError
from elt.sources.postgres.sessions.server import Server
from elt.sources.postgres.sessions.session import CopySession, Session
from pydantic import SecretStr
from testing.waiting import takes_connections, until_up
from warehouse.errors import PipelineError

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed (Debian: apt install pgbouncer)")

Behind = Callable[..., Any]


@pytest.fixture
def behind(shop: Any, server_folder: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., Any]]:
    """Makes the shop reached through a PgBouncer of these settings, as a context."""

    @contextmanager
    def started(**settings: object) -> Iterator[Any]:
        address = urlsplit(shop.settings.source_url.get_secret_value())
        port, folder = free_port(), server_folder / f"pgbouncer-{time.monotonic_ns()}"
        folder.mkdir()
        (folder / "users").write_text(f'"{address.username}" "{address.password}"\n')
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "plain",
            "auth_file": folder / "users",
            "query_wait_timeout": 20,
            **settings,
        }
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (folder / "ini").write_text(f"[databases]\n* = host=127.0.0.1 port={address.port}\n[pgbouncer]\n{text}")
        # It refuses to run as root.
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        with (folder / "log").open("wb") as sink:
            process = subprocess.Popen([str(PGBOUNCER), *user, str(folder / "ini")], stdout=sink, stderr=sink)
        url = f"postgresql://{address.username}:{address.password}@127.0.0.1:{port}{address.path}"
        pooled = dataclasses.replace(
            shop,
            settings=shop.settings.model_copy(update={"source_url": SecretStr(url)}),
            environment=shop.environment | {"SOURCE_URL": url},
        )
        try:
            until_up(process, lambda: takes_connections(url), folder / "log")
            yield pooled
        finally:
            process.terminate()
            process.wait(20)

    yield started


@pytest.fixture
def people(shop: Any) -> Any:
    shop.sql("CREATE TABLE people (id int PRIMARY KEY, email text)", "INSERT INTO people VALUES (1, 'a@x'), (2, NULL)")
    shop.tables("public.people")
    return shop


class Others:
    """Other clients of the pool, which ask all the time."""

    def __init__(self, url: str, count: int) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, url: str) -> None:
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not self._over.is_set():
                    cursor.execute("SELECT 1")

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def fill(url: str, sessions: int) -> None:
    """Has the pool open so many sessions."""
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(psycopg2.connect(url))) for _ in range(sessions)]
        for client in clients:
            client.cursor().execute("SELECT 1")
        for client in clients:
            # A pooler closes the session of a client that leaves in a transaction.
            client.rollback()


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize(
    "pool",
    [{}, {"default_pool_size": 1}, {"default_pool_size": 10, "server_round_robin": 1}],
    ids=["many", "one", "in turn"],
)
def test_transaction_pooling_is_refused_and_nothing_stays_behind(
    people: Any, behind: Behind, pool: dict[str, int], others: int
) -> None:
    with behind(pool_mode="transaction", **pool) as pooled:
        url = pooled.environment["SOURCE_URL"]
        fill(url, pool.get("default_pool_size", 1))
        crowd = Others(url, others)
        try:
            for command in ("check", "load"):
                code, out, err = pooled.command(command)
                assert code == 1 and "transaction pooling" in err and "pool_mode = session" in err, out + err
                assert url not in err
        finally:
            crowd.end()
        # Whatever session another client gets is as Postgres makes it.
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('intervalstyle'), current_setting('bytea_output'), count(*) FROM pg_locks WHERE locktype = 'advisory'"
            )
            assert cursor.fetchall() == [("postgres", "hex", 0)]


def test_session_pooling_works_with_other_clients_beside(people: Any, behind: Behind) -> None:
    with behind(pool_mode="session", default_pool_size=30) as pooled:
        crowd = Others(pooled.environment["SOURCE_URL"], 3)
        try:
            assert pooled.load().loads[0].rows == 2
            code, out, err = pooled.command("check")
            assert code == 0, out + err
        finally:
            crowd.end()


@pytest.mark.parametrize("options", [{}, {"ignore_startup_parameters": "options"}], ids=["refused", "ignored"])
def test_masks_work_through_a_pooler_that_passes_no_options_and_the_salt_stands_in_no_query(
    people: Any, behind: Behind, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    people.tables("name: public.people, mask: [email]")
    people.load()
    direct = people.warehouse("SELECT id, email FROM raw.people ORDER BY id")
    salt = people.settings.mask_salt.get_secret_value() + "-of-the-test"
    texts: list[str] = []
    for session, method in ((Session, "execute"), (Session, "rows"), (CopySession, "execute"), (CopySession, "copy")):
        original = getattr(session, method)

        def recorded(self: Any, sql: str, *rest: Any, original: Any = original) -> Any:
            texts.append(sql)
            return original(self, sql, *rest)

        monkeypatch.setattr(session, method, recorded)
    # The pooler itself clears nothing up behind a client here.
    with behind(pool_mode="session", default_pool_size=8, server_reset_query="", **options) as pooled:
        pooled.load()
        assert people.warehouse("SELECT id, email FROM raw.people ORDER BY id") == direct
        other = pooled.settings.model_copy(update={"mask_salt": SecretStr(salt)})
        dataclasses.replace(pooled, settings=other).load()
        # Nothing of it stays with the sessions that the pooler gives to the next clients.
        with ExitStack() as stack:
            for _ in range(8):
                connection = stack.enter_context(closing(psycopg2.connect(pooled.environment["SOURCE_URL"])))
                cursor = connection.cursor()
                cursor.execute("SELECT coalesce(current_setting('elt.mask_salt', true), '')")
                assert cursor.fetchall() == [("",)]
    assert people.warehouse("SELECT id, email FROM raw.people ORDER BY id") != direct
    assert any("sha256" in text for text in texts) and not any(salt in text for text in texts)


def test_a_session_without_a_pooler_is_not_asked_twice(people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elt.sources.postgres.sessions.pooler._ROUNDS", None)
    with Session(Server.of(people.settings), "elt test") as source:
        assert source.rows("SELECT 1") == [(1,)]


def test_a_pooler_that_pools_statements_is_refused(people: Any, behind: Behind) -> None:
    with behind(pool_mode="statement") as pooled, pytest.raises(PipelineError, match="transaction pooling") as caught:
        Session(Server.of(pooled.settings), "elt test")
    assert isinstance(caught.value, SourceRefusedError)

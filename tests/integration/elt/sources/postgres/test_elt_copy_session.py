"""The session that copies: it is where the other one is, reads what that one reads, and ends when it is told."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from elt.errors import SourceRefusedError, SourceUnavailableError
from elt.sources.postgres.names import TableName
from elt.sources.postgres.sessions.copier import CHUNK_BYTES
from elt.sources.postgres.sessions.server import Server
from elt.sources.postgres.sessions.session import CopySession, Session
from pydantic import SecretStr
from testing.waiting import until
from warehouse.errors import PipelineError

TABLE = [(TableName("public", "t"), "table")]


@pytest.fixture
def table(shop: Any) -> Any:
    shop.sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 10)")
    return shop


def opened(shop: Any, **changes: str) -> Session:
    address = changes.pop("url", shop.environment["SOURCE_URL"])
    return Session(Server.of(shop.settings.model_copy(update={"source_url": SecretStr(address)})), "elt load t test")


def read(session: CopySession, select: str) -> tuple[bytes, int]:
    """All text of a copy, and the rows that Postgres says it sent."""
    chunks, text = session.copy(select), b""
    while True:
        try:
            chunk = next(chunks)
        except StopIteration as end:
            return text, end.value
        assert len(chunk) <= CHUNK_BYTES
        text += bytes(chunk)


def test_it_reads_the_instant_of_the_session_beside_it(table: Any) -> None:
    with opened(table) as source:
        source.begin(TABLE, copies=True)
        table.sql("INSERT INTO t VALUES (11)")
        assert read(source.copying, "SELECT count(*) FROM t") == (b"10\n", 1)
        assert source.rows("SELECT count(*) FROM t") == [(10,)]
        # Both hold the lock: an ALTER must not come between them.
        locks = "SELECT count(DISTINCT pid) FROM pg_locks WHERE relation = 't'::regclass AND mode = 'AccessShareLock'"
        assert table.sql(locks) == [(2,)]
    until_no_session(table)


def test_rows_larger_than_a_chunk_and_no_rows_at_all_come_whole(table: Any) -> None:
    with opened(table) as source:
        source.begin(TABLE, copies=True)
        text, rows = read(source.copying, "SELECT repeat('x', 3 * 1024 * 1024 + i) FROM generate_series(1, 4) i")
        assert rows == 4 and [len(line) - 3 * 1024 * 1024 for line in text.splitlines()] == [1, 2, 3, 4]
        assert read(source.copying, "SELECT 1 WHERE false") == (b"", 0)
        assert read(source.copying, "SELECT FROM t") == (b"\n" * 10, 10)


def test_it_has_the_settings_of_every_session_and_the_options_of_the_address(table: Any) -> None:
    url = f"{table.environment['SOURCE_URL']}?options=-c%20work_mem%3D5MB&application_name=else"
    with opened(table, url=url) as source:
        source.begin(TABLE, copies=True)
        names = (
            "work_mem",
            "timezone",
            "datestyle",
            "application_name",
            "default_transaction_read_only",
            "client_encoding",
        )
        asked = ", ".join(f"current_setting('{name}')" for name in names)
        text, _ = read(source.copying, f"SELECT {asked}")
        assert text.decode().rstrip("\n").split("\t") == ["5MB", "UTC", "ISO, MDY", "elt load t test", "on", "UTF8"]


def test_of_several_hosts_it_takes_the_one_that_was_found(table: Any, free_port: Any) -> None:
    parts = urlsplit(table.environment["SOURCE_URL"])
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{parts.port}"
    with opened(table, url=f"postgresql://{parts.username}:{parts.password}@{hosts}{parts.path}") as source:
        source.begin(TABLE, copies=True)
        assert read(source.copying, "SELECT 1") == (b"1\n", 1)


def test_a_password_may_hold_any_character(table: Any) -> None:
    password = "a@b:/?#%20'\"\\ é"
    escaped = password.replace("'", "''")
    table.sql(
        f"CREATE ROLE \"elt odd\" LOGIN PASSWORD '{escaped}'",
        'GRANT USAGE ON SCHEMA public TO "elt odd"',
        'GRANT SELECT ON t TO "elt odd"',
    )
    parts = urlsplit(table.environment["SOURCE_URL"])
    url = f"postgresql://elt%20odd:{quote(password, safe='')}@{parts.hostname}:{parts.port}{parts.path}"
    try:
        with opened(table, url=url) as source:
            source.begin(TABLE, copies=True)
            assert read(source.copying, "SELECT current_user") == (b"elt odd\n", 1)
    finally:
        table.sql('DROP OWNED BY "elt odd"', 'DROP ROLE "elt odd"')


def test_an_error_of_the_server_is_one_sentence_with_its_state(table: Any) -> None:
    with opened(table) as source:
        source.begin(TABLE, copies=True)
        with pytest.raises(SourceRefusedError, match=r"refuses the copy \(division by zero\)") as refused:
            read(source.copying, "SELECT 1 / (id - 5) FROM t")
        assert refused.value.sqlstate == "22012"


def test_a_copy_that_fails_late_never_looks_whole(table: Any) -> None:
    with opened(table) as source:
        source.begin(TABLE, copies=True)
        with pytest.raises(SourceRefusedError, match="division by zero"):
            read(source.copying, "SELECT repeat('x', 1000), 1 / (i - 30000) FROM generate_series(1, 30000) i")


def test_another_thread_can_stop_it(table: Any) -> None:
    with opened(table) as source:
        source.begin(TABLE, copies=True)
        sleeps = f"SELECT 1 FROM pg_stat_activity WHERE {table.copying('pg_sleep(600)')}"

        def stop() -> None:
            until(lambda: table.sql(sleeps), "the copy")
            source.cancel()

        stopping = threading.Thread(target=stop)
        stopping.start()
        with pytest.raises(PipelineError, match="broke off the copy"):
            read(source.copying, "SELECT pg_sleep(600)")
        stopping.join()
    until_no_session(table)


def test_stopped_before_it_begins_it_copies_nothing(table: Any) -> None:
    with opened(table) as source:
        source.begin(TABLE, copies=True)
        source.copying.cancel()
        with pytest.raises(SourceUnavailableError, match="the copy was stopped"):
            read(source.copying, "SELECT id FROM t")


def test_closed_in_the_middle_it_leaves_no_statement_at_the_source(table: Any) -> None:
    source = opened(table)
    source.begin(TABLE, copies=True)
    chunks = source.copying.copy("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)")
    # An empty chunk says that nothing has come for a second.
    assert any(chunks)
    source.close()
    source.close()
    until_no_session(table)


def test_a_session_that_the_server_ends_is_worth_another_try(table: Any) -> None:
    with opened(table) as source:
        source.begin(TABLE, copies=True)
        chunks = source.copying.copy("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)")
        assert any(chunks)
        table.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND pid <> pg_backend_pid()"
        )
        with pytest.raises(SourceUnavailableError, match=r"broke off the copy.*run again"):
            for _ in chunks:
                pass


@pytest.fixture
def encrypted(table: Any, server_folder: Path) -> Iterator[Path]:
    """The server takes TLS; the file of its authority."""
    if table.sql("SHOW ssl_library") != [("OpenSSL",)]:
        pytest.skip("this build of Postgres has no TLS")
    data = server_folder / "postgres"
    certificate, key = data / "server.crt", data / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    owner = data.stat()
    for file, mode in ((certificate, 0o644), (key, 0o600)):
        file.chmod(mode)
        os.chown(file, owner.st_uid, owner.st_gid)
    authority = server_folder / "authority.crt"
    authority.write_bytes(certificate.read_bytes())
    table.sql("ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()")
    until(lambda: table.sql("SHOW ssl") == [("on",)], "TLS at the source")
    try:
        yield authority
    finally:
        table.sql("ALTER SYSTEM RESET ssl", "SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    "how", ["", "?sslmode=require", "?sslmode=verify-full&sslrootcert={authority}", "?sslmode=disable"]
)
def test_it_is_encrypted_where_the_other_session_is(table: Any, encrypted: Path, how: str) -> None:
    url = table.environment["SOURCE_URL"] + how.format(authority=quote(str(encrypted), safe=""))
    with opened(table, url=url) as source:
        source.begin(TABLE, copies=True)
        text, rows = read(source.copying, "SELECT repeat('x', 100000) FROM generate_series(1, 30)")
        assert (len(text), rows) == (30 * 100001, 30)
        found = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'elt load%'"
        assert table.sql(found) == [("disable" not in how,)]


def test_check_tells_what_the_session_could_not_keep(table: Any, encrypted: Path) -> None:
    url = table.environment["SOURCE_URL"]
    table.tables("public.t")
    code, out, err = table.command("check", SOURCE_URL=f"{url}?sslmode=require&channel_binding=require")
    assert code == 1 and "SOURCE_URL asks for channel_binding=require" in " ".join(out.split()), out + err
    kept = f"{url}?sslmode=verify-full&channel_binding=require&sslrootcert={quote(str(encrypted), safe='')}"
    code, out, err = table.command("check", SOURCE_URL=kept)
    assert code == 0, out + err


def until_no_session(shop: Any) -> None:
    """Waits until the source has noticed that the loader's sessions are gone."""
    loaders = "SELECT application_name, query FROM pg_stat_activity WHERE application_name LIKE 'elt %'"
    until(lambda: not shop.sql(loaders), "the end of the loader's sessions", said=lambda: str(shop.sql(loaders)))

"""A read replica as the source."""

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from pydantic import SecretStr
from stack.native import postgres as native_postgres
from testing.waiting import takes_connections, until_up


@pytest.fixture
def replica(shop: Any, postgres: Any, server_folder: Path, free_port: Callable[[], int]) -> Iterator[Callable[[], Any]]:
    """Starts a replica of the source as it is at the call, and returns the shop that copies from it."""
    started: list[subprocess.Popen[bytes]] = []
    data, copy, port = server_folder / "postgres", server_folder / f"replica-{time.monotonic_ns()}", free_port()

    def start() -> Any:
        connection = psycopg2.connect(postgres.dsn())
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backup_start('replica', true)")
            subprocess.run(["cp", "-a", str(data), str(copy)], check=True)
            cursor.execute("SELECT labelfile FROM pg_backup_stop(false)")
            (label,) = cursor.fetchone() or ("",)
        connection.close()
        (copy / "postmaster.pid").unlink()
        (copy / "backup_label").write_text(label)
        (copy / "standby.signal").touch()
        owner = data.stat()
        for name in ("backup_label", "standby.signal"):
            os.chown(copy / name, owner.st_uid, owner.st_gid)
        with (copy / "postgresql.conf").open("a") as file:
            file.write(f"restore_command = 'cp {data}/pg_wal/%f %p'\n")
        command = native_postgres.server_command(postgres.binaries, copy, port=port, bind="127.0.0.1")
        with (server_folder / "replica.log").open("wb") as sink:
            started.append(subprocess.Popen(command, stdout=sink, stderr=sink, cwd="/"))
        address = urlsplit(shop.settings.source_url.get_secret_value())
        url = f"postgresql://{address.username}:{address.password}@127.0.0.1:{port}{address.path}"
        until_up(started[0], lambda: takes_connections(url), server_folder / "replica.log")
        settings = shop.settings.model_copy(update={"source_url": SecretStr(url)})
        return dataclasses.replace(shop, settings=settings, environment=shop.environment | {"SOURCE_URL": url})

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_all_leaves_out_what_is_unlogged_on_a_replica_and_names_it(shop: Any, replica: Callable[[], Any]) -> None:
    shop.sql(
        "CREATE TABLE logged (id int)",
        "INSERT INTO logged VALUES (1)",
        "CREATE UNLOGGED TABLE scratch (id int)",
        "CREATE TABLE parted (id int) PARTITION BY RANGE (id)",
        "CREATE UNLOGGED TABLE parted_1 PARTITION OF parted DEFAULT",
    )
    shop.settings.elt_pipeline.write_text("sources: [{name: s, kind: postgres, tables: all}]")
    assert shop.load().note == ""
    there = replica()
    code, out, err = there.command("check")
    assert code == 0 and "public.scratch is left out: it is unlogged" in out, out + err
    done = there.load()
    assert [table.target for table in done.published.tables] == ["logged"]
    for name in ("scratch", "parted"):
        assert f"public.{name} is not copied since" in done.note and "it is unlogged" in done.note

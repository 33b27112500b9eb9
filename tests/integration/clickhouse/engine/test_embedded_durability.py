"""Start, stop, kill -9, and what is there afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from testing.waiting import until

SLOW = "SELECT sleepEachRow(1) FROM numbers(60) SETTINGS max_block_size = 1"
TABLES = ("plain", "blocks")


def prepare(server: Any) -> None:
    server.start()
    server.api().ask("CREATE DATABASE IF NOT EXISTS raw")


def test_start_is_quick_and_stop_is_clean(own_server: Any) -> None:
    prepare(own_server)
    own_server.api().ask("CREATE TABLE raw.t (a UInt8) ENGINE = MergeTree ORDER BY a")
    own_server.api().ask("INSERT INTO raw.t VALUES (1)")
    assert own_server.end(signal.SIGTERM) == 0
    began = time.monotonic()
    own_server.start()
    assert time.monotonic() - began < 5  # 2 s on an idle machine
    assert own_server.api().ask("SELECT * FROM raw.t") == "1"
    assert own_server.end(signal.SIGINT) == 0
    assert "Stopped" in own_server.log.read_text()
    assert "Traceback" not in own_server.log.read_text()


def test_stop_lets_short_queries_end_and_cancels_long_ones(own_server: Any) -> None:
    prepare(own_server)
    answers: dict[str, Any] = {}

    def ask(name: str, sql: str) -> None:
        answers[name] = own_server.api().call(sql, query_id=name)

    work = [
        threading.Thread(target=ask, args=("long", SLOW)),
        threading.Thread(
            target=ask, args=("short", "SELECT sleepEachRow(1) FROM numbers(2) SETTINGS max_block_size = 1")
        ),
    ]
    kept = own_server.api().connect()
    kept.request("GET", "/ping")
    kept.getresponse().read()
    for thread, name in zip(work, ("long", "short"), strict=True):
        thread.start()
        own_server.api().until_running(name)
    own_server.process.send_signal(signal.SIGTERM)

    def refused() -> bool:
        kept.request("POST", "/", b"SELECT 1", own_server.api().authorization)
        answer = kept.getresponse()
        answer.read()
        return answer.getheader("X-ClickHouse-Exception-Code") == "236"

    until(refused, "a connection that is open already gets no new query", 20)
    kept.close()
    # The long query takes a minute.
    assert own_server.process.wait(timeout=30) == 0
    for thread in work:
        thread.join()
    assert answers["short"].text == "0\n0\n"
    assert answers["long"].code == 394


def test_second_server_on_the_same_folder_says_so(own_server: Any, free_port: Any) -> None:
    prepare(own_server)
    second = own_server.launch(CLICKHOUSE_HTTP_PORT=str(free_port()))
    assert second.wait(timeout=20) == 1
    last = own_server.log.read_text().splitlines()[-1]
    assert "is in use by another server: stop that one first" in last
    assert own_server.api().ask("SELECT 1") == "1"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"CLICKHOUSE_PATH": ""}, "CLICKHOUSE_PATH is not set"),
        ({"CLICKHOUSE_HTTP_PORT": "many"}, "CLICKHOUSE_HTTP_PORT is 'many'"),
        ({"CLICKHOUSE_SUPERSET_PASSWORD": ""}, "CLICKHOUSE_SUPERSET_PASSWORD of user superset is not set"),
        ({"CLICKHOUSE_CONFIG": "/nowhere"}, "set CLICKHOUSE_CONFIG"),
    ],
)
def test_wrong_settings_are_one_sentence(own_server: Any, changes: dict[str, str], sentence: str) -> None:
    assert own_server.launch(**changes).wait(timeout=20) == 1
    (line,) = own_server.log.read_text().splitlines()
    assert sentence in line


def test_taken_port_is_named(own_server: Any, free_port: Any) -> None:
    prepare(own_server)
    second = own_server.launch(CLICKHOUSE_PATH=str(own_server.folder / "other"))
    assert second.wait(timeout=20) == 1
    assert f"Cannot listen on 127.0.0.1:{own_server.server.port}" in own_server.log.read_text()


def test_kill_9_loses_nothing_acknowledged(own_server: Any) -> None:
    """Three kills while four clients insert blocks of 1,000 rows and single rows, and one makes and drops tables."""
    prepare(own_server)
    for name in TABLES:
        own_server.api().ask(
            f"CREATE TABLE raw.{name} (client UInt8, turn UInt32, n UInt32) ENGINE = MergeTree ORDER BY turn"
        )
    acknowledged: dict[tuple[str, int], set[int]] = {(name, client): set() for name in TABLES for client in range(2)}
    tried: dict[tuple[str, int], int] = dict.fromkeys(acknowledged, 0)

    def insert(name: str, client: int, stop: threading.Event) -> None:
        size, key = (1000 if name == "blocks" else 1), (name, client)
        while not stop.is_set():
            turn = tried[key] = tried[key] + 1
            body = b"".join(b"%d\t%d\t%d\n" % (client, turn, row) for row in range(size))
            try:
                if own_server.api().call(body, query=f"INSERT INTO raw.{name} FORMAT TSV").status == 200:
                    acknowledged[key].add(turn)
            except OSError:
                return

    def define(stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                own_server.api().call("CREATE OR REPLACE TABLE raw.made (a UInt8) ENGINE = MergeTree ORDER BY a")
                own_server.api().call("DROP TABLE raw.made")
            except OSError:
                return

    for _ in range(3):
        stop = threading.Event()
        work = [threading.Thread(target=insert, args=(*key, stop)) for key in acknowledged]
        work.append(threading.Thread(target=define, args=(stop,)))
        for thread in work:
            thread.start()
        before = {key: len(turns) for key, turns in acknowledged.items()}
        until(
            lambda before=before: all(len(acknowledged[key]) > number + 1 for key, number in before.items()),
            "two more inserts of each client are acknowledged",
        )
        own_server.end(signal.SIGKILL)
        stop.set()
        for thread in work:
            thread.join()
        own_server.start()
        for (name, client), turns in acknowledged.items():
            size = 1000 if name == "blocks" else 1
            sql = f"SELECT turn, count(), uniqExact(n) FROM raw.{name} WHERE client = {client} GROUP BY turn"
            rows = [tuple(map(int, line.split("\t"))) for line in own_server.api().ask(sql).splitlines()]
            assert turns <= {turn for turn, _, _ in rows}, "an acknowledged insert is lost"
            assert all((count, distinct) == (size, size) for _, count, distinct in rows), "partial or doubled"


@pytest.fixture
def small_disk(own_server: Any) -> Iterator[Path]:
    """The server's folder on a disk of 48 MB of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    folder: Path = own_server.folder
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], check=True)
    yield folder
    if own_server.process.poll() is None:
        own_server.end(signal.SIGKILL)
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill_up(folder: Path) -> Path:
    """Leave no byte free."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    return ballast


def test_full_disk_fails_the_insert_and_nothing_else(own_server: Any, small_disk: Path) -> None:
    prepare(own_server)
    admin = own_server.api()
    admin.ask("CREATE TABLE raw.t (n UInt32, s String) ENGINE = MergeTree ORDER BY n")
    admin.ask("SYSTEM STOP MERGES raw.t")  # a merge that gives up makes room again
    acknowledged = 0
    while True:
        body = b"".join(b"%d\t%s\n" % (acknowledged, os.urandom(60).hex().encode()) for _ in range(20_000))
        answer = admin.call(body, query="INSERT INTO raw.t FORMAT TSV")
        if answer.status != 200:
            break
        acknowledged += 1
    assert answer.code == 243, answer.text
    counted = f"{acknowledged * 20_000}\t{acknowledged}"
    assert acknowledged > 3
    assert admin.ask("SELECT count(), uniqExact(n) FROM raw.t") == counted

    ballast = fill_up(small_disk)
    assert admin.call("1\tx\n", query="INSERT INTO raw.t FORMAT TSV").code == 243
    # The engine alone acknowledges such a statement, and its folder does not open again.
    assert admin.call("CREATE TABLE raw.u (n UInt32) ENGINE = MergeTree ORDER BY n").code == 243
    assert admin.call("ALTER TABLE raw.t ADD COLUMN more UInt8").code == 243
    assert admin.ask("SELECT count(), uniqExact(n) FROM raw.t") == counted

    assert own_server.end(signal.SIGKILL)
    own_server.start()
    assert admin.ask("SELECT count(), uniqExact(n) FROM raw.t") == counted
    assert own_server.end(signal.SIGTERM) == 0

    ballast.unlink()
    own_server.start()
    assert admin.ask("SELECT count(), uniqExact(n) FROM raw.t") == counted
    admin.ask("DROP TABLE raw.t SYNC")
    admin.ask("CREATE TABLE raw.t (n UInt32, s String) ENGINE = MergeTree ORDER BY n")
    admin.ask("INSERT INTO raw.t VALUES (1, 'there is room again')")
    assert own_server.end(signal.SIGTERM) == 0


def test_memory_of_a_large_insert_goes_back_to_the_machine(own_server: Any) -> None:
    """Also that of a server's first: freed memory stays with the process no longer than its allocator is told to keep it."""
    prepare(own_server)
    admin = own_server.api()
    admin.ask("CREATE TABLE raw.large (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    block = b"".join(b"%d\tvalue %d\n" % (n, n % 1000) for n in range(100_000))

    def resident() -> float:
        lines = Path(f"/proc/{own_server.process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("RssAnon:"))) / 1024

    idle = resident()
    assert admin.call([block] * 60, query="INSERT INTO raw.large FORMAT TSV").status == 200
    until(lambda: resident() < idle + 60, "the memory of the insert is given back", 20)

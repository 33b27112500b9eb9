"""The embedded ClickHouse server: how fast, how lean, and how far from the bare engine.

`--quick` runs a tenth of the rows and ten seconds of load, `--only PART..` some of it. The floors are the same work without HTTP: INSERT .. SELECT FROM file()
within the same server, and the bare engine in a process of its own: its start, and query() (`--floor`, run by the clickhouse environment).
"""

import argparse
import base64
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

from report import Figure, of_runs, show

REPO = Path(__file__).resolve().parents[1]
VENV = Path(os.environ.get("STACK_VENVS", REPO / ".stack/venvs")) / "clickhouse"
PASSWORDS = [one.attrib["from_env"] for one in ElementTree.parse(REPO / "clickhouse/config/users.xml").iter("password")]
BLOCK = b"".join(b"%d\t%d\tvalue %d\n" % (n, n * 7919 % 1_000_003, n % 1000) for n in range(100_000))
TABLE = "(a UInt64, b UInt64, s String) ENGINE = MergeTree ORDER BY a"
SMALL = "SELECT count(), sum(b) FROM bench.small WHERE a = {}"
OUT = "SELECT number, number * 7, toString(number % 1000) FROM numbers({})"
PARTS = ["starts", "inserts", "answers", "small", "load"]
# Seconds between two short queries of one of the eight clients under load.
EVERY = 0.16
FAST = "SELECT s, count(), avg(b) FROM bench.small GROUP BY s ORDER BY s LIMIT 20"
LONG = "SELECT number, cityHash64(number) FROM numbers(2000000) FORMAT RowBinary"


# The benchmarks' folder goes last, as in run.sh.
START = f"import runpy, sys; sys.path.append({str(REPO / 'benchmarks')!r}); del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"


class Server:
    """An embedded server on a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.password = secrets.token_hex(8)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.start_seconds = 0.0

    def start(self) -> None:
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPO / "clickhouse"),
            "CLICKHOUSE_HTTP_PORT": str(self.port),
            "CLICKHOUSE_PATH": str(self.folder / "data"),
            **dict.fromkeys(PASSWORDS, self.password),
        }
        began = time.monotonic()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([VENV / "bin/python", "-m", "embedded"], env=env, stderr=log, cwd=REPO)
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    self.client().ask("SELECT 1")
                    break
            except OSError:
                if self.process.poll() is not None or time.monotonic() - began > 60:
                    raise SystemExit((self.folder / "log").read_text()) from None
                time.sleep(0.01)
        self.start_seconds = time.monotonic() - began

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def client(self) -> "Client":
        return Client(self.port, self.password)

    def memory(self) -> float:
        """Resident memory in MB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise SystemExit("the server has ended")


class Client:
    """One kept connection of the admin."""

    def __init__(self, port: int, password: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        token = base64.b64encode(f"default:{password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {token}"}

    def post(self, body: bytes | Iterator[bytes], **parameters: object) -> http.client.HTTPResponse:
        self.connection.request(
            "POST", "/?" + urlencode(parameters), body, self.headers, encode_chunked=not isinstance(body, bytes)
        )
        return self.connection.getresponse()

    def ask(self, sql: str, **parameters: object) -> str:
        answer = self.post(sql.encode(), **parameters)
        text = answer.read().decode(errors="replace")
        if answer.status != 200:
            raise RuntimeError(text)
        return text.rstrip("\n")

    def insert(self, query: str, blocks: int) -> int:
        """Rows written by one chunked POST of so many blocks."""
        answer = self.post(iter([BLOCK] * blocks), query=query)
        text = answer.read().decode(errors="replace")
        if answer.status != 200:
            raise RuntimeError(text)
        return int(json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"])

    def discard(self, sql: str) -> int:
        """The length in bytes of an answer that is read and thrown away."""
        answer = self.post(sql.encode())
        size, buffer = 0, bytearray(1 << 20)
        while got := answer.readinto(buffer):
            size += got
        if answer.status != 200 or b"__exception__" in buffer[:got]:
            raise RuntimeError(bytes(buffer[:1000]).decode(errors="replace"))
        return size


class Peak:
    """The highest resident memory of the server within the block, in MB above where it stood before."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seen: list[float] = []

    def __enter__(self) -> "Peak":
        time.sleep(1)
        self.idle = self.server.memory()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.stopping.wait(0.02):
            self.seen.append(self.server.memory())

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()

    @property
    def above_idle(self) -> float:
        return max([self.idle, *self.seen]) - self.idle


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def starts() -> list[Figure]:
    """From the start of the process to its first answer, beside a process that opens the bare engine and asks it the same."""
    seconds, ratios = [], []
    for _ in range(5):
        server = Server()
        server.start()
        seconds.append(server.start_seconds)
        server.stop()
        shutil.rmtree(server.folder)
        ratios.append(server.start_seconds / timed(lambda: floor_process(0, 0)))
    return [
        of_runs("start to the first answer", seconds, "s"),
        of_runs("  against a process that opens the engine", ratios, "times", "<= 2"),
    ]


def inserts(blocks: int, runs: int) -> list[Figure]:
    """One POST of many rows, and the engine's own reading of the same rows from a file; each run on a new server, whose
    first large insert takes the most memory."""
    rows = blocks * 100_000
    speeds, ratios, above = [], [], []
    for _ in range(runs):
        server = Server()
        server.start()
        try:
            client, file = server.client(), server.folder / "data/user_files/rows.tsv"
            with file.open("wb") as sink:
                for _ in range(blocks):
                    sink.write(BLOCK)
            client.ask("CREATE DATABASE bench")
            client.ask(f"CREATE TABLE bench.http {TABLE}")
            client.ask(f"CREATE TABLE bench.floor {TABLE}")
            client.insert("INSERT INTO bench.http FORMAT TSV", 5)
            client.ask("TRUNCATE TABLE bench.http SYNC")
            with Peak(server) as peak:
                seconds = timed(partial(client.insert, "INSERT INTO bench.http FORMAT TSV", blocks))
            above.append(peak.above_idle)
            read = f"INSERT INTO bench.floor SELECT * FROM file('{file.name}', 'TSV', 'a UInt64, b UInt64, s String')"
            floor = timed(partial(client.ask, read))
            same = "SELECT (SELECT sum(cityHash64(*)) FROM bench.http) = (SELECT sum(cityHash64(*)) FROM bench.floor), count() FROM bench.http"
            if client.ask(same) != f"1\t{rows}":
                raise SystemExit("The rows that came by HTTP are not those of the file.")
        finally:
            server.stop()
            shutil.rmtree(server.folder, ignore_errors=True)
        speeds.append(rows / seconds / 1e6)
        ratios.append(floor / seconds)
    return [
        of_runs(f"{rows:,} rows by one POST", speeds, "M rows/s"),
        Figure(
            "  memory above idle meanwhile, the most of any run", max(above), "MB", "<= 250", min(above), max(above)
        ),
        of_runs("  speed against INSERT .. SELECT FROM file()", ratios, "ratio", ">= 0.7"),
    ]


def answers(server: Server, rows: int, runs: int, floor: dict[str, list[float]]) -> list[Figure]:
    client, speeds, above = server.client(), [], []
    client.discard(OUT.format(rows // 10) + " FORMAT Native")
    for _ in range(runs):
        with Peak(server) as peak:
            speeds.append(rows / timed(lambda: client.discard(OUT.format(rows) + " FORMAT Native")) / 1e6)
        above.append(peak.above_idle)
    bare = statistics.median(floor["rows per second"]) / 1e6
    return [
        of_runs(f"{rows:,} rows out as Native", speeds, "M rows/s"),
        of_runs("  memory above idle meanwhile", above, "MB", "<= 100"),
        Figure("  speed against query() writing to /dev/null", statistics.median(speeds) / bare, "ratio", ">= 0.25"),
    ]


def small_queries(server: Server, seconds: float, floor: dict[str, list[float]]) -> list[Figure]:
    """Eight clients, as fast as they can."""

    def work(number: int) -> int:
        client, done, end = server.client(), 0, time.monotonic() + seconds
        while time.monotonic() < end:
            client.ask(SMALL.format((number * 7 + done) % 100_000))
            done += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        speed = sum(pool.map(work, range(8))) / seconds
    bare = statistics.median(floor["queries per second"])
    return [
        Figure("small queries of 8 clients", speed, "per s"),
        Figure("  against query() in 8 threads", speed / bare, "ratio", ">= 0.35"),
    ]


def at_once(server: Server) -> list[Figure]:
    """64 connections, all of them with a query that runs when the last has come."""
    barrier = threading.Barrier(64)

    def work(number: int) -> bool:
        client = server.client()
        client.ask("SELECT 1")
        barrier.wait(60)
        return client.ask(f"SELECT sleep(0.5), {number}") == f"0\t{number}"

    with ThreadPoolExecutor(64) as pool:
        return [Figure("connections answered at once", sum(pool.map(work, range(64))), "of 64", ">= 64")]


def load(server: Server, seconds: float) -> tuple[list[Figure], dict[str, object]]:
    """Eight clients at 50 short queries/s in all, two streaming inserts, two long selects; memory each second."""
    stop, errors, times, memory = threading.Event(), [], [], []
    counts = {"inserts": 0, "long selects": 0}
    admin = server.client()
    for number in range(2):
        admin.ask(f"CREATE TABLE bench.load_{number} {TABLE}")

    def guarded(work: Callable[[], None]) -> None:
        try:
            while not stop.is_set():
                work()
        except (OSError, RuntimeError, http.client.HTTPException) as error:  # counted and shown
            errors.append(repr(error))

    def short(client: Client) -> None:
        began = time.monotonic()
        client.ask(FAST)
        times.append(time.monotonic() - began)
        stop.wait(max(0.0, EVERY - (time.monotonic() - began)))

    def streaming(client: Client, number: int) -> None:
        def slowly() -> Iterator[bytes]:
            for _ in range(20):
                yield BLOCK
                stop.wait(0.1)

        answer = client.post(slowly(), query=f"INSERT INTO bench.load_{number} FORMAT TSV")
        text = answer.read().decode(errors="replace")
        if answer.status != 200:
            raise RuntimeError(text)
        counts["inserts"] += 1
        if counts["inserts"] % 20 == 0:
            client.ask(f"TRUNCATE TABLE bench.load_{number} SYNC")

    def long(client: Client) -> None:
        if client.discard(LONG) != 32_000_000:
            raise RuntimeError("a long answer was cut")
        counts["long selects"] += 1
        stop.wait(0.5)

    work: list[Callable[[], None]] = []
    work += [partial(short, server.client()) for _ in range(8)]
    work += [partial(streaming, server.client(), number) for number in range(2)]
    work += [partial(long, server.client()) for _ in range(2)]
    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1)
        memory.append(server.memory())
    stop.set()
    for thread in threads:
        thread.join()
    fifth = max(len(memory) // 5, 1)
    ordered = sorted(times)
    median, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    asked = 8 / EVERY
    figures = [
        Figure(
            f"load for {seconds:.0f} s: short queries, of the {asked:.0f} a second asked",
            len(times) / seconds / asked,
            "ratio",
            ">= 0.9",
        ),
        Figure("  p50 of short queries", median * 1000, "ms"),
        Figure("  p99 of short queries", p99 * 1000, "ms"),
        Figure("  p99 against p50", p99 / median, "times", "<= 12"),
        Figure("  errors", len(errors), "", "<= 0"),
        Figure(
            "  memory, last fifth against second fifth",
            _mean(memory[-fifth:]) / _mean(memory[fifth : 2 * fifth] or memory),
            "ratio",
            "<= 1.1",
        ),
    ]
    return figures, {"errors": errors[:20], "memory": memory, **counts}


def _mean(values: list[float]) -> float:
    return statistics.fmean(values)


def bare_floor(rows: int, seconds: float) -> None:
    """The same work by query() in this process; prints JSON. Runs in the environment that has the engine. No rows: only the start."""
    from embedded.engine.engine import Engine
    from embedded.users import read_users

    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    os.environ.update(dict.fromkeys(PASSWORDS, "x"))
    users = read_users(REPO / "clickhouse/config/users.xml", os.environ)
    engine = Engine(folder, REPO / "clickhouse/config")
    if not rows:
        engine.ask("SELECT 1")
        engine.close()
        shutil.rmtree(folder, ignore_errors=True)
        return
    fill(engine.ask)
    connection = engine.connect(users["default"])
    speeds = []
    for size in (rows // 10, rows, rows, rows):
        sql = OUT.format(size) + " INTO OUTFILE '/dev/null' TRUNCATE FORMAT Native"
        speeds.append(size / timed(lambda sql=sql: connection.run(sql)))

    def work(number: int) -> int:
        own, done, end = engine.connect(users["default"]), 0, time.monotonic() + seconds
        while time.monotonic() < end:
            own.run(SMALL.format((number * 7 + done) % 100_000))
            done += 1
        own.close()
        return done

    with ThreadPoolExecutor(8) as pool:
        queries = sum(pool.map(work, range(8))) / seconds
    connection.close()
    engine.close()
    shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"rows per second": speeds[1:], "queries per second": [queries]}))


def floor_process(rows: int, seconds: float) -> str:
    """Output of a process of `bare_floor`."""
    command = [VENV / "bin/python", "-P", "-c", START, __file__, "--floor", str(rows), str(seconds)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return ran.stdout


def measured_floor(rows: int, seconds: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads(floor_process(rows, seconds))
    return found


def fill(ask: Callable[[str], str]) -> None:
    ask("CREATE DATABASE bench")
    ask(f"CREATE TABLE bench.small {TABLE}")
    ask("INSERT INTO bench.small SELECT number, number * 7919 % 1000003, toString(number % 1000) FROM numbers(100000)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--load-seconds", type=float, help="how long the mixed load runs")
    parser.add_argument("--floor", nargs=2, type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.floor:
        bare_floor(int(given.floor[0]), given.floor[1])
        return 0
    rows, blocks, runs, seconds = (5_000_000, 20, 1, 2.0) if given.quick else (50_000_000, 200, 5, 10.0)
    lasting = given.load_seconds if given.load_seconds is not None else (10 if given.quick else 300)
    figures: list[Figure] = []
    raw: dict[str, object] = {}
    if {"answers", "small"} & set(given.only):
        raw["floor"] = floor = measured_floor(rows, seconds)
    if "starts" in given.only:
        figures += starts()
    if "inserts" in given.only:
        figures += inserts(blocks, runs)
    server = Server()
    server.start()
    try:
        fill(server.client().ask)
        if "answers" in given.only:
            figures += answers(server, rows, runs, floor)
        if "small" in given.only:
            figures += small_queries(server, seconds, floor)
            figures += at_once(server)
        if "load" in given.only:
            under_load, details = load(server, lasting)
            figures += under_load
            raw |= details
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
    return show("embedded", figures, as_json=given.json, raw=raw)


if __name__ == "__main__":
    sys.exit(main())

"""How fast, how lean and how cheap a copy is, beside the floor and the peers of the same run.

Floor: `psql -c "COPY (SELECT ..) TO STDOUT" > /dev/null`. Peers: ClickHouse's own postgresql() function, and rows fetched as Python objects
and inserted by client.insert, as `PostgresHook.get_records` and most such pipelines do. Our time is from the start of COPY to the end of
publish, by the public entry point (elt.runs.whole_run.load_everything), verification included; before it stands only what is said.

Verification by checksums (`verify:`) is off, but where its own cost is measured. "Verification included" above are the counts.

What is not equal: the floor writes nothing and verifies nothing; postgresql() and the fetched rows are neither verified nor published, and
hold no snapshot; the fetched rows are measured on a tenth of the table, and the rate is quoted. dlt, in an environment of its own that is
thrown away, writes Parquet files and loads nothing; it, too, gets a tenth, from a table of its own. Our tables are merged to
their last form after the publish, as those of postgresql() are after its insert.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib comes later, see below
# This file has the name of a module of the standard library: the folder goes behind that.
sys.path = [place for place in sys.path if os.path.abspath(place) != HERE] + [HERE, os.path.dirname(HERE)]  # noqa: PTH100, PTH120

import argparse  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402
from typing import Any  # noqa: E402

import psycopg2  # noqa: E402
from elt.sources.postgres.options import PostgresTable  # noqa: E402
from elt.sources.postgres.ranges import sessions  # noqa: E402
from report import Figure, of_runs, show, whole_size_bar  # noqa: E402
from servers import VENVS, folder, source, warehouse  # noqa: E402
from stack.native.postgres import find_binaries  # noqa: E402
from testing.servers import REPO, PostgresServer, WarehouseProcess, run_sql  # noqa: E402

NARROW = """CREATE TABLE narrow (order_item_id bigint PRIMARY KEY, order_id bigint NOT NULL, product_id bigint NOT NULL, quantity int NOT NULL,
    unit_price numeric(14, 2) NOT NULL, subtotal numeric(14, 2) NOT NULL, updated_at timestamptz NOT NULL)"""
NARROW_ROWS = """INSERT INTO narrow SELECT i, i / 3, i % 5000, 1 + i % 4, 1 + (i % 9999) / 100.0, (1 + i % 4) * (1 + (i % 9999) / 100.0),
    timestamptz '2026-01-01' + i * interval '1 ms' FROM generate_series({}, {}) i"""
KINDS = (
    "int",
    "bigint",
    "text",
    "numeric(12,2)",
    "timestamptz",
    "date",
    "boolean",
    "double precision",
    "uuid",
    "varchar(30)",
)
VALUES = (
    "i % 1000",
    "i * 7",
    "md5(i::text)",
    "i / 100.0",
    "timestamptz '2026-01-01' + i * interval '1 s'",
    "date '2020-01-01' + i % 2000",
    "i % 2 = 0",
    "sqrt(i)",
    "md5(i::text)::uuid",
    "'text ' || i",
)
# A process of its own, so that its memory and CPU are the loader's alone.
ONE_LOAD = """
import json, os, resource, sys, time
import elt.cli.main
from elt.runs.modes import incremental
from elt.sources.postgres import ranges
from elt.runs import load
from warehouse import ops
from elt.settings import Settings
from elt.runs.whole_run import Listener, load_everything
def peak():
    return int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) * 1024
began = []
stream = load.copy_rows
def timed(*args):
    began.append((time.monotonic(), time.process_time()))
    return stream(*args)
load.copy_rows = timed
if 'ranges' in sys.argv:
    # Whatever the machine is like.
    ranges.sessions = lambda entry, hosts: entry.ranges
if 'follow' in sys.argv:
    # However much there is to read.
    incremental.WHOLE_FROM_SHARE = 2
base = peak()
done = load_everything(Settings(), Listener(lambda _: None, lambda _: None), tables=[sys.argv[1]], full_refresh='full' in sys.argv,
    verify='verify' in sys.argv)
end, cpu = time.monotonic(), time.process_time()
(one,) = done.loads
print(json.dumps({'seconds': end - began[0][0], 'cpu': cpu - began[0][1], 'memory': peak() - base, 'rows': one.rows, 'mode': one.mode,
    'present': done.published.tables[0].rows}))
"""
# dlt from Postgres to Parquet files: its time from the start of the pipeline's run to its end.
ONE_DLT = """
import json, sys, time
import dlt
from dlt.sources.sql_database import sql_table
dsn, table, backend, folder = sys.argv[1:]
more = {'backend_kwargs': {'conn': dsn}} if backend == 'connectorx' else {}
pipeline = dlt.pipeline(backend, pipelines_dir=folder, dataset_name='out', destination=dlt.destinations.filesystem(folder + '/files'))
started = time.monotonic()
pipeline.run(sql_table(dsn.replace('://', '+psycopg2://', 1), table, backend=backend, chunk_size=100_000, **more), loader_file_format='parquet')
seconds = time.monotonic() - started
rows = pipeline.last_trace.last_normalize_info.row_counts[table]
print(json.dumps({'seconds': seconds, 'rows': rows, 'dlt': dlt.__version__}))
"""
DLT = ("dlt[sql-database,parquet,filesystem]==1.31.*", "connectorx", "psycopg2-binary")
SHARES = (0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
PARTS = ("narrow", "wide", "verify", "incremental", "share", "dlt", "large")


class Bench:
    """The servers, the source's tables, and one way to time each competitor."""

    def __init__(self, postgres: PostgresServer, clickhouse: WarehouseProcess, folder: Path, *, quick: bool) -> None:
        self.quick = quick
        self.postgres, self.clickhouse, self.folder = postgres, clickhouse, folder
        self.dsn = postgres.dsn()
        self.pipeline = folder / "pipeline.yml"
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{REPO}/airflow/plugins:{REPO}/scripts",
            "SOURCE_URL": self.dsn,
            "ELT_PIPELINE": str(self.pipeline),
            "ELT_PLAN": str(folder / "plan.json"),
            **clickhouse.server.env(),
        }
        self.raw: dict[str, Any] = {}

    def sql(self, statement: str) -> None:
        run_sql(self.dsn, statement)

    def settle(self) -> None:
        """Nothing of what made the tables is still to be done while they are read."""
        self.sql("VACUUM ANALYZE")
        self.sql("CHECKPOINT")

    def idle(self) -> None:
        """Returns when the warehouse has merged all it has and the disk has it: what one leaves to be done must not slow the next.

        Merges are asked for, since those that come by themselves begin up to ten seconds after a load.
        """
        with self.clickhouse.server.client("default", send_receive_timeout=3600) as client:
            for (name,) in client.query("SELECT name FROM system.tables WHERE database = 'raw'").result_rows:
                client.command(f"OPTIMIZE TABLE raw.`{name}` FINAL", settings={"optimize_skip_merged_partitions": 1})
            while client.query("SELECT count() FROM system.merges").first_row[0]:
                time.sleep(0.1)
        os.sync()

    def tables(self, *lines: str) -> None:
        entries = "".join(f"      - {{{line}}}\n" for line in lines)
        self.pipeline.write_text(
            f"sources:\n  - name: bench\n    kind: postgres\n    verify: never\n    tables:\n{entries}"
        )

    def load(
        self, table: str, *, full: bool = True, ranges: bool = False, verify: bool = False, follow: bool = False
    ) -> dict[str, Any]:
        """With `ranges` by as many sessions as pipeline.yml says, be it on a machine where the loader takes one.

        With `follow` an incremental table is not copied whole, however much of it there is to read.
        """
        asked = (("full", full), ("ranges", ranges), ("verify", verify), ("follow", follow))
        words = [word for word, said in asked if said]
        command = [sys.executable, "-c", ONE_LOAD, table, *words]
        self.idle()
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        result: dict[str, Any] = json.loads(done.stdout)
        return self._kept(f"{'verified ' if verify else ''}load {table}", result)

    def floor(self, table: str) -> dict[str, Any]:
        """Seconds that psql takes to read the table, and of processor time that psql itself takes for it."""
        psql = str(find_binaries(VENVS).folder / "psql")
        self.idle()
        started = time.monotonic()
        command = [psql, "-X", "-q", self.dsn, "-c", f"COPY (SELECT * FROM {table}) TO STDOUT"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return self._kept(f"floor {table}", {"seconds": seconds, "cpu": cpu})

    def own_function(self, table: str) -> float:
        """INSERT .. SELECT FROM postgresql(), as the warehouse's admin, since the loader may not."""
        p = self.postgres
        self.idle()
        with self.clickhouse.server.client("default", send_receive_timeout=3600) as client:
            client.command("DROP TABLE IF EXISTS raw.peer")
            client.command(f"CREATE TABLE raw.peer AS raw.{table}")
            columns = client.query(
                f"SELECT arrayStringConcat(groupArray(name), ', ') FROM (SELECT name FROM system.columns WHERE database = 'raw'"
                f" AND table = '{table}' AND name NOT LIKE '_elt%' ORDER BY position)"
            ).first_row[0]
            started = time.monotonic()
            client.command(
                f"INSERT INTO raw.peer ({columns}) SELECT {columns} FROM postgresql('127.0.0.1:{p.port}', 'ecommerce_db', '{table}',"
                f" 'ecommerce', '{p.password}')"
            )
            seconds = time.monotonic() - started
            client.command("DROP TABLE raw.peer")
        return float(self._kept(f"postgresql() {table}", {"seconds": seconds})["seconds"])

    def fetched(self, table: str, rows: int) -> float:
        self.idle()
        with self.clickhouse.server.client("default") as client:
            client.command("DROP TABLE IF EXISTS raw.peer")
            client.command(f"CREATE TABLE raw.peer AS raw.{table}")
            started = time.monotonic()
            connection = psycopg2.connect(self.dsn)
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM {table} LIMIT {rows}")
                names = [column.name for column in cursor.description]
                client.insert("raw.peer", cursor.fetchall(), column_names=names)
            connection.close()
            seconds = time.monotonic() - started
            client.command("DROP TABLE raw.peer")
        return float(self._kept(f"fetched {table}", {"seconds": seconds, "rows": rows})["seconds"])

    def dlt(self, table: str, backend: str) -> float:
        """Seconds that dlt takes from the table to Parquet files."""
        python = self.folder / "dlt" / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(self.folder / "dlt")], check=True, capture_output=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *DLT], check=True, capture_output=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            environment = {"PATH": os.environ["PATH"], "HOME": folder, "RUNTIME__DLTHUB_TELEMETRY": "false"}
            command = [str(python), "-c", ONE_DLT, self.dsn, table, backend, folder]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=folder)
        result = json.loads(done.stdout.splitlines()[-1])
        return float(self._kept(f"dlt {backend} {table}", result)["seconds"])

    def _kept(self, what: str, result: dict[str, Any]) -> dict[str, Any]:
        result["load_average"] = os.getloadavg()[0]
        self.raw.setdefault(what, []).append(result)
        print(f"{what}: {result}", file=sys.stderr, flush=True)
        return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, and two runs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part, or several; all by default")
    parser.add_argument(
        "--memory-rows", type=int, default=50_000_000, help="rows of the large table for the memory figure"
    )
    options = parser.parse_args()
    rows, wide_rows, runs = (1_000_000, 100_000, 2) if options.quick else (10_000_000, 1_000_000, 5)
    parts = options.only or (PARTS[:4] if options.quick else PARTS)
    figures: list[Figure] = []
    with folder() as at, source(at) as postgres, warehouse(at) as clickhouse:
        bench = Bench(postgres, clickhouse, at, quick=options.quick)
        if {"narrow", "verify", "incremental"} & set(parts):
            make_narrow(rows, bench)
        if "wide" in parts:
            make_wide(wide_rows, bench)
        if "narrow" in parts:
            figures += full("narrow", rows, runs, bench)
        if "wide" in parts:
            figures += full("wide", wide_rows, runs, bench)
        if "verify" in parts:
            figures += verified(rows, runs, bench)
        if "incremental" in parts:
            figures += incremental(rows, runs, bench)
        if "share" in parts:
            for some in (rows // 10, rows // 2):
                figures += share(some, runs // 2 + 1, bench)
        if "dlt" in parts:
            figures += beside_dlt(rows // 10, runs, bench)
        if "large" in parts:
            figures += large(options.memory_rows, bench)
        name = "-".join(["copy", *(options.only or [])])
        return show(name, figures, as_json=options.json, raw=bench.raw)


def make_narrow(rows: int, bench: Bench) -> None:
    bench.sql(NARROW)
    bench.sql(NARROW_ROWS.format(1, rows))
    bench.sql("CREATE INDEX ON narrow (updated_at)")
    bench.settle()


def make_wide(rows: int, bench: Bench) -> None:
    columns = ", ".join(f"c{n} {KINDS[n % 10]}" for n in range(39))
    values = ", ".join(VALUES[n % 10] for n in range(39))
    bench.sql(f"CREATE TABLE wide (id bigint PRIMARY KEY, {columns})")
    bench.sql(f"INSERT INTO wide SELECT i, {values} FROM generate_series(1, {rows}) i")
    bench.settle()


def full(table: str, rows: int, runs: int, bench: Bench) -> list[Figure]:
    bench.tables(f"name: public.{table}")
    bench.load(table)
    bench.floor(table)
    # What is compared most closely is measured one after the other, and in both orders.
    floors, ours, rates, work, memory, functions, fetched, two = [], [], [], [], [], [], [], []
    for _ in range(runs):
        floor = bench.floor(table)
        floors.append(floor["seconds"])
        one = bench.load(table)
        assert one["rows"] == one["present"] == rows, one
        ours.append(one["seconds"])
        rates.append(rows / one["cpu"] / 1e6)
        work.append(one["cpu"] / floor["cpu"])
        memory.append(one["memory"] / 1e6)
        bench.tables(f"name: public.{table}, ranges: 2")
        both = bench.load(table, ranges=True)["seconds"] + bench.load(table, ranges=True)["seconds"]
        bench.tables(f"name: public.{table}")
        two.append((one["seconds"] + bench.load(table)["seconds"]) / both)
        functions.append(bench.own_function(table))
        fetched.append(bench.fetched(table, rows // 10) * 10)
    pairs = list(zip(floors, ours, strict=True))
    # Where it takes one, `ranges: 2` is the same load.
    taken = sessions(PostgresTable(name=f"public.{table}", ranges=2), ("127.0.0.1", "127.0.0.1"))
    figures = [
        of_runs(
            f"{table}: share of the floor's speed",
            [floor / own for floor, own in pairs],
            "of floor",
            whole_size_bar(">= 0.85", quick=bench.quick),
        ),
        of_runs(f"{table}: rows a second", [rows / own / 1e6 for own in ours], "M rows/s"),
        of_runs(
            f"{table}: beside postgresql()",
            [o / own for o, own in zip(functions, ours, strict=True)],
            "times",
            whole_size_bar(">= 1.3", quick=bench.quick),
        ),
        of_runs(f"{table}: beside fetched rows", [o / own for o, own in zip(fetched, ours, strict=True)], "times"),
        Figure(f"{table}: sessions that `ranges: 2` takes here", taken, ""),
        of_runs(f"{table}: two sessions beside one", two, "times", ">= 1.0" if taken > 1 else ""),
        of_runs(f"{table}: memory above the imports", memory, "MB", "<= 30"),
    ]
    figures.append(of_runs(f"{table}: rows a CPU second of the loader", rates, "M rows/s"))
    return [*figures, of_runs(f"{table}: CPU of the loader beside psql's", work, "times", "<= 2")]


def verified(rows: int, runs: int, bench: Bench) -> list[Figure]:
    """Cost of comparing every value of a table that was copied whole, and of one that was not."""
    bench.tables("name: public.narrow")
    bench.load("narrow")
    costs, memory = [], []
    for _ in range(runs):
        plain, both = bench.load("narrow"), bench.load("narrow", verify=True)
        assert both["rows"] == rows, both
        costs.append(both["seconds"] / plain["seconds"] - 1)
        memory.append(both["memory"] / 1e6)
    bench.tables("name: public.narrow, mode: incremental, cursor: updated_at, lookback: 0s")
    bench.load("narrow")
    carried = []
    for _ in range(runs):
        plain = bench.load("narrow")
        both = bench.load("narrow", full=False, verify=True)
        assert both["mode"] == "incremental" and both["present"] == rows, both
        carried.append(both["seconds"] / plain["seconds"])
    return [
        of_runs("narrow: verification, beside a full copy", costs, "times", "<= 3"),
        of_runs(
            "narrow: verification of all that an incremental load carries over, beside a full copy",
            carried,
            "times",
            "<= 3",
        ),
        of_runs("narrow: memory of a verified load above the imports", memory, "MB", "<= 30"),
    ]


def incremental(rows: int, runs: int, bench: Bench) -> list[Figure]:
    """1 % new rows on a table that is there; the lookback reads nothing else again."""
    bench.tables("name: public.narrow, mode: incremental, cursor: updated_at, lookback: 0s")
    bench.load("narrow")
    shares, top = [], rows
    for _ in range(runs):
        # Beside each other: what else the machine does changes within minutes.
        whole = bench.load("narrow")["seconds"]
        bench.sql(NARROW_ROWS.format(top + 1, top + rows // 100))
        top += rows // 100
        done = bench.load("narrow", full=False)
        assert done["mode"] == "incremental" and done["present"] == top, done
        shares.append(100 * done["seconds"] / whole)
    return [
        of_runs("narrow: 1 % new rows, cost of a full copy", shares, "%", whole_size_bar("<= 3", quick=bench.quick))
    ]


def share(rows: int, runs: int, bench: Bench) -> list[Figure]:
    """The share of a table from which an incremental load costs more than a full copy: of rows that are published, and of new ones.

    Each load is timed beside a full copy, and the shares in turn, since what else the machine does changes within minutes.
    """
    bench.sql("DROP TABLE IF EXISTS part")
    bench.sql(NARROW.replace("narrow", "part"))
    bench.sql(NARROW_ROWS.replace("narrow", "part").format(1, rows))
    bench.sql("CREATE INDEX ON part (updated_at)")
    bench.settle()
    costs: dict[tuple[str, float], list[float]] = {}
    for _ in range(runs):
        for of_all in SHARES:
            some = int(rows * of_all)
            # The cursor grows by a millisecond a row.
            bench.tables(f"name: public.part, mode: incremental, cursor: updated_at, lookback: {some / 1000:.0f}s")
            whole = bench.load("part")["seconds"]
            done = bench.load("part", full=False, follow=True)
            assert done["mode"] == "incremental" and done["present"] == rows and abs(done["rows"] - some) < 1000, done
            costs.setdefault(("read again", of_all), []).append(done["seconds"] / whole)
            bench.tables("name: public.part, mode: incremental, cursor: updated_at, lookback: 0s")
            bench.sql(f"DELETE FROM part WHERE order_item_id > {rows - some}")
            bench.sql("VACUUM part")
            bench.load("part")
            bench.sql(NARROW_ROWS.replace("narrow", "part").format(rows - some + 1, rows))
            done = bench.load("part", full=False, follow=True)
            assert done["mode"] == "incremental" and done["present"] == rows, done
            costs.setdefault(("new", of_all), []).append(done["seconds"] / whole)
    title = f"{rows / 1e6:g}M rows"
    figures = [
        of_runs(f"{title}: {of_all:.0%} {kind}, cost of a full copy", values, "times")
        for (kind, of_all), values in sorted(costs.items())
    ]
    for kind in ("read again", "new"):
        line = [(of_all, median(costs[kind, of_all])) for of_all in SHARES]
        figures.append(Figure(f"{title}: share {kind} that costs a full copy", crossing(line), "of rows"))
    return figures


def crossing(line: list[tuple[float, float]]) -> float:
    """The share at which the cost, given by share, reaches 1; the last share where it does not."""
    for (low, cheap), (high, dear) in pairwise(line):
        if cheap <= 1 <= dear:
            return low + (high - low) * (1 - cheap) / (dear - cheap)
    return line[-1][0] if line[-1][1] < 1 else line[0][0]


def beside_dlt(rows: int, runs: int, bench: Bench) -> list[Figure]:
    """A tenth of the narrow table, copied by us and by dlt."""
    bench.sql(NARROW.replace("narrow", "tenth"))
    bench.sql(NARROW_ROWS.replace("narrow", "tenth").format(1, rows))
    bench.settle()
    bench.tables("name: public.tenth")
    figures = []
    for backend in ("connectorx", "pyarrow"):
        ratios = []
        for _ in range(runs):
            try:
                theirs = bench.dlt("tenth", backend)
            except subprocess.CalledProcessError as error:
                reason = (error.stderr if isinstance(error.stderr, str) else error.stderr.decode()).strip()
                print(f"dlt is left out, it cannot be installed or run here: {reason[-300:]}", file=sys.stderr)
                return figures
            ratios.append(theirs / bench.load("tenth")["seconds"])
        figures.append(of_runs(f"narrow, a tenth: beside dlt to Parquet, {backend}", ratios, "times"))
    return figures


def large(rows: int, bench: Bench) -> list[Figure]:
    bench.sql(NARROW.replace("narrow", "large").replace(" PRIMARY KEY", " NOT NULL"))
    bench.sql(NARROW_ROWS.replace("narrow", "large").format(1, rows))
    bench.settle()
    bench.tables("name: public.large")
    done = bench.load("large")
    assert done["rows"] == rows
    return [Figure(f"{rows / 1e6:.0f}M rows: memory above the imports", done["memory"] / 1e6, "MB", "<= 30")]


if __name__ == "__main__":
    sys.exit(main())

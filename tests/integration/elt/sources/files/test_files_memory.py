"""Files are read in a constant amount of memory, whatever their size."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = 400_000
MEASURE = """
import sys
from elt.mapping import WIDE
from elt.sources.files.options import FilesSource
from elt.sources.files.source import Files
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024
tables = [{"name": "t", "path": "*"}]
source = Files(FilesSource(name="plan", kind="files", url=sys.argv[1], tables=tables))
entries = source.discover().entries
before = peak()
with source.hold(entries, "tests") as held, source.join(entries, "tests", held.instant) as session:
    stream = session.describe(entries[0], WIDE).read(None, lambda rows, size: None)
    size = sum(len(piece) for piece in stream.chunks())
print(stream.sent.rows, size, before, peak())
"""


def _text(row: int) -> str:
    return f"{row:08}" * (1 + row * 7 % 47)


def _csv(folder: Path) -> None:
    with (folder / "t.csv").open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{row},{_text(row)}\n" for row in range(ROWS))


def _jsonl(folder: Path) -> None:
    with (folder / "t.jsonl").open("w") as file:
        file.writelines(f'{{"id": {row}, "text": "{_text(row)}"}}\n' for row in range(ROWS))


def _parquet(folder: Path) -> None:
    columns = {"id": pa.array(range(ROWS)), "text": pa.array([_text(row) for row in range(ROWS)])}
    pq.write_table(
        pa.table(columns), folder / "t.parquet", row_group_size=ROWS, compression="none", use_dictionary=False
    )


@pytest.mark.parametrize(("write", "megabytes"), [(_csv, 60), (_jsonl, 60), (_parquet, 100)])
def test_a_read_takes_little_above_the_imports(
    tmp_path: Path, repo: Path, write: Callable[[Path], None], megabytes: int
) -> None:
    write(tmp_path)
    path = ":".join([f"{repo}/airflow/plugins", f"{repo}/scripts", os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path.as_uri()],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows, size, before, after = map(int, done.stdout.split())
    assert rows == ROWS and size > 75_000_000
    assert after - before < megabytes * 1_000_000, f"{(after - before) / 1e6:.1f} MB above the imports"

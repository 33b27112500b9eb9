"""One instant of a folder: files that change or vanish after it publish nothing, and unchanged ones are known as such."""

import gzip
import io
import json
import os
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from elt.errors import SnapshotGoneError, SourceRefusedError
from elt.mapping import WIDE
from elt.sources.base import Held, Session, Source, Stream, Summed, TableReader, Versioned
from elt.sources.files.folder import FilesChangedError
from warehouse.errors import TerminalError, TransientError

CHANGED = "has changed since the run began; nothing was published, start the run again"


def quiet(rows: int, size: int) -> None:
    pass


def test_it_is_a_source_as_the_loader_knows_it(plan: Any) -> None:
    plan.write("t.csv", "a\n1\n")
    source: Source = plan.source()
    entries = source.discover().entries
    with source.hold(entries, "tests") as held, source.join(entries, "tests", held.instant) as session:
        is_held: Held = held
        is_session: Session = session
        reader: TableReader = is_session.describe(entries[0], WIDE)
        stream: Stream = reader.read(None, quiet)
        assert b"".join(stream.chunks()) == b"1\t0\n" and stream.sent.rows == 1 and stream.sent.bytes == 4
        assert isinstance(reader, Versioned) and isinstance(reader, Summed) and is_held.horizon is None
    selection = source.discover()
    assert selection.sizes == {"plan__t": 4} and selection.identity == f"files:{plan.folder}"


def test_the_text_of_an_instant_is_short_and_opens_it_elsewhere(plan: Any) -> None:
    for number in range(100):
        plan.write(f"a rather long name of a file {number}.csv", "a\n1\n")
    source = plan.source()
    entries = source.discover().entries
    with source.hold(entries, "tests") as held:
        assert len(held.instant) < 60
        with plan.source().join(entries, "elsewhere", held.instant) as session:
            assert session.describe(entries[0], WIDE).mapping.estimated_rows == 100


@pytest.mark.parametrize("change", ["other bytes", "one more file", "one file less", "another name"])
def test_a_file_that_changed_since_the_instant_opens_nothing(plan: Any, change: str) -> None:
    plan.write("a.csv", "a\n1\n")
    plan.write("b.csv", "a\n2\n")
    source = plan.source()
    entries = source.discover().entries
    with source.hold(entries, "tests") as held:
        if change == "other bytes":
            # Of one size and one time, as an editor may leave it.
            before = (plan.folder / "b.csv").stat()
            plan.write("b.csv", "a\n3\n")
            os.utime(plan.folder / "b.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
        elif change == "one more file":
            plan.write("c.csv", "a\n1\n")
        elif change == "one file less":
            (plan.folder / "b.csv").unlink()
        else:
            (plan.folder / "b.csv").rename(plan.folder / "c.csv")
        with pytest.raises(SnapshotGoneError, match=f"A file of plan__t in {plan.folder} {CHANGED}"):  # noqa: SIM117
            with source.join(entries, "tests", held.instant):
                pass


def _csv(path: Path, value: int) -> None:
    path.write_text("a\n" + f"{value}\n" * 100_000)


def _packed(path: Path, value: int) -> None:
    path.write_bytes(gzip.compress(("a\n" + f"{value}\n" * 100_000).encode(), mtime=0))


def _parquet(path: Path, value: int) -> None:
    pq.write_table(pa.table({"a": [value] * 100_000}), path)


@pytest.mark.parametrize(("name", "write"), [("t.csv", _csv), ("t.csv.gz", _packed), ("t.parquet", _parquet)])
def test_a_file_that_changes_while_it_is_read_is_not_inserted(plan: Any, name: str, write: Any) -> None:
    """The hash is of the bytes that were read, so it does not matter when between two reads they changed."""
    write(plan.folder / name, 1)
    source = plan.source()
    entries = source.discover().entries
    with source.hold(entries, "tests") as held, source.join(entries, "tests", held.instant) as session:
        reader = session.describe(entries[0], WIDE)
        table = plan.create(reader)
        plan.insert(table, reader)
        write(plan.folder / name, 2)
        with pytest.raises(Exception) as caught:
            plan.insert(table, reader)
        assert CHANGED in str(caught.value)
        stream = reader.read(None, quiet)
        with pytest.raises(FilesChangedError):
            list(stream.chunks())
        assert isinstance(stream.error, FilesChangedError)
        with pytest.raises(FilesChangedError):
            reader.sums(["a"], 1, lambda: None)
        (plan.folder / name).unlink()
        with pytest.raises(FilesChangedError):
            list(reader.read(None, quiet).chunks())


def test_an_instant_of_another_kind_is_gone(plan: Any) -> None:
    plan.write("t.csv", "a\n1\n")
    entries = plan.source().discover().entries
    with pytest.raises(SnapshotGoneError), plan.source().join(entries, "tests", "00000003-0000001B-1"):
        pass


def test_a_table_without_files_fails_or_keeps_what_is_published(plan: Any) -> None:
    plan.write("t.csv", "a\n1\n")
    source = plan.source(path="u*.csv")
    with pytest.raises(SourceRefusedError, match=r"t: no file in .* matches u\*\.csv"):  # noqa: SIM117
        with source.hold(source.discover().entries, "tests"):
            pass
    source = plan.source(path="u*.csv", on_error="keep")
    with source.hold(source.discover().entries, "tests") as held:
        ((entry, error),) = held.refused
        assert entry.target_name == "plan__t" and "no file in" in str(error)
    assert [*plan.source(path="u*.csv").check().mistakes] == [str(error)]


def test_the_version_changes_with_bytes_names_and_options_only(plan: Any) -> None:
    plan.write("t.csv", "a,b\n1,2\n")

    def version(**table: Any) -> str:
        source = plan.source(**table)
        entries = source.discover().entries
        with source.hold(entries, "tests") as held, source.join(entries, "tests", held.instant) as session:
            return str(session.describe(entries[0], WIDE).version())

    first = version()
    assert json.loads(first)["files"].keys() == {"t.csv"}
    (plan.folder / "t.csv").touch()
    assert version(on_error="keep") == first
    seen = {first, version(exclude=["b"]), version(types={"a": "String"}), version(nulls=["1"]), version(header=False)}
    # Which reads other texts into columns of the same types.
    seen.add(version(encoding="latin-1"))
    plan.write("t.csv", "a,b\n1,3\n")
    seen.add(version())
    (plan.folder / "t.csv").rename(plan.folder / "u.csv")
    seen.add(version())
    assert len(seen) == 8


def test_a_vanished_file_is_told_by_the_version_before(plan: Any) -> None:
    plan.write("a.csv", "a\n1\n")
    plan.write("b.csv", "a\n1\n")
    before = plan.load().reader.version()
    (plan.folder / "b.csv").unlink()
    after = plan.load()
    assert after.rows == [(1,)]
    assert after.reader.changes_since(before) == "b.csv had rows of plan.t and is not there any more"
    assert after.reader.changes_since(after.reader.version()) == ""


def test_another_thread_stops_a_read(plan: Any) -> None:
    plan.write("t.csv", "a\n" + "1\n" * 100_000)
    source = plan.source()
    entries = source.discover().entries
    with source.hold(entries, "tests") as held, source.join(entries, "tests", held.instant) as session:
        chunks = session.describe(entries[0], WIDE).read(None, quiet).chunks()
        next(chunks)
        session.cancel()
        with pytest.raises(TransientError, match="was stopped"):
            list(chunks)
        session.again()
        assert session.describe(entries[0], WIDE).mapping.estimated_rows == 100_000


def test_a_file_that_cannot_be_read_is_named(plan: Any) -> None:
    plan.write("t.csv.gz", gzip.compress(b"a\n1\n")[:-4])
    with pytest.raises(TerminalError, match=r"t\.csv\.gz cannot be unpacked"):
        plan.load()
    plan.write("t.csv.gz", b"a\n1\n")
    with pytest.raises(TerminalError, match=r"t\.csv\.gz cannot be read \(Not a gzipped file"):
        plan.load()
    (plan.folder / "t.csv.gz").unlink()
    plan.write("t.parquet", b"PAR1 and more")
    with pytest.raises(TerminalError, match=r"t\.parquet is no Parquet file"):
        plan.load()
    (plan.folder / "t.parquet").unlink()
    plan.write("t.xlsx", b"PK and more")
    with pytest.raises(TerminalError, match=r"t\.xlsx is no workbook"):
        plan.load()
    (plan.folder / "t.xlsx").unlink()
    plan.write("t.txt", "a\n1\n")
    with pytest.raises(TerminalError, match=r"t\.txt: the ending tells no format"):
        plan.load()
    assert plan.load(format="csv").rows == [(1,)]


def test_an_error_that_no_reader_foresees_names_the_file_and_the_cause(plan: Any) -> None:
    """The library panics at a day that no calendar has."""
    plan.workbook("t.xlsx", {"s": [["day"], [date(2026, 1, 1)]]})
    content = io.BytesIO((plan.folder / "t.xlsx").read_bytes())
    with zipfile.ZipFile(content) as before, zipfile.ZipFile(plan.folder / "t.xlsx", "w") as after:
        for part in before.namelist():
            after.writestr(part, before.read(part).replace(b"<v>46023</v>", b"<v>-1e300</v>"))
    with pytest.raises(TerminalError, match=r"t\.xlsx cannot be read as excel \(PanicException: .*\); write it again"):
        plan.load()
    (mistake,) = plan.source().check().mistakes
    assert "t.xlsx cannot be read as excel" in mistake

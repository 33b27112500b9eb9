"""Files of each format into the real engine: every value arrives, and its checksums are those of the file."""

from __future__ import annotations

import gzip
import io
import json
import uuid
import zipfile
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

NASTY = [
    "plain",
    "",
    " blanks ",
    'a "quoted" word',
    "several\nlines\r\nof text\r",
    "tab\tand comma, semicolon; and |",
    "back\\slash \\N \\t \\",
    "nothing \0 here",
    "emoji 🛒 and ä",
    "\\N",
    "NULL",
    "'single'",
    "\u2028",
]
INSTANT = "DateTime64(6, 'UTC')"


def as_csv(rows: list[list[str | None]]) -> str:
    """CSV with quotes around every text, and nothing for NULL."""
    quoted = [["" if value is None else '"' + value.replace('"', '""') + '"' for value in row] for row in rows]
    return "".join(",".join(row) + "\r\n" for row in quoted)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_of_csv(plan: Any, encoding: str) -> None:
    rows: list[list[str | None]] = [[str(i), text, None] for i, text in enumerate(NASTY)]
    plan.write("t.csv", as_csv([["Number of It", 'text `\\ "', "nothing"], *rows]).encode(encoding))
    table = plan.load(encoding="utf-16" if encoding == "utf-16" else "utf-8")
    assert table.types == {"Number of It": "Int64", 'text `\\ "': "String", "nothing": "Nullable(String)"}
    assert table.rows == [(i, text, None) for i, text in enumerate(NASTY)]
    assert table.sums == plan.sums(table)


CELL = st.one_of(
    st.none(), st.text(st.characters(codec="utf-8"), max_size=8), st.sampled_from([*NASTY, "1", "1.5", "2026-01-01"])
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=8)
    )
)
@example([["-0"], ["0"]])
@example([[None], [""]])
@example([["a", "b\r"]])
def test_any_texts_of_csv_arrive(plan: Any, rows: list[list[str | None]]) -> None:
    names: list[str | None] = [f"c {place}" for place in range(len(rows[0]))]
    # An empty line is no row, as it is none of a column that may be NULL.
    rows = [row for row in rows if row != [None]]
    plan.write("t.csv", as_csv([names, *rows]))
    table = plan.load(header=True, types={str(name): "String" for name in names})
    assert table.rows == [tuple(row) for row in rows]
    assert table.sums == plan.sums(table)
    # And with the types that are inferred the same values, whatever they are printed as.
    table = plan.load(header=True)
    assert len(table.rows) == len(rows) and table.sums == plan.sums(table)


def test_types_of_csv(plan: Any) -> None:
    plan.write(
        "t.csv",
        "id;price;huge;day;at;zoned;yes;code;float\n"
        "1;19.99;1234567890123456789012.5;2026-02-03;2026-02-03 04:05;2026-02-03T04:05:06+02:00;true;007;1e5\n"
        "-9223372036854775808;-.5;0;0001-01-01;9999-12-31T23:59:59.999999;2026-02-03 04:05:06.25Z;FALSE;1;nan\n"
        "5;-0.00;-0.0;9999-12-31;1969-12-31 23:59:59.5;1900-01-01T00:00:00-0330;True;2;-inf\n",
    )
    table = plan.load(types={"float": "Float64"})
    assert table.types == {
        "id": "Int64",
        "price": "Decimal(18, 2)",
        "huge": "Decimal(38, 1)",
        "day": "Date32",
        "at": INSTANT,
        "zoned": INSTANT,
        "yes": "Bool",
        "code": "String",
        "float": "Float64",
    }
    assert [row[0] for row in table.rows] == [1, -(1 << 63), 5]
    assert [row[1] for row in table.rows] == [Decimal("19.99"), Decimal("-0.5"), 0]
    assert [row[2] for row in table.rows] == [Decimal("1234567890123456789012.5"), 0, 0]
    assert [row[6:8] for row in table.rows] == [(True, "007"), (False, "1"), (True, "2")]
    texts = plan.admin.query(
        f"SELECT toString(day), toString(at), toString(zoned), toString(float) FROM raw.{table.name} ORDER BY _order"
    )
    assert texts.result_rows == [
        ("2026-02-03", "2026-02-03 04:05:00.000000", "2026-02-03 02:05:06.000000", "100000"),
        ("0001-01-01", "9999-12-31 23:59:59.999999", "2026-02-03 04:05:06.250000", "nan"),
        ("9999-12-31", "1969-12-31 23:59:59.500000", "1900-01-01 03:30:00.000000", "-inf"),
    ]
    assert table.sums == plan.sums(table)


def test_types_that_pipeline_yml_gives_take_more_texts(plan: Any) -> None:
    plan.write("t.csv", "a;b;c;d;e;f\n007;1,500;5,;Yes;2026-02-03;+,5\n+5;-,5;1;0;2026-02-03T04:05Z;1E3\n;;;;;\n")
    types = {"a": "Int64", "b": "Decimal(4, 2)", "c": "Decimal(40, 1)", "d": "Bool", "e": "DateTime64", "f": "Float64"}
    table = plan.load(types=types, decimal=",")
    assert table.rows[0][:4] == (7, Decimal("1.5"), 5, True)
    assert table.rows[1][:4] == (5, Decimal("-0.5"), 1, False)
    assert table.rows[2] == (None,) * 6
    assert [row[5] for row in table.rows] == [0.5, 1000.0, None]
    assert table.sums == plan.sums(table)


def test_files_of_other_columns_and_the_path_of_each(plan: Any) -> None:
    (plan.folder / "2026").mkdir()
    plan.write("2026/b.csv", "target;month\n5;2026-01-01\n")
    plan.write("a.csv.gz", gzip.compress(b"month,note\n2026-02-01,x\n"))
    plan.write("c.csv", "month,target\n")
    table = plan.load(path="**/*.csv*", file_column="file")
    assert table.types == {"target": "Nullable(Int64)", "month": "Date32", "note": "Nullable(String)", "file": "String"}
    assert table.rows == [(5, date(2026, 1, 1), None, "2026/b.csv"), (None, date(2026, 2, 1), "x", "a.csv.gz")]
    assert table.sums == plan.sums(table)
    (checked,) = plan.source(path="**/*.csv*").check().tables
    assert checked.rows == 2 and "note is not in 2026/b.csv, c.csv: NULL" in checked.notes
    assert "inferred: target Int64, month Date32, note String" in checked.notes


@pytest.mark.parametrize("text", ["a,b\n", "a\n"])
def test_a_header_alone_is_a_table_without_rows(plan: Any, text: str) -> None:
    plan.write("t.csv", text)
    table = plan.load(header=True)
    assert table.rows == [] and set(table.types.values()) == {"String"}
    assert table.sums == plan.sums(table)


def test_one_column_whose_rows_are_empty_texts(plan: Any) -> None:
    plan.write("t.csv", 'a\n""\nx\n')
    assert plan.load().rows == [("",), ("x",)]


def test_json_lines(plan: Any) -> None:
    lines = [
        '{"id": 1, "price": 19.990, "text": "a\\n\\u00e4🛒", "nested": {"x": [1.10, null, "\\u20ac"]}, "yes": true, "day": "2026-01-02"}',
        '{"id": 12345678901234567890, "price": 1, "text": "5", "mixed": 1, "yes": null, "day": "2026-01-03"}',
        "",
        '{"id": -1, "price": 0.01, "text": "", "mixed": "1", "e": 1e5, "day": "2026-01-04"}',
    ]
    plan.write("t.jsonl", "\n".join(lines))
    table = plan.load()
    assert table.types == {
        "id": "Decimal(38, 0)",
        "price": "Decimal(18, 3)",
        "text": "String",
        "nested": "Nullable(String)",
        "yes": "Nullable(Bool)",
        "day": "Date32",
        "mixed": "Nullable(String)",
        "e": "Nullable(String)",
    }
    assert [row[:3] for row in table.rows] == [
        (1, Decimal("19.99"), "a\nä🛒"),
        (12345678901234567890, 1, "5"),
        (-1, Decimal("0.01"), ""),
    ]
    assert [row[3:] for row in table.rows] == [
        ('{"x":[1.10,null,"€"]}', True, date(2026, 1, 2), None, None),
        (None, None, date(2026, 1, 3), "1", None),
        (None, None, date(2026, 1, 4), "1", "1e5"),
    ]
    assert table.sums == plan.sums(table)


def test_parquet(plan: Any) -> None:
    zone = timezone(timedelta(hours=2))
    columns: dict[str, pa.Array] = {
        "i8": pa.array([1, -2, None], pa.int8()),
        "u64": pa.array([1, (1 << 64) - 1, 3], pa.uint64()),
        "money": pa.array([Decimal("12.50"), None, Decimal("-0.01")], pa.decimal128(12, 2)),
        "tiny": pa.array([Decimal("1E-12"), Decimal(0), Decimal("99999999.000000000001")], pa.decimal128(20, 12)),
        "wide": pa.array([Decimal(10) ** 59, Decimal(1), Decimal(-1)], pa.decimal256(60, 0)),
        "f64": pa.array([0.1, float("nan"), None], pa.float64()),
        "f32": pa.array([0.1, -0.0, 1e30], pa.float32()),
        "yes": pa.array([True, False, None]),
        "text": pa.array(["a\tb\n\\N", "", None]),
        "word": pa.array(["x", "y", "x"]).dictionary_encode(),
        "bytes": pa.array([b"a\0", b"", None], pa.binary()),
        "day": pa.array([date(1, 1, 1), date(9999, 12, 31), None]),
        "wall": pa.array([datetime(2026, 1, 2, 3, 4, 5, 6), datetime(1900, 1, 1), None], pa.timestamp("us")),
        "instant": pa.array([datetime(2026, 1, 2, 3, tzinfo=zone), None, None], pa.timestamp("ns", "Europe/Berlin")),
        "time": pa.array([time(1, 2, 3), None, time(0)], pa.time64("us")),
        "list": pa.array([[1, None], [], None], pa.list_(pa.int64())),
        "struct": pa.array(
            [{"a": Decimal("1.50"), "b": "ä"}, None, None], pa.struct([("a", pa.decimal128(5, 2)), ("b", pa.string())])
        ),
        "none": pa.nulls(3),
        "empty": pa.nulls(3, pa.int32()),
    }
    pq.write_table(pa.table(columns), plan.folder / "t.parquet", row_group_size=2)
    table = plan.load()
    assert table.types == {
        "i8": "Nullable(Int64)",
        "u64": "Decimal(38, 0)",
        "money": "Nullable(Decimal(18, 2))",
        "tiny": "Decimal(38, 12)",
        "wide": "Decimal(76, 0)",
        "f64": "Nullable(Float64)",
        "f32": "Float64",
        "yes": "Nullable(Bool)",
        "text": "Nullable(String)",
        "word": "String",
        "bytes": "Nullable(String)",
        "day": "Nullable(Date32)",
        "wall": f"Nullable({INSTANT})",
        "instant": f"Nullable({INSTANT})",
        "time": "Nullable(String)",
        "list": "Nullable(String)",
        "struct": "Nullable(String)",
        "none": "Nullable(String)",
        "empty": "Nullable(Int64)",
    }
    assert table.sums == plan.sums(table)
    assert [row[:5] for row in table.rows] == [
        (1, 1, Decimal("12.50"), Decimal("1E-12"), 10**59),
        (-2, (1 << 64) - 1, None, 0, 1),
        (None, 3, Decimal("-0.01"), Decimal("99999999.000000000001"), -1),
    ]
    assert table.rows[0][5:12] == (0.1, 0.10000000149011612, True, "a\tb\n\\N", "x", "a\0", date(1, 1, 1))
    assert table.rows[0][14:] == ("01:02:03.000000", "[1, null]", '{"a": "1.50", "b": "ä"}', None, None)
    walls = plan.admin.query(
        f"SELECT toString(wall), toString(instant) FROM raw.{table.name} ORDER BY _order"
    ).result_rows
    assert walls[:2] == [
        ("2026-01-02 03:04:05.000006", "2026-01-02 01:00:00.000000"),
        ("1900-01-01 00:00:00.000000", None),
    ]


def test_parquet_of_other_types(plan: Any) -> None:
    one = uuid.UUID("00000000-0000-0000-0000-0000000000ff")
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([one.bytes, None], pa.binary(16)))
    nested = pa.struct([("at", pa.timestamp("ns", "Europe/Berlin")), ("day", pa.date32())])
    columns: dict[str, pa.Array] = {
        "uuid": ids,
        "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}', None])),
        "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None], pa.int8())),
        "tensor": pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2], None], pa.list_(pa.int32(), 2))
        ),
        "uuids": pa.StructArray.from_arrays([ids], ["id"]),
        "ns": pa.array([[1, 1_000, None], None], pa.list_(pa.timestamp("ns"))),
        "us": pa.array([[1_000], None], pa.list_(pa.timestamp("us"))),
        "far": pa.array([[316_000_000_000_000_000], None], pa.list_(pa.timestamp("us"))),
        "zoned": pa.array([{"at": 1, "day": date(2026, 1, 2)}, None], nested),
        "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.timestamp("ns"))),
        "time": pa.array([1, None], pa.time64("ns")),
        "times": pa.array([[1], None], pa.list_(pa.time64("ns"))),
        "wait": pa.array([5, None], pa.duration("ns")),
        "view": pa.array([b"a", None], pa.binary_view()),
        "list": pa.array([[1], None], pa.list_view(pa.int32())),
    }
    pq.write_table(pa.table(columns), plan.folder / "t.parquet")
    table = plan.load()
    assert {name for name, kind in table.types.items() if kind != "Nullable(String)"} == {"uuids", "bool8"}
    assert dict(zip(table.types, table.rows[0], strict=True)) == {
        "uuid": str(one),
        "json": '{"a":1}',
        "bool8": 1,
        "tensor": "[1, 2]",
        "uuids": f'{{"id": "{one}"}}',
        "ns": '["1970-01-01 00:00:00.000000001", "1970-01-01 00:00:00.000001000", null]',
        "us": '["1970-01-01T00:00:00.001000"]',
        "far": '["11983-08-23 09:46:40.000000"]',
        "zoned": '{"at": "1970-01-01 00:00:00.000000001Z", "day": "2026-01-02"}',
        "map": '[["a", "1970-01-01 00:00:00.000000001"]]',
        "time": "00:00:00.000000001",
        "times": '["00:00:00.000000001"]',
        "wait": "5",
        "view": "a",
        "list": "[1]",
    }
    assert table.rows[1] == (None, None, None, None, '{"id": null}', *[None] * 10)
    assert table.sums == plan.sums(table)


def test_digits_beyond_microseconds_of_parquet_are_an_error_with_their_row(plan: Any) -> None:
    at = pa.array([None, 1_000, 1_001], pa.timestamp("ns"))
    pq.write_table(pa.table({"at": at}), plan.folder / "t.parquet")
    with pytest.raises(
        Exception, match=r"t\.parquet, line 3: at is '1970-01-01 00:00:00\.000001001', which has more digits"
    ):
        plan.load()
    table, rejects = plan.load_all(rejects="table")
    assert len(table.rows) == 2 and [row[:2] for row in rejects.rows] == [("t.parquet", 3)]


def test_a_workbook(plan: Any) -> None:
    rows: list[list[Any]] = [
        ["made by hand"],
        ["Month", "Target €", "code", "note", "done", "at", "mixed"],
        [date(2026, 1, 1), 19.99, "007", "a\tb\n'\"", True, datetime(2026, 1, 1, 10, 30), 1],
        [],
        [date(2026, 2, 1), 5.0, "08", None, False, date(2026, 1, 2), "x"],
        [date(2026, 3, 1), -1234567.25, "9", " ", None, None, 2.5],
    ]
    plan.workbook("t.xlsx", {"other": [["x"]], "Plan 2026": rows})
    table = plan.load(sheet="Plan 2026", skip=1)
    assert table.types == {
        "Month": "Date32",
        "Target €": "Decimal(18, 2)",
        "code": "String",
        "note": "Nullable(String)",
        "done": "Nullable(Bool)",
        "at": f"Nullable({INSTANT})",
        "mixed": "String",
    }
    assert [row[:5] for row in table.rows] == [
        (date(2026, 1, 1), Decimal("19.99"), "007", "a\tb\n'\"", True),
        (date(2026, 2, 1), 5, "08", None, False),
        (date(2026, 3, 1), Decimal("-1234567.25"), "9", " ", None),
    ]
    assert [row[6] for row in table.rows] == ["1", "x", "2.5"]
    assert [at and at.replace(tzinfo=UTC).isoformat() for *_, at, _ in table.rows] == [
        "2026-01-01T10:30:00+00:00",
        "2026-01-02T00:00:00+00:00",
        None,
    ]
    assert table.sums == plan.sums(table)


def test_an_open_document(plan: Any) -> None:
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    cells = [
        'office:value-type="string"><text:p>price</text:p>',
        'office:value-type="float" office:value="19.99">',
        'office:value-type="float" office:value="5">',
    ]
    rows = "".join(f"<table:table-row><table:table-cell {one}</table:table-cell></table:table-row>" for one in cells)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "META-INF/manifest.xml",
            '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>',
        )
        archive.writestr(
            "content.xml",
            f'<office:document-content {spaces}><office:body><office:spreadsheet><table:table table:name="s">{rows}'
            "</table:table></office:spreadsheet></office:body></office:document-content>",
        )
    plan.write("t.ods", out.getvalue())
    table = plan.load()
    assert table.types == {"price": "Decimal(18, 2)"} and table.rows == [(Decimal("19.99"),), (Decimal(5),)]


def test_a_sheet_that_is_not_there_is_named_with_those_that_are(plan: Any) -> None:
    plan.workbook("t.xlsx", {"a": [["x"]], "b": []})
    with pytest.raises(Exception, match=r"t\.xlsx has no sheet c, it has a, b"):
        plan.load(sheet="c")


def test_one_changed_value_is_found(plan: Any) -> None:
    rows = [{"id": i, "price": f"{i}.25", "note": None if i % 3 else f"note {i}"} for i in range(20_000)]
    plan.write("t.jsonl", "\n".join(json.dumps(row) for row in rows))
    table = plan.load(types={"price": "Decimal(12, 2)"})
    assert table.sums == plan.sums(table)
    for change in ("id = 7", "price = 7.26", "note = ''", "note = NULL"):
        where = 6 if change.startswith("note =") else 7
        copy = plan.copy(table.reader)
        plan.admin.command(
            f"ALTER TABLE raw.{copy.name} UPDATE {change.replace('id = 7', 'id = 70000')} WHERE id = {where} SETTINGS mutations_sync = 2"
        )
        here, there = table.sums[0], plan.sums(copy)[0]
        place = list(table.types).index(change.split()[0])
        assert [i for i, (a, b) in enumerate(zip(here, there, strict=True)) if a != b] == [1, 2 + place]

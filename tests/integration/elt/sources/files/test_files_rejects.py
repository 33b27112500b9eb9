"""Lines that are no rows: an error that names them, or a table of their own beside the good rows."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from elt.sources.files.rows import BrokenLineError
from warehouse.errors import TerminalError

BROKEN = (
    b'month,target\n2026-01-01,1.50\n2026-02-01,1.50,x\n2026-03-01,much\n2026-04-01,"2\n2026-05-01,\xff\n2026-06-01,6\n'
)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2026-02-01,1,x", "3 fields between ',' where 2 are expected"),
        ("2026-02-01,much", "target is 'much', which is no Decimal(12, 2)"),
        ("2026-02-01,1.234", "target is '1.234', which is no Decimal(12, 2)"),
        ('2026-02-01,"1', "a quote that is not closed"),
    ],
)
def test_a_broken_line_is_an_error_that_names_file_line_value_and_cure(plan: Any, line: str, says: str) -> None:
    plan.write("a.csv", "month,target\n2026-01-01,1\n")
    plan.write("b.csv", f"month,target\n2026-01-01,1\n\n{line}\n")
    with pytest.raises(BrokenLineError) as caught:
        plan.load(types={"target": "Decimal(12, 2)"})
    assert str(caught.value).startswith(f"b.csv, line 4: {says}")
    assert "correct the file, or say rejects: table in pipeline.yml" in str(caught.value)
    (mistake,) = plan.source(types={"target": "Decimal(12, 2)"}).check().mistakes
    assert mistake == str(caught.value)


def test_good_rows_go_on_beside_a_table_of_the_broken_lines(plan: Any) -> None:
    plan.write("a.csv", BROKEN)
    plan.write("b.csv", "month,target\n2026-07-01,x\ty\\\n")
    table, rejects = plan.load_all(rejects="table", types={"target": "Decimal(12, 2)"})
    assert [f"{month} {target}" for month, target in table.rows] == ["2026-01-01 1.50", "2026-06-01 6.00"]
    assert table.types["month"] == "Date32"
    assert [row[:2] for row in sorted(rejects.rows)] == [
        ("a.csv", 3),
        ("a.csv", 4),
        ("a.csv", 5),
        ("a.csv", 6),
        ("b.csv", 2),
    ]
    assert [row[3] for row in sorted(rejects.rows)] == [
        "2026-02-01,1.50,x",
        "2026-03-01,much",
        '2026-04-01,"2',
        "2026-05-01,\\xff",
        "2026-07-01,x\ty\\",
    ]
    assert sorted(rejects.rows)[1][2] == "target is 'much', which is no Decimal(12, 2)"
    assert table.sums == plan.sums(table) and rejects.sums == plan.sums(rejects)
    (checked,) = plan.source(rejects="table", types={"target": "Decimal(12, 2)"}).check().tables
    assert "broken lines, in the table of rejects: 5" in checked.notes


def test_a_table_of_broken_lines_is_there_where_no_line_is_broken(plan: Any) -> None:
    plan.write("a.csv", "a\n1\n")
    table, rejects = plan.load_all(rejects="table")
    assert table.rows == [(1,)] and rejects.rows == [] and rejects.sums == plan.sums(rejects)
    assert rejects.types == {"file": "String", "line": "Int64", "reason": "String", "text": "String"}


def test_a_line_with_an_excluded_column_is_not_shown(plan: Any) -> None:
    plan.write("a.csv", "a,secret\n1,x\nmuch,hidden\n1,hidden,hidden\n")
    table, rejects = plan.load_all(rejects="table", types={"a": "Int64"}, exclude=["secret"])
    assert table.rows == [(1,)] and [row[1] for row in sorted(rejects.rows)] == [3, 4]
    assert "hidden" not in str(rejects.rows)


def test_values_that_a_type_does_not_hold_are_broken_in_every_format(plan: Any) -> None:
    plan.write(
        "a.jsonl", '{"v": 1}\n{"v": "x"}\n[1]\nnull\n{"v": 1, "v": 2}\n{"v": NaN}\n{"v": "\\ud800"}\n' + "[" * 100_000
    )
    pq.write_table(pa.table({"v": [1.0, 1.5]}), plan.folder / "b.parquet")
    plan.workbook("c.xlsx", {"s": [["v"], [2], [], [2.5]]})
    table, rejects = plan.load_all(rejects="table", types={"v": "Int64"})
    assert table.rows == [(1,), (1,), (2,)]
    assert [row[:2] for row in sorted(rejects.rows)] == [
        *(("a.jsonl", line) for line in range(2, 9)),
        ("b.parquet", 2),
        ("c.xlsx", 4),
    ]
    assert sorted(rejects.rows)[-2][2:] == ("v is '1.5', which is no Int64", '{"v": 1.5}')
    assert sorted(rejects.rows)[-1][2:] == ("v is '2.5', which is no Int64", "2.5")


FAR = 10**14
"""Seconds, about three million years."""


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (pa.array([1, FAR], pa.timestamp("s")), "is '<value out of range: 100000000000000000>', which is too far away"),
        (pa.array([1, FAR * 1000], pa.timestamp("ms", "UTC")), "which is too far away for microseconds"),
        (
            pa.array([1, FAR * 10_000], pa.timestamp("us")),
            "is '<value out of range: 1000000000000000000>', which is in a",
        ),
        (pa.array([1, 10**8], pa.date32()), "is '<value out of range: 100000000>', which is in a year"),
        (pa.array([1_000, 1_001], pa.timestamp("ns")), "is '1970-01-01 00:00:00.000001001', which has more digits"),
        (pa.array([1_000, 1_001], pa.timestamp("ns")).dictionary_encode(), "which has more digits than microseconds"),
        (pa.array([b"x", b"\xff"], pa.binary()).dictionary_encode(), r"is '\\xff', which is not UTF-8"),
        (pa.array([b"x", b"\xff"], pa.binary_view()), r"is '\\xff', which is not UTF-8"),
    ],
)
def test_values_of_parquet_that_cannot_be_copied_are_named(plan: Any, values: pa.Array, says: str) -> None:
    pq.write_table(pa.table({"v": values}), plan.folder / "t.parquet")
    with pytest.raises(BrokenLineError) as caught:
        plan.load()
    assert str(caught.value).startswith("t.parquet, line 2: v is ") and says in str(caught.value)
    table, rejects = plan.load_all(rejects="table")
    assert len(table.rows) == 1 and table.sums == plan.sums(table)
    ((file, line, reason, text),) = rejects.rows
    assert (file, line) == ("t.parquet", 2) and says in reason and text.startswith('{"v": ')


@pytest.mark.parametrize("depth", [600, 100_000])
def test_json_that_is_nested_too_deeply_is_a_broken_line(plan: Any, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    plan.write("t.jsonl", f'{{"v": 1}}\n{{"v": {deep}}}\n{{"v": {{"x": [2]}}}}\n')
    with pytest.raises(BrokenLineError, match=r"t\.jsonl, line 2: .*nested too deeply; correct the file"):
        plan.load()
    table, rejects = plan.load_all(rejects="table")
    assert table.rows == [("1",), ('{"x":[2]}',)]
    assert [row[:2] for row in rejects.rows] == [("t.jsonl", 2)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"v": 1, "w": NaN}', "w is NaN, which is no number in JSON"),
        ('{"v": 1, "w": [-Infinity]}', "w has -Infinity, which is no number in JSON"),
        ('{"v": 1, "v": 1}', "v stands twice in the object"),
        ('{"v": 1, "w": [{"a": 1, "a": 1}]}', "w has an object in which a key stands twice"),
        ('{"\\ud800": 1}', "\\ud800 has half of a surrogate pair, which is no text"),
        ('{"\\ud800": 1, "\\ud800": 1}', "\\ud800 stands twice in the object"),
        ('{"v": 1, "w": ["\\ud800"]}', "w has half of a surrogate pair, which is no text"),
    ],
)
def test_a_line_of_json_that_is_no_row_names_its_key(plan: Any, line: str, reason: str) -> None:
    plan.write("t.jsonl", f'{{"v": 1, "w": 1}}\n{line}\n')
    table, rejects = plan.load_all(rejects="table")
    assert table.rows == [(1, 1)] and rejects.rows == [("t.jsonl", 2, reason, line)]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"types": {"b": "Int64"}}, "plan.t has no column b, it has a, c"),
        ({"exclude": ["a", "c"]}, "every column is excluded"),
        ({"order_by": ["c"]}, "cannot be ordered by c, which has missing values"),
        ({"file_column": "a"}, "have a column a already"),
        ({"file_column": "_elt_file"}, "_elt_file, and names that begin with _elt_"),
    ],
)
def test_columns_that_pipeline_yml_names_and_the_files_lack(plan: Any, table: dict[str, Any], says: str) -> None:
    plan.write("a.csv", "a,c\n1,\n")
    with pytest.raises(TerminalError) as caught:
        plan.load(**table)
    assert says in str(caught.value)


def test_files_of_which_one_has_a_header_are_an_error(plan: Any) -> None:
    plan.write("a.csv", "a,b\nx,y\n")
    plan.write("b.csv", "1,2\n")
    with pytest.raises(TerminalError, match=r"first line of a\.csv looks like a header and that of b\.csv does not"):
        plan.load()


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_empty_files_have_no_columns(plan: Any, name: str) -> None:
    plan.write(name, "")
    with pytest.raises(TerminalError, match=rf"plan\.t: {name} has neither a header nor a row"):
        plan.load()

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

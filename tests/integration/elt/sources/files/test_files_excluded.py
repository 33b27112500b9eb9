"""Nothing of an excluded column fails a load, costs a row, or stands in an error or among the broken lines."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from elt.sources.files.rows import BrokenLineError
from warehouse.errors import TerminalError


def _csv(plan: Any) -> str:
    plan.write("t.csv", b"v,secret\n1,\xff\n2,x\nmuch,hidden\xff\n")
    return "t.csv"


def _headerless_csv(plan: Any) -> str:
    plan.write("t.csv", b"1,\xff\n2,x\nmuch,hidden\xff\n")
    return "t.csv"


def _jsonl(plan: Any) -> str:
    lines = [
        b'{"v": 1, "secret": "\xff"}',
        b'{"v": 2, "secret": NaN, "secret": ["\\ud800", {"a": 1, "a": -Infinity}]}',
        b'{"v": "much", "secret": "hidden"}',
        b'{"v": NaN, "secret": "hidden"}',
    ]
    plan.write("t.jsonl", b"\n".join(lines))
    return "t.jsonl"


def _deep_jsonl(plan: Any) -> str:
    plan.write(
        "t.jsonl", "".join(f'{{"v": {v}, "secret": {"[" * 600}"hidden"{"]" * 600}}}\n' for v in ("1", "2", "[]"))
    )
    return "t.jsonl"


def _parquet(secret: pa.Array) -> Callable[[Any], str]:
    def write(plan: Any) -> str:
        pq.write_table(pa.table({"secret": secret, "v": ["1", "2", "much"]}), plan.folder / "t.parquet")
        return "t.parquet"

    return write


def _workbook(plan: Any) -> str:
    plan.workbook("t.xlsx", {"s": [["v", "secret"], [1, 10**300], [2, float("nan")], ["much", "hidden"]]})
    return "t.xlsx"


FORMATS: list[Any] = [
    pytest.param(_csv, id="csv"),
    pytest.param(_headerless_csv, id="csv without a header"),
    pytest.param(_jsonl, id="jsonl"),
    pytest.param(_deep_jsonl, id="deep jsonl"),
    pytest.param(_workbook, id="excel"),
    *(
        pytest.param(_parquet(secret), id=f"parquet, {secret.type}")
        for secret in (
            pa.array([b"hidden\xff"] * 3, pa.binary()),
            pa.array([b"hidden\xff"] * 3, pa.binary()).dictionary_encode(),
            pa.array([1, 1_001, None], pa.timestamp("ns")),
            pa.array([10**14] * 3, pa.timestamp("s")),
            pa.array([[1]] * 3, pa.list_(pa.timestamp("ns"))),
            pa.array([10**8] * 3, pa.date32()),
        )
    ),
]


@pytest.mark.parametrize("write", FORMATS)
def test_nothing_of_an_excluded_column_is_looked_at(plan: Any, write: Callable[[Any], str]) -> None:
    name = write(plan)
    is_headerless = plan.folder.joinpath(name).read_bytes().startswith(b"1,")
    kept, secret = ("column_1", "column_2") if is_headerless else ("v", "secret")
    options: dict[str, Any] = {"exclude": [secret], "types": {kept: "Int64"}}
    if is_headerless:
        options["header"] = False
    table, rejects = plan.load_all(rejects="table", **options)
    assert table.rows == [(1,), (2,)] and list(table.types) == [kept]
    assert [row[0] for row in rejects.rows] == [name] * len(rejects.rows) and rejects.rows
    assert "hidden" not in str(rejects.rows) and secret not in str(rejects.rows)
    assert table.sums == plan.sums(table)
    with pytest.raises(BrokenLineError) as caught:
        plan.load(**options)
    assert "hidden" not in str(caught.value) and secret not in str(caught.value)


def test_a_column_to_exclude_that_the_files_lack_is_an_error_in_every_format(plan: Any) -> None:
    for write in (_csv, _jsonl, _workbook, _parquet(pa.array([1, 2, 3]))):
        name = write(plan)
        with pytest.raises(TerminalError, match=r"plan\.t has no column none, it has "):
            plan.load(exclude=["none"], path=name, rejects="table")


def test_columns_of_parquet_whose_names_begin_alike(plan: Any) -> None:
    columns = {
        "a": pa.array([{"b": 1, "c": 2}]),
        "a.b": pa.array([b"\xff"], pa.binary()),
        "d.e": pa.array([5]),
        "d": pa.array([{"e": 1}]),
    }
    pq.write_table(pa.table(columns), plan.folder / "t.parquet")
    table = plan.load(exclude=["a.b", "d"])
    assert list(table.types) == ["a", "d.e"]
    assert [(json.loads(a), e) for a, e in table.rows] == [({"b": 1, "c": 2}, 5)]

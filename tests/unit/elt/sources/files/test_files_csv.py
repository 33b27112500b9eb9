"""CSV: records with their lines, what is NULL, and lines that are no records."""

import io
from typing import Any

import pytest
from elt.sources.files.batch import Batch, Broken
from elt.sources.files.folder import HashedFile
from elt.sources.files.options import FilesTable
from elt.sources.files.readers.csv import read_csv
from hypothesis import given, settings
from hypothesis import strategies as st
from warehouse.errors import TerminalError


def parts(text: str | bytes, name: str = "a.csv", **options: Any) -> tuple[dict[str, list[Any]], list[Broken]]:
    """The columns, and the broken lines."""
    content = text if isinstance(text, bytes) else text.encode()
    entry = FilesTable(name="a", path=name, **options)
    columns: dict[str, list[Any]] = {}
    broken = []
    for part in read_csv(name, HashedFile(io.BytesIO(content)), entry):
        if isinstance(part, Batch):
            for column, texts in part.columns.items():
                columns.setdefault(column, []).extend(texts.to_pylist())
        else:
            broken.append(part)
    return columns, broken


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    text = 'a,b\n"1,;|\t",2\n'.replace(",b", f"{delimiter}b").replace('",2', f'"{delimiter}2')
    assert parts(text)[0] == {"a": ["1,;|\t"], "b": ["2"]}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("comment\nhello, world\nfoo\n", {"comment": ["hello, world", "foo"]}),
        ("name;place, country\nBob;Berlin, DE\n", {"name": ["Bob"], "place, country": ["Berlin, DE"]}),
        ('"a;b";c\n"x";y\n', {"a;b": ["x"], "c": ["y"]}),
    ],
)
def test_a_delimiter_in_texts_is_none(text: str, columns: dict[str, list[str]]) -> None:
    assert parts(text) == (columns, [])


def test_a_broken_line_in_the_sample_does_not_make_one_column_of_all() -> None:
    columns, broken = parts("a;b\n1;2\n1;2;3,4\n")
    assert columns == {"a": ["1"], "b": ["2"]}
    assert broken[0].reason == "3 fields between ';' where 2 are expected"


def test_decimal_commas_do_not_pass_for_delimiters() -> None:
    assert parts("1,5;2,5\n3;4,25\n", header=False)[0] == {"column_1": ["1,5", "3"], "column_2": ["2,5", "4,25"]}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_end_of_lines_with_or_without_a_last_one(end: str) -> None:
    for last in ("", end):
        assert parts(f'a,b{end}1,"x{end}y"{end}{end}2,z{last}')[0] == {"a": ["1", "2"], "b": [f"x{end}y", "z"]}


def test_an_empty_field_is_null_and_a_quoted_one_is_the_empty_text() -> None:
    assert parts('a,b,c\n,"",x\n"","""",\n')[0] == {"a": [None, ""], "b": ["", '"'], "c": ["x", None]}


def test_texts_that_are_null_replace_the_empty_field() -> None:
    assert parts('a,b\nNA,""\n,"NA"\n', nulls=("NA",))[0] == {"a": [None, ""], "b": ["", None]}
    assert parts('a,b\nx,""\n,y\n', nulls=("",))[0] == {"a": ["x", None], "b": [None, "y"]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("month,target\na,b\n", ["month", "target"]),
        ("2026-01-01,target\na,b\n", ["column_1", "column_2"]),
        ("month,5\na,b\n", ["column_1", "column_2"]),
    ],
)
def test_a_header_is_found_where_no_field_is_a_value(text: str, names: list[str]) -> None:
    assert list(parts(text)[0]) == names


def test_names_keep_blanks_capitals_and_quotes() -> None:
    assert list(parts('\ufeff"My ""Month""",ÄÖ , x\n')[0]) == ['My "Month"', "ÄÖ ", " x"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,,c\n", "a.csv, line 1: column 2 of the header has no name"),
        ("a,b,a\n", "a.csv, line 1: a stands twice in the header"),
        ('a,"b\n1,2\n', "a.csv, line 1, the first one: a quote that is not closed"),
        (b"a,\xe4\n1,2\n", "a.csv, line 1, the first one: has bytes that are not utf-8; say its encoding"),
    ],
)
def test_a_header_that_names_no_columns_is_an_error(text: str | bytes, says: str) -> None:
    with pytest.raises(TerminalError) as caught:
        parts(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,3", "3 fields between ',' where 2 are expected"),
        ("1", "1 fields between ',' where 2 are expected"),
        ('1,"2" x', "',' expected after '\"'"),
        ('1,5" pipe', 'a " in a field that does not begin with it'),
        ('1,"2', "a quote that is not closed"),
    ],
)
def test_a_broken_line_takes_no_other_along(line: str, reason: str) -> None:
    columns, broken = parts(f"a,b\nx,y\n{line}\nz,w\n")
    assert columns == {"a": ["x", "z"], "b": ["y", "w"]}
    assert [(one.line, one.text) for one in broken] == [(3, line)]
    assert broken[0].reason.startswith(reason)


def test_broken_quotes_are_found_line_by_line() -> None:
    columns, broken = parts('a,b\n1,"x\n2,"y"\n3,"z\n4,w\n')
    assert columns == {"a": ["2", "4"], "b": ["y", "w"]}
    assert [one.line for one in broken] == [2, 4]


def test_lines_are_counted_through_fields_of_several_lines_and_lines_before_the_header() -> None:
    columns, broken = parts('made by hand\n\na,b\n"1\n2",x\n\n1\n', skip=2)
    assert columns == {"a": ["1\n2"], "b": ["x"]}
    assert [one.line for one in broken] == [7]


def test_bytes_of_another_encoding_break_their_line_only() -> None:
    columns, broken = parts(b"a,b\n1,\xe4\n2,x\n")
    assert columns == {"a": ["2"], "b": ["x"]}
    assert broken[0].line == 2 and "not utf-8; say its encoding" in broken[0].reason


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
def test_other_encodings_are_told(encoding: str) -> None:
    assert parts("ä,b\né,\n".encode(encoding), encoding=encoding)[0] == {"ä": ["é"], "b": [None]}


def test_quotes_that_mean_nothing() -> None:
    assert parts('a,b\n5" pipe,"x\n', quote="")[0] == {"a": ['5" pipe'], "b": ['"x']}


def test_a_field_without_end_is_broken_before_it_fills_the_memory() -> None:
    columns, broken = parts('a,b\n1,"' + "x" * (17 << 20) + "\n2,y\n")
    assert columns == {"a": ["2"], "b": ["y"]}
    assert [one.line for one in broken] == [2]


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_a_file_without_a_header_has_no_columns(text: str) -> None:
    assert parts(text) == ({}, [])


def test_a_header_alone_has_columns_and_no_rows() -> None:
    assert parts("a,b\n") == ({"a": [], "b": []}, [])


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(["a", ",", '"', '""', "\n", "\r\n", "\r", "ä", b"\xff", " "]), max_size=30))
def test_whatever_the_bytes_each_line_is_a_row_or_broken_once(pieces: list[str | bytes]) -> None:
    body = b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)
    entry = FilesTable(name="a", path="a.csv", header=True, delimiter=",")
    lines: list[int] = []
    text = ""
    for part in read_csv("a.csv", HashedFile(io.BytesIO(b"x,y\n" + body)), entry):
        for line, content in (
            [(part.line, part.text)]
            if isinstance(part, Broken)
            else [(line, part.text(row)) for row, line in enumerate(part.lines)]
        ):
            lines.append(line)
            text += content
    assert len(lines) == len(set(lines))
    # Nothing is lost but ends of lines.
    kept = sorted(text.encode(errors="surrogateescape").translate(None, b"\r\n"))
    assert kept == sorted(body.translate(None, b"\r\n"))

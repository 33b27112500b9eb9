"""Where a statement ends, where its data begin, and which FORMAT is a clause."""

from __future__ import annotations

import pytest
from embedded.errors import QueryError
from embedded.sql.lexer import tokens
from embedded.sql.statement import parse


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("select 'a;''\\'b' -- c;\n, \"x\"\"y\"", ["word", "string", "symbol", "quoted"]),
        ("a /* /* ; */ ' */ b", ["word", "word"]),
        ("a // ;\n b # ;\n c #! ;\n d", ["word"] * 4),
        ("$t$ ' ; $t$ x", ["string", "word"]),
        ("$t$ x", ["word", "word"]),
        ("$t$u$ $v$", ["word", "word"]),
        ("$t$u$ $v$ ' $v$", ["word", "string"]),
        ("$$ x", ["word", "word", "word"]),
        ("1e5 0x1f .5 1.5e-3 a1", ["number"] * 4 + ["word"]),
        ("\u2018it's\u2019 \u201cname\u201d", ["string", "quoted"]),
        ("a->b::c||d<=>e", ["word", "symbol"] * 4 + ["word"]),
    ],
)
def test_tokens(text: str, kinds: list[str]) -> None:
    assert [token.kind for token in tokens(text)] == kinds


@pytest.mark.parametrize(
    "text", ["'open", '"open', "`open", "/* open", "/* /* */", "$a$ 'open", "\u2018open", "a \0 b", "é"]
)
def test_open_or_unknown_tokens_are_syntax_errors(text: str) -> None:
    with pytest.raises(QueryError) as error:
        list(tokens(text))
    assert error.value.code == 62


def test_escapes_in_names_are_decoded() -> None:
    (token,) = tokens('"f\\x69l\\e`""x"')
    assert token.name == 'fil\x1b`"x'


@pytest.mark.parametrize(
    ("text", "kind", "named"),
    [
        ("SELECT 1", "output", None),
        ("SELECT 1 FORMAT JSON", "output", "JSON"),
        ("SELECT 1 format `TSV` settings a = 1", "output", "TSV"),
        ("SELECT 1 AS format", "output", None),
        ("SELECT format FROM t", "output", None),
        ("SELECT x FROM format f", "output", None),
        ("SELECT x FROM a.format f", "output", None),
        ("SELECT (SELECT 1 FORMAT)", "output", None),
        ("SELECT * FROM (SELECT 1) FORMAT Null;;", "output", "Null"),
        ("SHOW TABLES FORMAT CSV", "output", "CSV"),
        ("SHOW CREATE TABLE format", "output", None),
        ("SHOW CREATE TEMPORARY TABLE format", "output", None),
        ("EXISTS DATABASE format SETTINGS a = 1", "output", None),
        ("DESC TABLE format FORMAT CSV", "output", "CSV"),
        ("SELECT count() FROM t GROUP BY database, table FORMAT CSV", "output", "CSV"),
        ("SELECT 1 FROM t GROUP BY database FORMAT CSV SETTINGS a = 1", "output", "CSV"),
        ("SELECT view FROM dictionary FORMAT CSV", "output", "CSV"),
        ("DESCRIBE database FORMAT CSV", "output", "CSV"),
        ("CREATE TABLE t (format String) ENGINE = Memory", "other", None),
        ("KILL QUERY WHERE 1 FORMAT TSV", "other", "TSV"),
        ("WITH 1 AS a INSERT INTO t SELECT a", "other", None),
        ("WITH insert AS (SELECT 1) SELECT * FROM insert", "output", None),
        ("WITH (SELECT 'INSERT INTO') AS a INSERT INTO t (s) FORMAT TSV\nx", "insert", "TSV"),
        ("WITH 1 AS a INSERT INTO t VALUES (1)", "insert", "Values"),
        ("INSERT INTO t SELECT 1", "other", None),
        ("SYSTEM FLUSH LOGS", "other", None),
    ],
)
def test_kind_and_format(text: str, kind: str, named: str | None) -> None:
    found = parse(text, complete=True)
    assert found is not None
    assert (found.kind, found.format) == (kind, named)


@pytest.mark.parametrize(
    ("text", "head", "named", "data"),
    [
        ("INSERT INTO t FORMAT TSV\n1", "INSERT INTO t ", "TSV", "1"),
        ("INSERT INTO t FORMAT TSV\n\n1", "INSERT INTO t ", "TSV", "\n1"),
        ("INSERT INTO t FORMAT CSV  1,2", "INSERT INTO t ", "CSV", "1,2"),
        ("INSERT INTO t VALUES (1)", "INSERT INTO t ", "Values", " (1)"),
        ("INSERT INTO values VALUES (1)", "INSERT INTO values ", "Values", " (1)"),
        ("INSERT INTO format (format, values) FORMAT TSV\nx", "INSERT INTO format (format, values) ", "TSV", "x"),
        ("INSERT INTO db.format FORMAT TSV\nx", "INSERT INTO db.format ", "TSV", "x"),
        ("insert t values (1)", "insert t ", "Values", " (1)"),
        (
            "INSERT INTO TABLE FUNCTION file('a', CSV) FORMAT CSV 1",
            "INSERT INTO TABLE FUNCTION file('a', CSV) ",
            "CSV",
            "1",
        ),
        ("INSERT INTO t SETTINGS a = 1, b = 'x' FORMAT TSV\n1", "INSERT INTO t SETTINGS a = 1, b = 'x' ", "TSV", "1"),
        ("INSERT INTO t FORMAT TSV SETTINGS a = 1\n1", "INSERT INTO t  SETTINGS a = 1 ", "TSV", "1"),
        ("INSERT INTO t", "INSERT INTO t", "Values", ""),
        ('INSERT INTO t FORMAT JSONEachRow {"a": "\'"}', "INSERT INTO t ", "JSONEachRow", '{"a": "\'"}'),
    ],
)
def test_insert_is_cut_before_its_data(text: str, head: str, named: str, data: str) -> None:
    found = parse(text, complete=True)
    assert found is not None
    assert (found.kind, found.text, found.format) == ("insert", head, named)
    assert text[found.data :] == data


def test_half_an_insert_waits_for_more() -> None:
    text = "INSERT INTO t (a, b) SETTINGS c = 'x' FORMAT TSV\n" + "1\t2\n" * 2000
    for size in range(text.index("1\t2") + 4000):
        assert parse(text[:size], complete=False) is None
    found = parse(text, complete=False)
    assert found is not None
    assert text[found.data :] == "1\t2\n" * 2000


def test_heredoc_may_still_end_in_text_to_come() -> None:
    for text in (
        "INSERT INTO t ($x$",
        "INSERT INTO t SELECT $x$ ' FORMAT CSV",
        "INSERT INTO t ($x$) FORMAT TSV\n" + "1\n" * 9000,
    ):
        assert parse(text, complete=False) is None
    found = parse("INSERT INTO t ($x$) FORMAT TSV\n1", complete=True)
    assert found is not None
    assert (found.kind, found.text) == ("insert", "INSERT INTO t ($x$) ")


def test_input_has_data_behind_its_format() -> None:
    text = "INSERT INTO t SELECT format FROM input('format String') WHERE format != 'x' FORMAT CSV a\nb"
    found = parse(text, complete=True)
    assert found is not None
    assert (found.kind, found.format, text[found.data :]) == ("input", "CSV", "a\nb")


@pytest.mark.parametrize("text", ["", " ; ", "-- only a comment", "SELECT 1; SELECT 2", "SELECT 1 ;; x"])
def test_not_one_statement(text: str) -> None:
    with pytest.raises(QueryError) as error:
        parse(text, complete=True)
    assert error.value.code == 62


def test_answer_goes_before_the_format_clause() -> None:
    with_format = parse("SELECT 1 FORMAT CSV SETTINGS a = 1 -- x", complete=True)
    plain = parse("SELECT 1 -- x", complete=True)
    assert with_format is not None
    assert plain is not None
    assert with_format.into_outfile(7, "TSV") == "SELECT 1  INTO OUTFILE '/dev/fd/7' TRUNCATE FORMAT CSV SETTINGS a = 1"
    assert plain.into_outfile(7, "TSV") == "SELECT 1 INTO OUTFILE '/proc/self/fd/7' TRUNCATE FORMAT TSV"

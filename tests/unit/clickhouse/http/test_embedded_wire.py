"""Bytes in and out: bodies however they are cut, codings, multipart forms, errors."""

from __future__ import annotations

import io
from collections.abc import Callable
from email.message import Message

import pytest
from embedded.errors import ClientGoneError, QueryError, from_engine
from embedded.http import compression
from embedded.http.head import Limits
from embedded.http.multipart import read_form, table_structures
from embedded.http.reading import read_statement
from embedded.http.request import Request
from hypothesis import given
from hypothesis import strategies as st


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return [part for part in [*parts, data] if part]


sizes = st.lists(st.integers(1, 9), max_size=60)


@given(st.lists(st.binary(max_size=2000), max_size=8), st.sampled_from(compression.PREFERENCE), sizes)
def test_every_coding_round_trips_however_it_is_cut(chunks: list[bytes], coding: str, sizes: list[int]) -> None:
    coder = compression.compressor(coding)
    packed = b"".join(coder.compress(chunk) for chunk in chunks) + coder.flush()
    assert b"".join(compression.decompressed(coding, cut(packed, sizes))) == b"".join(chunks)


@pytest.mark.parametrize("coding", ["gzip", "lz4", "zstd"])
def test_several_members_are_one_body(coding: str) -> None:
    packed = b""
    for part in (b"one", b"", b"two"):
        coder = compression.compressor(coding)
        packed += coder.compress(part) + coder.flush()
    assert b"".join(compression.decompressed(coding, [packed])) == b"onetwo"


@pytest.mark.parametrize(
    ("header", "coding"),
    [("", None), ("identity", None), ("gzip", "gzip"), ("deflate, gzip;q=1.0, *;q=0.5", "gzip"), ("zstd,lz4", "lz4")]
    + [("br;q=0, gzip", "gzip"), ("br;q=0.0", None), ("GZIP", "gzip")],
)
def test_accepted_coding(header: str, coding: str | None) -> None:
    assert compression.accepted(header) == coding


@given(st.lists(st.binary(max_size=60), min_size=3, max_size=3), sizes)
def test_multipart_however_it_is_cut(parts: list[bytes], sizes: list[int]) -> None:
    a, b, c = (part.replace(b"--mark", b"") for part in parts)
    body = b'--mark\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + a
    body += b'\r\n--mark\r\nContent-Disposition: form-data; name="b"\r\nX-Other: 1\r\n\r\n' + b
    body += b'\r\n--mark\r\nContent-Disposition: form-data; name="c"; filename="x y"\r\n\r\n' + c + b"\r\n--mark--\r\n"
    form = read_form(iter(cut(body, sizes)), b"mark", Limits())
    assert {name: file.read() for name, file in form.files.items()} == {"a": a, "c": c}
    assert form.fields == {"b": b.decode(errors="surrogateescape")}
    form.close()


def test_multipart_that_ends_early_is_an_error() -> None:
    with pytest.raises(QueryError, match="multipart body is broken: Unexpected end"):
        read_form(iter([b"--mark\r\nContent-Disposition: form-data; name=a\r\n\r\nx"]), b"mark", Limits())


def test_external_tables() -> None:
    found = table_structures({"t_structure": "a Int8", "u_types": "Map(String, Array(Int8)),Int8", "u_format": "CSV"})
    assert found == {"t": ("a Int8", "TabSeparated"), "u": ("_1 Map(String, Array(Int8)), _2 Int8", "CSV")}


def request(body: bytes, **headers: str) -> Request:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Request("POST", "/", message, io.BufferedReader(io.BytesIO(body)), lambda: None)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8))
def test_chunked_bodies(chunks: list[bytes]) -> None:
    body = b"".join(b"%x;x=y\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\n"
    got = request(body, Transfer_Encoding="chunked")
    assert b"".join(got.body()) == b"".join(chunks)
    assert not got.unread


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"3\r\nab", ClientGoneError), (b"", ClientGoneError), (b"3\r\nabc\r\n", ClientGoneError)]
    + [(b"x\r\n", QueryError), (b"-1\r\n", QueryError), (b"2\r\nabc\r\n", QueryError)]
    + [(b"+2\r\nab\r\n", QueryError), (b"0x2\r\nab\r\n", QueryError), (b"1_0\r\n", QueryError)],
)
def test_broken_chunks(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(request(body, Transfer_Encoding="chunked").body())


@given(st.integers(1, 300), st.sampled_from(["FORMAT TSV\n", "VALUES ", "(a, b) FORMAT JSONEachRow "]))
def test_statement_and_data_however_they_arrive(size: int, clause: str) -> None:
    text = f"INSERT INTO t {clause}".encode()
    data = b"1\t\xff'\"`$/*\n" * 20_000
    body = text + data
    statement, rest = read_statement(
        {}, iter([body[at : at + size] for at in range(0, len(body), size)][:400] + [body[400 * size :]])
    )
    assert (
        statement.text == text[: text.index(clause.encode()) if "(" not in clause else text.index(b"FORMAT")].decode()
    )
    assert b"".join(rest).lstrip() == data


@pytest.mark.parametrize(
    ("text", "code", "name", "message"),
    [
        ("Code: 60. DB::Exception: No t. (UNKNOWN_TABLE)", 60, "UNKNOWN_TABLE", "No t."),
        (
            "Code: 164. DB::Exception: Code: 164. DB::Exception: Read only. (READONLY) (version 26.9.2.1). (READONLY)",
            164,
            "READONLY",
            "Read only.",
        ),
        ("something else", 1001, "STD_EXCEPTION", "something else"),
    ],
)
def test_engine_errors_are_read(text: str, code: int, name: str, message: str) -> None:
    error = from_engine(RuntimeError(text))
    assert (error.code, error.name, error.message) == (code, name, message)
    assert error.text("26.9") == f"Code: {code}. DB::Exception: {message} ({name}) (version 26.9 (embedded))\n"


def test_no_error_has_a_status_that_clients_retry() -> None:
    assert not {QueryError(code, "").status for code in range(1, 1100)} & {429, 502, 503, 504}


def test_decoders_name_the_broken_coding() -> None:
    make: Callable[[str], list[bytes]] = lambda coding: list(compression.decompressed(coding, [b"not packed"]))  # noqa: E731
    for coding in ("br", "gzip", "deflate", "lz4", "zstd"):
        with pytest.raises(QueryError, match=coding):
            make(coding)

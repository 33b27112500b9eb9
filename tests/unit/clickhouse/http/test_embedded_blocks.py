"""ClickHouse's own compression, held to a block that the engine wrote itself."""

from __future__ import annotations

import pytest
import zstandard
from embedded.errors import QueryError
from embedded.http import blocks
from embedded.http.blocks import Blocks, unpacked
from hypothesis import given
from hypothesis import strategies as st

# 'hello' twenty times in a String column of a MergeTree part.
BY_THE_ENGINE = bytes.fromhex("faf2f0b877e57c9ed79b154ade427b0f8218000000640000005f68656c6c6f0500475068656c6c6f")
PLAIN = b"hello" * 20


def block(method: int, packed: bytes, size: int) -> bytes:
    rest = bytes([method]) + (len(packed) + 9).to_bytes(4, "little") + size.to_bytes(4, "little") + packed
    return blocks._checksum(rest) + rest


def test_the_engines_block_is_read() -> None:
    # The column is written without lengths: they stand in a file of their own.
    assert b"".join(unpacked(iter([BY_THE_ENGINE]))) == PLAIN


def test_zstd_and_plain_blocks_are_read() -> None:
    body = (
        block(0x90, zstandard.compress(PLAIN), 100) + block(0x02, PLAIN, 100) + block(0x90, zstandard.compress(b""), 0)
    )
    assert b"".join(unpacked(iter([body]))) == PLAIN * 2


@given(st.lists(st.binary(max_size=3000), max_size=6), st.integers(1, 700))
def test_round_trip_however_it_is_cut(chunks: list[bytes], size: int) -> None:
    coder = Blocks()
    packed = b"".join(map(coder.compress, chunks)) + coder.flush()
    cut = iter([packed[at : at + size] for at in range(0, len(packed), size)])
    assert b"".join(unpacked(cut)) == b"".join(chunks)


def test_long_answers_go_out_in_blocks_of_a_mebibyte() -> None:
    coder, data = Blocks(), bytes(range(256)) * 12_288
    packed = coder.compress(data)
    assert len(packed) > 3 * 25
    assert coder.flush() == b""
    assert b"".join(unpacked(iter([packed]))) == data


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (BY_THE_ENGINE[:-1], 271),
        (BY_THE_ENGINE + b"x", 271),
        (b"\0" + BY_THE_ENGINE[1:], 40),
        (BY_THE_ENGINE[:-1] + b"x", 40),
        (block(0x55, PLAIN, 100), 432),
        (block(0x82, b"\xff\xff", 100), 271),
        (block(0x90, b"nonsense", 100), 271),
        (block(0x02, PLAIN, 99), 271),
        (block(0x02, PLAIN, 1 << 31), 271),
        (b"1\n2\n" * 10, 271),
    ],
)
def test_broken_blocks_are_errors(body: bytes, code: int) -> None:
    with pytest.raises(QueryError) as error:
        list(unpacked(iter([body])))
    assert error.value.code == code

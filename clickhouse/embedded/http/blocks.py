"""ClickHouse's own compression, which JDBC and the clients built on it request by `compress=1` and `decompress=1`.

A block is a checksum (16 bytes, CityHash128 of the rest), a method (1 byte), the size of method, sizes and data (4), the
size of the plain data (4), and the data: src/Compression/CompressedReadBufferBase.cpp of ClickHouse.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import lz4.block
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

from embedded.errors import QueryError

_PLAIN, _LZ4, _ZSTD = 0x02, 0x82, 0x90
_HEAD = struct.Struct("<16sBII")
_CHECKED = 9  # bytes of the head that the checksum covers and the block's size includes
_BLOCK = 1 << 20
_LONGEST = 1 << 28


class Blocks:
    """A compressor of responses: lz4 in blocks of 1 MiB."""

    def __init__(self) -> None:
        self._held = bytearray()

    def compress(self, data: bytes) -> bytes:
        self._held += data
        ready = len(self._held) // _BLOCK * _BLOCK
        out = b"".join(_packed(bytes(self._held[at : at + _BLOCK])) for at in range(0, ready, _BLOCK))
        del self._held[:ready]
        return out

    def flush(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return _packed(held) if held else b""


def unpacked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yields the plain data of a body in blocks. Raises QueryError for broken, truncated or unknown blocks."""
    held = b""
    for chunk in chunks:
        held += chunk
        at = 0
        while len(held) - at >= _HEAD.size:
            checksum, method, size, plain_size = _HEAD.unpack_from(held, at)
            if not _CHECKED <= size <= _LONGEST or plain_size > _LONGEST:
                raise QueryError(271, "The compressed body is broken: a block has an impossible size")
            end = at + _HEAD.size - _CHECKED + size
            if end > len(held):
                break
            if checksum != _checksum(held[at + _HEAD.size - _CHECKED : end]):
                raise QueryError(40, "Checksum doesn't match: corrupted data in the compressed body")
            yield _plain(method, held[at + _HEAD.size : end], plain_size)
            at = end
        held = held[at:]
    if held:
        raise QueryError(271, "The compressed body ends in the middle of a block")


def _packed(data: bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    rest = struct.pack("<BII", _LZ4, len(packed) + _CHECKED, len(data)) + packed
    return _checksum(rest) + rest


def _plain(method: int, packed: bytes, size: int) -> bytes:
    try:
        if method == _PLAIN:
            plain = packed
        elif method == _LZ4:
            plain = lz4.block.decompress(packed, uncompressed_size=size)
        elif method == _ZSTD:
            plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
        else:
            raise QueryError(432, f"Unknown compression method 0x{method:02x}: send LZ4, ZSTD or NONE")
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise QueryError(271, f"The compressed body is broken: {error}") from error
    if len(plain) != size:
        raise QueryError(271, "The compressed body is broken: a block has another size than it says")
    return plain


def _checksum(data: bytes) -> bytes:
    value = int(CityHash128(data))
    return struct.pack("<QQ", value >> 64, value & (1 << 64) - 1)

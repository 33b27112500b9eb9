"""Content codings of requests and responses, streaming both ways."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import brotli
import lz4.frame
import zstandard

from embedded.errors import QueryError

# The cheapest first: both sides mostly share a machine.
PREFERENCE = ("lz4", "zstd", "br", "gzip", "deflate")


class Compressor(Protocol):
    """Encodes chunks of a response; the last call is `flush`."""

    def compress(self, data: bytes) -> bytes: ...
    def flush(self) -> bytes: ...


class _Brotli:
    def __init__(self, level: int) -> None:
        self._coder = brotli.Compressor(quality=level)

    def compress(self, data: bytes) -> bytes:
        return bytes(self._coder.process(data))

    def flush(self) -> bytes:
        return bytes(self._coder.finish())


class _Lz4:
    def __init__(self, level: int) -> None:
        self._coder = lz4.frame.LZ4FrameCompressor(compression_level=level)
        self._head = self._coder.begin()

    def compress(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return bytes(head + self._coder.compress(data))

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        return bytes(head + self._coder.flush())


# Each with its default level.
_COMPRESSORS: dict[str, tuple[int, Callable[[int], Any]]] = {
    "br": (1, _Brotli),
    "zstd": (1, lambda level: zstandard.ZstdCompressor(level=level).compressobj()),
    "lz4": (0, _Lz4),
    "gzip": (3, lambda level: zlib.compressobj(level, zlib.DEFLATED, 31)),
    "deflate": (3, lambda level: zlib.compressobj(level, zlib.DEFLATED, 15)),
}


def accepted(header: str) -> str | None:
    """Returns the content coding for an Accept-Encoding header; None for identity."""
    offered = set()
    for part in header.split(","):
        name, _, weight = part.partition(";")
        if not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight):
            offered.add(name.strip().lower())
    return next((coding for coding in PREFERENCE if coding in offered), None)


def compressor(coding: str, level: int | None = None) -> Compressor:
    """Returns a compressor; `level` is from 1 (fast) to 9 (small)."""
    usual, make = _COMPRESSORS[coding]
    made: Compressor = make(usual if level is None else level)
    return made


def decompressed(coding: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decodes a request body chunk by chunk. Raises QueryError for an unknown coding, broken or truncated data."""
    if coding in ("", "identity"):
        yield from chunks
        return
    if coding in ("gzip", "x-gzip", "deflate", "lz4", "zstd"):
        yield from _frames(coding, chunks)
    elif coding == "br":
        yield from _brotli(chunks)
    else:
        raise QueryError(432, f"Unknown Content-Encoding {coding!r}: send br, deflate, gzip, lz4, zstd or plain data")


def _decoder(coding: str) -> Any:
    if coding == "lz4":
        return lz4.frame.LZ4FrameDecompressor()
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj()
    return zlib.decompressobj(15 if coding == "deflate" else 31)


def _frames(coding: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decodes gzip, lz4 and zstd bodies, which may have several members in a row."""
    decoder, begun = _decoder(coding), False
    for chunk in chunks:
        while chunk:
            if decoder.eof:
                decoder = _decoder(coding)
            try:
                plain = decoder.decompress(chunk)
            except (zlib.error, RuntimeError, zstandard.ZstdError) as error:
                raise QueryError(354, f"The {coding} body is broken: {error}") from error
            begun = True
            chunk = (decoder.unused_data or b"") if decoder.eof else b""
            if plain:
                yield plain
    if begun and not decoder.eof:
        raise QueryError(354, f"The {coding} body ends before its end mark")


def _brotli(chunks: Iterable[bytes]) -> Iterator[bytes]:
    decoder, begun = brotli.Decompressor(), False
    for chunk in chunks:
        try:
            plain = decoder.process(chunk)
        except brotli.error as error:
            raise QueryError(354, f"The br body is broken: {error}") from error
        begun = begun or bool(chunk)
        if plain:
            yield plain
    if begun and not decoder.is_finished():
        raise QueryError(354, "The br body ends before its end mark")

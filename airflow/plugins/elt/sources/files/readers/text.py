"""Text files as lines."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO, cast

from warehouse.errors import TerminalError

from elt.sources.files.folder import HashedFile
from elt.sources.files.options import PACKED, FilesTable

LONGEST_LINE = 64 << 20
"""Characters. What is no text at all may have no end of a line."""
_BLOCK = 1 << 20


@contextmanager
def opened_text(name: str, stream: HashedFile, entry: FilesTable) -> Iterator[Iterator[str]]:
    """Opens a file, packed or not, as lines with their ends. Bytes that are not of the encoding become lone surrogates.

    A line of LONGEST_LINE characters is the beginning of a longer one.
    """
    # A byte order mark is no part of the first name.
    encoding = "utf-8-sig" if is_utf8(entry.encoding) else entry.encoding
    try:
        text = io.TextIOWrapper(_bytes(name, stream), encoding, errors="surrogateescape", newline="")
        yield iter(partial(text.readline, LONGEST_LINE), "")
    except UnicodeDecodeError as error:
        raise TerminalError(f"{name} is not {entry.encoding} ({error.reason}); {encoding_cure(entry)}") from None
    except (EOFError, zlib.error) as error:
        raise TerminalError(f"{name} cannot be unpacked ({error}); put the whole file there and run again") from None


def _bytes(name: str, stream: HashedFile) -> BinaryIO:
    file = cast(BinaryIO, io.BufferedReader(stream, _BLOCK))
    if not name.lower().endswith(PACKED):
        return file
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=file)), _BLOCK))


def is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")


def encoding_cure(entry: FilesTable) -> str:
    other = "cp1252 or utf-16" if is_utf8(entry.encoding) else "utf-8"
    return f"say its encoding in pipeline.yml, as in encoding: {other}"


def is_text(value: str) -> bool:
    """Whether the value has no bytes that were not of the encoding."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def misread(entry: FilesTable) -> str:
    """Returns why a line that is not of the encoding is refused."""
    return f"has bytes that are not {entry.encoding}; {encoding_cure(entry)}"


def too_long(name: str, line: int) -> TerminalError:
    """Returns the error of a line that is too long to be one."""
    return TerminalError(f"{name}, line {line} has more than 64 MB; end each row with the end of a line")

"""Streaming parser of multipart/form-data: fields in memory, large files on disk."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from email.message import Message
from itertools import chain
from typing import IO

from multipart import MultipartError, MultipartSegment, PushMultipartParser  # type: ignore[import-untyped]

from embedded.errors import QueryError
from embedded.http.head import Limits, form_error

_LONGEST_FIELD = 1 << 28
_IN_MEMORY = 1 << 22


class Form:
    """The parts of one body. The reader closes it."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.files: dict[str, IO[bytes]] = {}
        self._contents: list[IO[bytes]] = []

    def content(self) -> IO[bytes]:
        """Returns a file for one more part."""
        self._contents.append(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115 - the form owns it
        return self._contents[-1]

    def close(self) -> None:
        for content in self._contents:
            content.close()


def boundary(headers: Message) -> bytes | None:
    """Returns the boundary of a multipart body; None for another body."""
    if headers.get_content_type() != "multipart/form-data":
        return None
    value = headers.get_boundary()
    if not value:
        raise QueryError(36, "The multipart body names no boundary in its Content-Type")
    return value.encode("latin-1", "replace")


def read_form(body: Iterator[bytes], mark: bytes, limits: Limits) -> Form:
    """Reads a form. Raises QueryError for a malformed or truncated body, or one beyond the limits."""
    form, parts = Form(), 0
    try:
        with PushMultipartParser(mark) as parser:
            for event in chain.from_iterable(map(parser.parse, body)):
                if isinstance(event, MultipartSegment):
                    segment, content, parts = event, form.content(), parts + 1
                    if parts > limits.max_fields:
                        raise form_error("Too many form fields")
                elif event is not None:
                    content.write(event)
                    if content.tell() > limits.max_multipart_form_data_size:
                        raise QueryError(290, f"Part {segment.name} is larger than http_max_multipart_form_data_size")
                else:
                    content.seek(0)
                    _keep(form, segment, content)
    except BaseException as error:
        form.close()
        if isinstance(error, MultipartError):
            raise QueryError(36, f"The multipart body is broken: {error}") from error
        raise
    return form


def _keep(form: Form, segment: MultipartSegment, content: IO[bytes]) -> None:
    if not segment.name:
        raise QueryError(36, "A part of the multipart body has no name")
    if segment.filename is not None:
        form.files[segment.name] = content
    elif segment.size > _LONGEST_FIELD:
        raise QueryError(36, f"Field {segment.name} of the multipart body is too long: send it as a file")
    else:
        form.fields[segment.name] = content.read().decode(errors="surrogateescape")


def table_structures(parameters: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Returns columns and format of external tables by name, from `<name>_structure`, `<name>_types` and `<name>_format`."""
    found: dict[str, tuple[str, str]] = {}
    for key, value in parameters.items():
        name, _, what = key.rpartition("_")
        if what in ("structure", "types") and name:
            columns = value if what == "structure" else _numbered(value)
            found[name] = (columns, parameters.get(f"{name}_format", "TabSeparated"))
    return found


def _numbered(types: str) -> str:
    """Returns `_1 UInt8, _2 Array(String)` for `UInt8,Array(String)`."""
    parts, depth, start = [], 0, 0
    for at in re.finditer(r"[(),]", types):
        depth += {"(": 1, ")": -1, ",": 0}[at.group()]
        if at.group() == "," and depth == 0:
            parts.append(types[start : at.start()])
            start = at.end()
    parts.append(types[start:])
    return ", ".join(f"_{number} {part.strip()}" for number, part in enumerate(parts, 1))

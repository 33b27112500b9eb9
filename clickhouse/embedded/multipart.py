"""multipart/form-data as it comes: fields in memory, files on disk once they are large."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from typing import IO

from embedded.errors import QueryError

_LONGEST_FIELD = 1 << 28
_IN_MEMORY = 1 << 22


class Form:
    """The parts of one body. Files are to be closed by whoever reads the form."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.files: dict[str, IO[bytes]] = {}

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def boundary(headers: Message) -> bytes | None:
    """The boundary of a multipart body, or None when the body is not one."""
    if headers.get_content_type() != "multipart/form-data":
        return None
    value = headers.get_boundary()
    if not value:
        raise QueryError(36, "The multipart body names no boundary in its Content-Type")
    return value.encode("latin-1", "replace")


def read_form(body: Iterator[bytes], mark: bytes) -> Form:
    """Raises QueryError for a body that is not well formed or ends early."""
    reader, form = _Reader(body), Form()
    try:
        reader.until(b"--" + mark, None)
        while reader.exactly(2) != b"--":
            with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as head:
                reader.until(b"\r\n\r\n", head)
                head.seek(0)
                headers = BytesHeaderParser().parsebytes(head.read().lstrip(b"\r\n"))
            name = headers.get_param("name", header="Content-Disposition")
            if not isinstance(name, str):
                raise QueryError(36, "A part of the multipart body has no name")
            content: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the form owns it
            try:
                size = reader.until(b"\r\n--" + mark, content)
                content.seek(0)
                if headers.get_param("filename", header="Content-Disposition") is not None:
                    form.files[name], content = content, io.BytesIO()
                    continue
                if size > _LONGEST_FIELD:
                    raise QueryError(36, f"Field {name} of the multipart body is too long: send it as a file")
                form.fields[name] = content.read().decode(errors="surrogateescape")
            finally:
                content.close()
        for _ in body:
            pass
    except BaseException:
        form.close()
        raise
    return form


class _Reader:
    def __init__(self, body: Iterator[bytes]) -> None:
        self._body = body
        self._held = b""

    def _more(self) -> None:
        chunk = next(self._body, None)
        if chunk is None:
            raise QueryError(36, "The multipart body ends before its last boundary")
        self._held += chunk

    def exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        found, self._held = self._held[:size], self._held[size:]
        return found

    def until(self, mark: bytes, sink: IO[bytes] | tempfile.SpooledTemporaryFile[bytes] | None) -> int:
        """Copy to `sink` what stands before `mark`, and pass it. The number of bytes copied."""
        size = 0
        while True:
            at = self._held.find(mark)
            # The end of what is held may be the beginning of the mark.
            ready = self._held[: at if at >= 0 else max(len(self._held) - len(mark) + 1, 0)]
            if sink is not None:
                sink.write(ready)
            size += len(ready)
            self._held = self._held[len(ready) + (len(mark) if at >= 0 else 0) :]
            if at >= 0:
                return size
            self._more()


def table_structures(parameters: dict[str, str]) -> dict[str, tuple[str, str]]:
    """External tables by name: columns and format, as `<name>_structure`, `<name>_types` and `<name>_format` say."""
    found: dict[str, tuple[str, str]] = {}
    for key, value in parameters.items():
        name, _, what = key.rpartition("_")
        if what in ("structure", "types") and name:
            columns = value if what == "structure" else _numbered(value)
            found[name] = (columns, parameters.get(f"{name}_format", "TabSeparated"))
    return found


def _numbered(types: str) -> str:
    """`UInt8,Array(String)` as `_1 UInt8, _2 Array(String)`."""
    parts, depth, start = [], 0, 0
    for at in re.finditer(r"[(),]", types):
        depth += {"(": 1, ")": -1, ",": 0}[at.group()]
        if at.group() == "," and depth == 0:
            parts.append(types[start : at.start()])
            start = at.end()
    parts.append(types[start:])
    return ", ".join(f"_{number} {part.strip()}" for number, part in enumerate(parts, 1))

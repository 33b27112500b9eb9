"""The stream of an insert: lines, counts, and word of how far it is."""

import pyarrow as pa
import pytest
from elt.sources.files import stream
from elt.sources.files.stream import TextStream, tab_separated


def test_null_is_told_from_its_text() -> None:
    columns = [pa.array(["a", None]), pa.array([None, "\\\\N"])]
    assert tab_separated(columns).tobytes() == b"a\t\\N\n\\N\t\\\\N\n"


def test_it_tells_rows_and_bytes_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BEAT_SECONDS", 0)
    told: list[tuple[int, int]] = []
    batches = iter([[pa.array(["a", "b"])], [pa.array([], pa.string())], [pa.array(["c"])]])
    found = TextStream(("x",), batches, lambda rows, size: told.append((rows, size)))
    assert b"".join(found.chunks()) == b"a\nb\nc\n"
    assert told == [(2, 4), (3, 6)] and (found.sent.rows, found.sent.bytes) == (3, 6)

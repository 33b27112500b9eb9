"""The text log of a run, of bounded size: the content of `GET /runs/<id>/logs`."""

from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

_CUT = "The rest is left out: the log has reached its limit."


class RunLog:
    """Appends lines to a file up to `limit` bytes, then notes once that the rest is omitted."""

    def __init__(self, path: Path, *, limit: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._limit = limit

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, text: str) -> None:
        """Writes a line with a timestamp (UTC), unbuffered, if there is room."""
        if self._file.tell() >= self._limit:
            return
        room = self._limit - self._file.tell()
        line = _line(text)
        self._put(line if len(line) < room else _line(_CUT).rjust(room))

    def write_always(self, text: str) -> None:
        """Writes a short line that the log must not lack, even beyond the limit."""
        self._put(_line(text[:1000]))

    def _put(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()


def _line(text: str) -> bytes:
    return f"{datetime.now(UTC):%H:%M:%S}  {text}\n".encode()

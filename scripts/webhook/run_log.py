"""The text log of a run: what `GET /runs/<id>/logs` shows, within bounds."""

from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType


class RunLog:
    """Appends lines to a file until it has `limit` bytes, then says once that the rest is left out."""

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
        """Write a line with the time (UTC) before it, at once visible to readers."""
        used = self._file.tell()
        if used >= self._limit:
            return
        line = f"{datetime.now(UTC):%H:%M:%S}  {text}\n".encode()
        if used + len(line) >= self._limit:
            line = f"The rest is left out: the log has reached {self._limit} bytes.\n".encode().rjust(
                self._limit - used
            )
        self._file.write(line)
        self._file.flush()

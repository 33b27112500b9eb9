"""/play: ClickHouse's own page for a browser. chDB's library contains it, without a function that returns it."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

_TITLE = b"<title>ClickHouse Query</title>"
_BEGIN, _END = b"<!DOCTYPE html>", b"</html>"
_STEP = 1 << 24
_LONGEST = 1 << 22


@functools.cache
def page() -> bytes | None:
    """Returns the page; None if this engine has none. The first call reads the engine's library once, some 500 MB."""
    library = Path(str(sys.modules["chdb._chdb"].__file__))
    with library.open("rb") as file:
        before, offset = b"", 0
        while data := file.read(_STEP):
            window = before + data
            at = window.find(_TITLE)
            begin = window.rfind(_BEGIN, 0, at) if at >= 0 else -1
            if begin >= 0:
                file.seek(offset - len(before) + begin)
                text = file.read(_LONGEST)
                end = text.find(_END)
                return text[: end + len(_END)] if end >= 0 else None
            offset += len(data)
            before = data[-(1 << 14) :]  # the title may stand across two steps, the beginning before it
    return None

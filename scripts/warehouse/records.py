"""Records in database `ops`: a dataclass for each table, appended and read. A change of state is a new row."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol, TypeVar, get_type_hints
from uuid import UUID

from warehouse.client import Warehouse

_HIGHEST_VERSION = 2**64 - 1

_clock = threading.Lock()
_last = 0


class Record(Protocol):
    """A frozen dataclass whose fields are the columns of `TABLE`; `_` at the end of a name is not part of the column's."""

    TABLE: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


Kind = TypeVar("Kind", bound=Record)


def now() -> datetime:
    return datetime.now(UTC)


def microseconds() -> int:
    """Microseconds since 1970, never twice the same in one process: versions of rows, and ids of runs."""
    global _last
    with _clock:
        _last = max(_last + 1, time.time_ns() // 1000)
        return _last


def append(warehouse: Warehouse, records: Sequence[Record]) -> None:
    """Appends records of one kind in one insert, all or none."""
    if records:
        warehouse.insert_events(records[0].TABLE, [_as_json(record) for record in records])


def read(warehouse: Warehouse, kind: type[Kind], where: str, parameters: Mapping[str, Any] | None = None) -> list[Kind]:
    """Records as they are now, that meet `where` (which may go on with ORDER BY and LIMIT)."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    select = ", ".join(
        # Microseconds, so that no driver's rounding or zone comes between two writers of the same instant.
        f"toUnixTimestamp64Micro({name})" if "datetime" in str(hints[name]) else f"`{name.rstrip('_')}`"
        for name in names
    )
    found = warehouse.rows(f"SELECT {select} FROM {kind.TABLE} FINAL WHERE {where}", parameters)
    return [
        kind(**{name: _from_wire(value, hints[name]) for name, value in zip(names, row, strict=True)}) for row in found
    ]


def _from_wire(value: Any, hint: Any) -> Any:
    if value is None:
        return None
    if "datetime" in str(hint):
        seconds, micros = divmod(int(value), 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
    if hint is UUID:
        return UUID(str(value))
    if isinstance(value, list | tuple):
        return tuple(value)
    return value


def _as_json(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in asdict(record).items():
        if isinstance(value, datetime):
            value = value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        elif isinstance(value, UUID):
            value = str(value)
        row[name.rstrip("_")] = value
    # ClickHouse keeps the row of the highest version, and of equal ones the last.
    row["version"] = max(microseconds(), min(row.get("version", 0) + 1, _HIGHEST_VERSION))
    return row

"""Shows UInt64 from 2^63 on as it is; without it SQL Lab and charts show a negative number (18446744073709551615 as -1), silently.

superset/db_engine_specs/clickhouse.py of Superset 6.1.0 (lines 239-252) has the driver read UInt64 as signed, because superset/result_set.py
gives the values to `pyarrow.array`, which raises OverflowError for an int above 2^63 - 1, and does not catch that. With this they are read
unsigned, and those that are too large for pyarrow reach the page as text: its column is text then, with every digit.

Upstream: https://github.com/apache/superset/issues/15876 is the OverflowError, https://github.com/ClickHouse/clickhouse-connect/issues/379 the
negative number and its author's answer that it is there for Superset. tests/integration/superset/test_superset_unsigned.py fails when the
fix is not needed any more; remove this module then.
"""

from typing import Any

_MOST = 2**63 - 1


def _fitting(value: Any) -> Any:
    """The value with ints that are too large for pyarrow as text, inside of arrays, tuples and maps too."""
    if isinstance(value, int):
        return str(value) if value > _MOST else value
    if isinstance(value, dict):
        return {_fitting(key): _fitting(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_fitting(item) for item in value])
    return value


def read_unsigned(_app: Any) -> None:
    """A FLASK_APP_MUTATOR. Raises AttributeError when Superset has no such function any more."""
    from clickhouse_connect.datatypes.format import clear_default_format
    from superset.db_engine_specs.clickhouse import ClickHouseConnectEngineSpec

    clear_default_format("UInt64")
    fetch = ClickHouseConnectEngineSpec.fetch_data

    def fetch_data(_spec: Any, cursor: Any, limit: int | None = None) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = fetch(cursor, limit)
        if not any("UInt64" in str(column[1]) for column in cursor.description or ()):
            return rows
        return [tuple(_fitting(value) for value in row) for row in rows]

    ClickHouseConnectEngineSpec.fetch_data = classmethod(fetch_data)

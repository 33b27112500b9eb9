"""What ClickHouse's formats are called in HTTP."""

from __future__ import annotations

_JSON = "application/json; charset=UTF-8"
_NDJSON = "application/x-ndjson; charset=UTF-8"
_TSV = "text/tab-separated-values; charset=UTF-8"
_BINARY = "application/octet-stream"
_TYPES = {
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "csvwithnamesandtypes": "text/csv; charset=UTF-8; header=present",
    "xml": "application/xml; charset=UTF-8",
    "markdown": "text/markdown; charset=UTF-8",
    "native": _BINARY,
    "parquet": _BINARY,
    "arrow": _BINARY,
    "arrowstream": _BINARY,
    "orc": _BINARY,
    "avro": _BINARY,
    "msgpack": _BINARY,
    "npy": _BINARY,
    "bsoneachrow": _BINARY,
    "rawblob": _BINARY,
}


def content_type(name: str) -> str:
    """The Content-Type of an output format; formats match whatever their case."""
    lower = name.lower()
    if lower in _TYPES:
        return _TYPES[lower]
    if lower.startswith(("tabseparated", "tsv")):
        return _TSV
    if lower.startswith(("rowbinary", "protobuf", "capnproto")):
        return _BINARY
    if lower.startswith("json"):
        return _NDJSON if "eachrow" in lower and "progress" not in lower else _JSON
    return "text/plain; charset=UTF-8"

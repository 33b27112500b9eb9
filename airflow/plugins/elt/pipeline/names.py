"""Names of tables in `raw`."""

from __future__ import annotations

import hashlib
import re

from warehouse.quoting import qualified

LOADING = re.compile(r"__loading_(?P<run>\d{16})_(?P<try>\d+)(?:_[0-9a-f]+)?$")
"""Suffix of a loading table's name: run, attempt, and the publisher's mark."""

# ClickHouse stores a table's name in a file name of at most 255 bytes, together with the database and a UUID.
_LONGEST_TARGET = 190
_LONGEST_STEM = 120


def raw(table: str) -> str:
    """The table of database `raw`, quoted for ClickHouse."""
    return qualified("raw", table)


def loading_table(target: str, run: int, attempt: int) -> str:
    """Returns the table into which only this attempt of the run loads the target."""
    return f"{_stem(target)}__loading_{run}_{attempt}"


def publisher_table(loading: str, mark: str) -> str:
    """Returns the loading table's name with a publisher's unique `mark` (hex digits), which replaces any earlier mark."""
    return f"{unmarked(loading)}_{mark}"


def unmarked(name: str) -> str:
    """Returns a loading table's name without a publisher's mark; any other name unchanged."""
    return LOADING.sub(r"__loading_\g<run>_\g<try>", name)


def run_of_loading_table(name: str) -> int | None:
    """Returns the run of a loading table; None for any other table of `raw`."""
    match = LOADING.search(name)
    return int(match["run"]) if match else None


def target_problem(target: str) -> str | None:
    """Returns why `target` cannot be a table of `raw`, or None."""
    if run_of_loading_table(target) is not None:
        return "has the name of a loading table"
    if _file_name_length(target) > _LONGEST_TARGET:
        return "is longer than ClickHouse takes; give the table a shorter name with target:"
    return None


def _file_name_length(name: str) -> int:
    return sum(1 if byte < 128 and (chr(byte).isalnum() or byte == 95) else 3 for byte in name.encode())


def _stem(target: str) -> str:
    if _file_name_length(target) <= _LONGEST_STEM:
        return target
    short = target
    while _file_name_length(short) > _LONGEST_STEM - 11:
        short = short[:-1]
    return f"{short}_{hashlib.sha256(target.encode()).hexdigest()[:10]}"

"""Names in `analytics`. dbt/macros/publishing/names.sql makes the same ones."""

import re
import secrets

DATABASE = "analytics"
MARK = "__next"
"""Mark in a name: the relation is built but not published, or was published and waits to be dropped."""

_BUILT = re.compile(rf"(?P<target>.+?){MARK}(?:_[0-9a-f]+)?")

FAILED = "failed__"
"""Tables of rows that failed a test."""


def published_name(name: str) -> str:
    """`fact_sales` for `fact_sales__next`."""
    return name.removesuffix(MARK)


def own_name(target: str) -> str:
    """A name for what will become `target`, that nobody else knows."""
    return f"{target}{MARK}_{secrets.token_hex(4)}"


def target_of(name: str) -> str | None:
    """The published name that `name` was built for, with or without a mark of `own_name`; None for any other name."""
    match = _BUILT.fullmatch(name)
    return match["target"] if match else None


def quoted(name: str) -> str:
    """`name` in `analytics`, as SQL."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"{DATABASE}.`{escaped}`"

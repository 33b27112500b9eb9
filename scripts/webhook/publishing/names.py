"""Names in `analytics`. The dbt project makes the same ones: dbt/macros/publishing/names.sql."""

import secrets

DATABASE = "analytics"
MARK = "__next"
"""Whatever has it in its name is built and not published, or was published once and waits to be dropped."""

FAILED = "failed__"
"""Tables of rows that failed a test."""


def published_name(name: str) -> str:
    """`fact_sales` for `fact_sales__next`."""
    return name.removesuffix(MARK)


def own_name(target: str) -> str:
    """A name for what will become `target`, that nobody else knows."""
    return f"{target}{MARK}_{secrets.token_hex(4)}"


def quoted(name: str) -> str:
    """`name` in `analytics`, as SQL."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"{DATABASE}.`{escaped}`"

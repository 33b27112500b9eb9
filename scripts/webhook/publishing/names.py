"""Names in `analytics`. dbt/macros/publishing/names.sql makes the same ones."""

import re

from warehouse.swap import Place

DATABASE = "analytics"
MARK = "__next"
"""Mark in a name: the relation is built but not published, or was published and waits to be dropped."""

_BUILT = re.compile(rf"(?P<target>.+?){MARK}(?:_[0-9a-f]+)?")

FAILED = "failed__"
"""Tables of rows that failed a test."""


def published_name(name: str) -> str:
    """`fact_sales` for `fact_sales__next`."""
    return name.removesuffix(MARK)


def marked(name: str, mark: str) -> str:
    """A name for the relation that was built under `name`, that only a publisher knows who knows the mark."""
    return f"{target_of(name) or name}{MARK}_{mark}"


def target_of(name: str) -> str | None:
    """The published name that `name` was built for, with or without a mark of a publisher; None for any other name."""
    match = _BUILT.fullmatch(name)
    return match["target"] if match else None


PLACE = Place(DATABASE, lambda name: MARK in name, marked)

"""The part of a load that depends on its mode: the base it goes on from, the rows it reads, and when it is complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from warehouse import ops
from warehouse.client import Warehouse

from elt.publishing import publish


@dataclass(frozen=True)
class Base:
    """The published rows that a load goes on from."""

    target: str
    rows: int
    """As a reader with FINAL counts them."""
    watermark: str = ""
    attached: tuple[int, ...] = ()
    """Parts of the source's table that are new, which are read whole."""


class Mode(Protocol):
    """One load of one table."""

    name: str
    """For ops.loads."""
    base: Base | None
    """None: the table is made from nothing."""
    condition: str | None
    """Which rows are read, in the source's language; all if None."""
    reads: bool
    """Whether anything is read at all."""

    def table_for_rows(self, loading: str) -> str:
        """Where the rows go that are read: the loading table, or one beside it."""
        ...

    def arrived(self, loading: str) -> int:
        """How many rows have arrived. Brings them into the loading table, if they are beside it."""
        ...

    def table_to_verify(self, loading: str) -> str:
        """The table that is compared with what was read; asked for when the rows have arrived."""
        ...

    def complete(self, event: ops.Load) -> ops.Load:
        """The load with what the next one needs to know. Raises TerminalError where its rows cannot be published."""
        ...


@dataclass(frozen=True)
class Published:
    """A table as the loader published it last."""

    load: ops.Load
    rows: int
    problem: str
    """Why nothing can go on from it, as a clause; empty if it can."""


def find_published(warehouse: Warehouse, target: str) -> Published | None:
    """The published table and the load that made it; None where there is none, or nobody recorded how it was made."""
    published = ops.latest_publish(warehouse, target)
    if published is None:
        return None
    loads = [load for load in ops.loads(warehouse, published.run) if load.target == target]
    load = next((load for load in reversed(loads) if load.status in ("loaded", "published")), None)
    if load is None or not load.shape:
        return None
    is_own = publish.uuids(warehouse).get(target) == published.new_uuid
    return Published(
        load, published.rows, "" if is_own else f"raw.{target} is not the table that the loader published last"
    )


def joined(*sentences: str) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)

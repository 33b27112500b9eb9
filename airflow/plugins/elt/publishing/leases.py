"""The loader's leases: one for the runs of each source, one for publishing. Whoever needs both takes the source's first."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager

from warehouse.client import Warehouse
from warehouse.leases import Lease, hold, is_free
from warehouse.turns import WAIT_SECONDS

RUN_WAIT_SECONDS = 30.0


def run_lease(
    warehouse: Warehouse,
    source_name: str,
    *,
    holder: str,
    wait_seconds: float = RUN_WAIT_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> AbstractContextManager[Lease]:
    """Keeps other runs of the source out while one begins, loads, publishes or compares: warehouse.leases.hold."""
    return hold(warehouse, _run_lease(source_name), holder=holder, wait_seconds=wait_seconds, tell=tell)


def run_lease_is_free(warehouse: Warehouse, source_name: str) -> bool:
    """Whether it is known that no process holds the lease of the source's runs: warehouse.leases.is_free."""
    return is_free(warehouse, _run_lease(source_name))


def publishing_lease(
    warehouse: Warehouse,
    *,
    holder: str,
    wait_seconds: float = WAIT_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> AbstractContextManager[Lease]:
    """Lets the sources publish one after the other: warehouse.leases.hold."""
    return hold(warehouse, "publishing", holder=holder, wait_seconds=wait_seconds, tell=tell)


def _run_lease(source_name: str) -> str:
    return f"run_{_slug(source_name)}"


def _slug(name: str) -> str:
    if re.fullmatch(r"[a-z0-9_]{1,40}", name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{re.sub(r'[^a-z0-9_]', '_', name.lower())[:30]}_{digest}"

"""Ranges of a table's blocks, which several sessions read at once."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, Sequence

from elt.sources.postgres import statements
from elt.sources.postgres.catalogue import Reads
from elt.sources.postgres.mapping import PostgresMapping
from elt.sources.postgres.options import PostgresTable

PROCESSORS_OF_A_STREAM = 2
"""Processors that one stream keeps busy where source and warehouse share its machine: Postgres one, warehouse and loader the other.

A second session has nothing to run on there (benchmarks/README.md), and costs the source its cache: Postgres reads a range of
blocks through all of its buffers, and a whole table through a few.
"""

_BLOCKS = """
SELECT coalesce(max(pg_relation_size(t)), 0) / current_setting('block_size')::int FROM (
 SELECT %s::oid AS t UNION ALL SELECT relid FROM pg_partition_tree(%s::oid)
 UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::oid) AS parts
"""


def find_ranges(source: Reads, mapping: PostgresMapping, hosts: Iterable[str]) -> Sequence[str | None]:
    """A condition for each session that reads the table; None alone where one reads it whole. `hosts` as for `sessions`."""
    count = sessions(mapping.entry, hosts)
    if count == 1 or mapping.table.kind not in ("table", "partitioned table"):
        return [None]
    # Of a partitioned table, or one with children, the largest part decides.
    blocks = source.rows(_BLOCKS, (mapping.table.oid,) * 3)[0][0]
    return statements.ranges(int(blocks), count)


def sessions(entry: PostgresTable, hosts: Iterable[str]) -> int:
    """How many sessions read the table at once: those of `ranges:`, but one where a second would find no processor to run on.

    `hosts` are those of the source and of the warehouse.
    """
    # Names are looked up last, and not for the tables without ranges, which are most.
    if entry.ranges > 1 and processors() <= PROCESSORS_OF_A_STREAM and all(map(_is_here, hosts)):
        return 1
    return entry.ranges


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_here(host: str) -> bool:
    """Whether the host is this machine: a folder of sockets, or an address that nobody else answers at."""
    if not host or host[0] in "/@":
        return True
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ipaddress.ip_address(address[4][0]).is_loopback for address in found)

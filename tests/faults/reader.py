"""A reader of published tables, all the time: they add up, whatever is being killed.

A single table is of one instant at every moment. Two tables may be of two instants only while a publish is under way, since
its swaps are one after the other: from when its journal is opened until it is closed.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError


@dataclass(frozen=True)
class Published:
    """A set of tables that is published together. Each select gives two sums that are 0, and the tick."""

    name: str
    selects: dict[str, str]
    pairs: dict[str, str]
    """Selects over two tables each: a number that is 0 where both are of one instant, the tick of the one, and of the other."""
    journal: str
    """The journal's rows: opened_at and closed_at, which is NULL while it is open."""


RAW = Published(
    "raw",
    {
        "accounts": "SELECT sum(balance), 0, max(tick) FROM raw.accounts",
        "transfers": "SELECT count() - uniqExact(id), 0, max(tick) FROM raw.transfers",
        "entries": "SELECT sum(amount), countIf(side = 'debit') - countIf(side = 'credit'), max(tick) FROM raw.entries",
        "audit": "SELECT sum(delta), count() - max(id), max(tick) FROM raw.audit FINAL",
    },
    {
        "balances are the sums of entries": "SELECT countIf(a.balance != e.amount), max(a.tick), max(e.tick) FROM raw.accounts a"
        " LEFT JOIN (SELECT account_id, sum(amount) AS amount, max(max(tick)) OVER () AS tick FROM raw.entries GROUP BY account_id) e"
        " ON e.account_id = a.id",
        "a transfer has two entries": "SELECT 2 * t.number - e.number, t.tick, e.tick"
        " FROM (SELECT count() AS number, max(tick) AS tick FROM raw.transfers) t,"
        " (SELECT count() AS number, max(tick) AS tick FROM raw.entries) e",
    },
    "SELECT opened_at, closed_at FROM ops.publishes FINAL",
)
MARTS = Published(
    "analytics",
    {
        "mart_accounts": "SELECT sum(balance), sum(abs(balance - entered)), max(tick) FROM analytics.mart_accounts",
        "mart_audit": "SELECT sum(delta), count() - max(id), max(tick) FROM analytics.mart_audit",
        "accounts_history": "SELECT sumIf(balance, dbt_valid_to IS NULL), count() - uniqExact(id, dbt_valid_from), max(tick)"
        " FROM analytics.accounts_history",
    },
    {},
    "SELECT opened_at, closed_at FROM ops.dbt_publishes FINAL",
)


@dataclass
class Reader(threading.Thread):
    """Polls; `wrong` says what did not hold, in sentences."""

    connect: Callable[[], Any]
    published: Published
    wrong: list[str] = field(default_factory=list)
    polls: int = 0
    may_be_away: bool = False
    """Whether the warehouse may not answer just now: it is killed or stopped on purpose."""

    def __post_init__(self) -> None:
        super().__init__(daemon=True, name=f"reader of {self.published.name}")
        self._over = threading.Event()
        self._ticks: dict[str, int] = {}
        self._told: set[str] = set()
        self._mixed: list[tuple[datetime, datetime, dict[str, int]]] = []

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        client = None
        while not self._over.wait(0.1):
            try:
                client = client or self.connect()
                self._poll(client)
            except (ClickHouseError, OSError) as error:
                client = None
                if getattr(error, "code", None) is not None or not self.may_be_away:
                    self._tell(f"a reader got an error: {' '.join(str(error).split())[:300]}")

    def stop(self) -> None:
        self._over.set()
        self.join(10)

    def check_journal(self, rows: Callable[[str], list[tuple[Any, ...]]]) -> None:
        """Compares the reads that saw two instants with the journal, which must have been open at that time."""
        mixed, self._mixed = self._mixed, []
        if not mixed:
            return
        journal = rows(self.published.journal)
        for begun, ended, ticks in mixed:
            if not any(
                _utc(opened) <= ended and (closed is None or _utc(closed) >= begun) for opened, closed in journal
            ):
                self.wrong.append(f"{self.published.name} was of two instants at {begun} with no journal open: {ticks}")

    def _poll(self, client: Any) -> None:
        selects = self.published.selects
        begun = datetime.now(UTC)
        found = client.query(_union(selects.values())).result_rows
        ended = datetime.now(UTC)
        self.polls += 1
        ticks = {}
        for number, first, second, tick in found:
            table = list(selects)[number]
            ticks[table] = int(tick)
            if first or second:
                self._tell(f"{table} does not add up at tick {tick}: {first}, {second}")
            if tick < self._ticks.get(table, 0):
                self._tell(f"{table} went back from tick {self._ticks[table]} to {tick}")
        self._ticks = ticks
        if len(set(ticks.values())) > 2:
            self._tell(f"more than two instants at once: {sorted(ticks.items())}")
        elif len(set(ticks.values())) == 2:
            self._mixed.append((begun, ended, ticks))
        for rule, select in self.published.pairs.items():
            differences, one, other = client.query(select).result_rows[0]
            if one == other and differences:
                self._tell(f"at tick {one} it is not so that {rule}: {differences} differ")

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self.wrong.append(f"{self.published.name}: {sentence}, {time.strftime('%H:%M:%S')}")


def _union(selects: Sequence[str] | Any) -> str:
    return " UNION ALL ".join(f"SELECT {number} AS number, * FROM ({select})" for number, select in enumerate(selects))


def _utc(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)

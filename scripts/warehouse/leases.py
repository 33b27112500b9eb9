"""Leases in the warehouse: one process at a time, and a number that tells a later holder from an earlier one.

A lease named `run_shop` is a row of generations: tables `ops.lease_run_shop_<n>`. Taking it over is CREATE of n + 1, which
succeeds once, whoever tries at the same moment; n is the fencing token. The holder appends a heartbeat to its table every few
seconds, with the warehouse's clock. A lease is free when its newest table says that it was released, when its holder was a
process of this host that has died, or when its last heartbeat is older than TIME_TO_LIVE. It is lost when a higher n exists,
and never because a heartbeat failed.

Leases keep processes out of each other's way. That nothing is published twice or backwards rests on the journal (warehouse.swap).
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from warehouse.client import Warehouse
from warehouse.errors import (
    TABLE_EXISTS,
    TABLE_IS_DROPPED,
    UNKNOWN_TABLE,
    PipelineError,
    TerminalError,
    TransientError,
    WarehouseRefusedError,
)
from warehouse.process import Process
from warehouse.quoting import literal, qualified

TIME_TO_LIVE = 30.0
"""Seconds after its last heartbeat for which a lease stays its holder's."""
HEARTBEAT_SECONDS = 5.0
_TIMEOUTS: dict[str, Any] = {"connect_timeout": 5, "answer_timeout": 10, "retries": 0}
_POLL_SECONDS = 0.5
_PREFIX = "lease_"
_NAME = re.compile(r"[a-z0-9_]{1,60}")
# CREATE of one name succeeds once on all nodes of these; others have no such promise.
_ENGINES = ("Atomic", "Replicated", "Shared")


class LeaseTakenError(TransientError):
    """Another process holds the lease."""

    def __init__(self, name: str, holder: str) -> None:
        self.name = name
        self.holder = holder
        super().__init__(f"Another run is at work: {holder}; wait until it ends, then start this one again")


class LeaseLostError(TransientError):
    """Another process has taken the lease over."""

    def __init__(self, name: str, number: int, newest: int) -> None:
        super().__init__(
            f"The lease {name} was taken over (generation {newest} after {number}), since its holder had been silent for more than "
            f"{TIME_TO_LIVE:.0f} s; run again, recovery will find what was begun"
        )


@dataclass(frozen=True)
class _State:
    """The newest generation of a lease."""

    number: int
    holder: str
    process: Process | None
    released: bool
    silent_seconds: float
    """By the warehouse's clock; 0 where there is no heartbeat yet."""
    last_beat: datetime | None = None

    @property
    def is_free(self) -> bool:
        """Whether its holder is known to be gone. One that is only silent may live."""
        return self.number == 0 or self.released or (self.process is not None and self.process.is_dead)

    @property
    def is_fresh(self) -> bool:
        """Whether the last heartbeat is no older than a living process lets it become; a stopped one is silent."""
        return self.silent_seconds < 3 * HEARTBEAT_SECONDS

    @property
    def description(self) -> str:
        if self.process is None:
            return "a process that begins at this moment"
        return f"{self.holder}, process {self.process.pid} on {self.process.host}"


class _Watch:
    """View that one waiter has of a lease, by its own clock.

    A warehouse that was away, or a clock that jumps, makes the last heartbeat look old. So a holder is silent only when the waiter
    itself has seen no new heartbeat for a while.
    """

    def __init__(self, wait_seconds: float) -> None:
        now = time.monotonic()
        self._deadline = now + wait_seconds
        self._silent_deadline = now + max(wait_seconds, TIME_TO_LIVE + 3 * HEARTBEAT_SECONDS)
        self._state = _State(0, "", None, released=False, silent_seconds=0)
        self._since = now
        self._changes = 0

    def look_at(self, state: _State) -> None:
        if (state.number, state.last_beat) != (self._state.number, self._state.last_beat):
            self._since = time.monotonic()
            self._changes += 1
        self._state = state

    @property
    def finds_free(self) -> bool:
        state, watched = self._state, time.monotonic() - self._since
        if state.is_free:
            return True
        if state.last_beat is None:
            return watched > TIME_TO_LIVE
        return state.silent_seconds > TIME_TO_LIVE and watched > min(2 * HEARTBEAT_SECONDS, TIME_TO_LIVE)

    @property
    def seconds_left(self) -> float:
        """Until the waiter gives up: later for a holder without a sign of life, so that its time to live can pass."""
        holder = self._state.process
        lives = self._changes > 1 or (self._state.is_fresh and holder is not None and holder.is_here)
        return (self._deadline if lives else self._silent_deadline) - time.monotonic()


class Lease:
    """A lease while it is held. A thread keeps it alive."""

    def __init__(self, warehouse: Warehouse, name: str, number: int, holder: str) -> None:
        self.name = name
        self.number = number
        """The fencing token."""
        self._warehouse = warehouse
        self._is_own = False
        self._holder = holder
        self._process = Process.of(os.getpid())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {name}", daemon=True)

    def check(self) -> None:
        """Raises LeaseLostError when another process has taken it over, WarehouseError when that cannot be known."""
        newest = max(_numbers(self._warehouse, self.name), default=0)
        if newest > self.number:
            raise LeaseLostError(self.name, self.number, newest)

    def is_held(self) -> bool:
        """Whether the warehouse says so now; False where it does not answer."""
        try:
            self.check()
        except PipelineError:
            return False
        return True

    def start(self) -> None:
        self._write(released=False)
        self._thread.start()

    def release(self) -> None:
        """Lets the next one in at once; where the warehouse does not answer, the time to live does."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(_TIMEOUTS["connect_timeout"] + _TIMEOUTS["answer_timeout"])
        with suppress(PipelineError):
            self._write(released=True)
        if self._is_own:
            self._warehouse.close()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            if not self._is_own:
                # A client of its own: one that hangs must not make the lease look silent, nor keep its holder from ending. A lease that
                # is shorter than a heartbeat does without.
                self._warehouse, self._is_own = self._warehouse.beside(**_TIMEOUTS), True
            try:
                self._write(released=False)
            except WarehouseRefusedError as error:
                if error.code == UNKNOWN_TABLE:
                    # A later holder has dropped it: check() says so.
                    return
            except PipelineError:
                # Not lost by that: only a higher number says so.
                continue

    def _write(self, *, released: bool) -> None:
        row: dict[str, Any] = {
            "holder": self._holder,
            "host": self._process.host,
            "pid": self._process.pid,
            "started": self._process.started,
            "released": released,
        }
        self._warehouse.insert_events(_table(self.name, self.number), [row])


def is_free(warehouse: Warehouse, name: str) -> bool:
    """Whether nobody holds the lease: it was released, or its holder was a process of this host that has died."""
    return _newest(warehouse, name).is_free


def check_all(leases: Iterable[Lease]) -> None:
    """Raises as Lease.check does."""
    for lease in leases:
        lease.check()


@contextmanager
def hold(
    warehouse: Warehouse,
    name: str,
    *,
    holder: str,
    wait_seconds: float,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Lease]:
    """Holds the lease in the body. `name` is of small letters, digits and `_`; `holder` names the run to people.

    Waits up to `wait_seconds`, and longer than TIME_TO_LIVE for a holder that shows no sign of life; says to `tell` for whom.
    Raises LeaseTakenError, which names the holder, when it stays taken.
    """
    lease = _take(warehouse, name, holder, wait_seconds, tell)
    try:
        lease.start()
        yield lease
    finally:
        lease.release()


def _take(warehouse: Warehouse, name: str, holder: str, wait_seconds: float, tell: Callable[[str], None]) -> Lease:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a lease: it takes small letters, digits and _")
    watch = _Watch(wait_seconds)
    announced = ""
    while True:
        state = _newest(warehouse, name)
        watch.look_at(state)
        if watch.finds_free:
            if _create(warehouse, name, state.number + 1, holder):
                return Lease(warehouse, name, state.number + 1, holder)
        elif watch.seconds_left <= 0:
            raise LeaseTakenError(name, state.description)
        elif state.description != announced:
            announced = state.description
            tell(f"waiting for {announced} to end, for {watch.seconds_left:.0f} s at most")
        time.sleep(_POLL_SECONDS)


def _newest(warehouse: Warehouse, name: str) -> _State:
    number = max(_numbers(warehouse, name), default=0)
    nothing = _State(number, "", None, released=False, silent_seconds=0)
    if number == 0:
        return nothing
    try:
        beats = warehouse.rows(
            "SELECT holder, host, pid, started, released, dateDiff('millisecond', beat_at, now64(6)) / 1000, beat_at"
            f" FROM {_table(name, number)} ORDER BY released DESC, beat_at DESC LIMIT 1"
        )
    except WarehouseRefusedError as error:
        # A later holder has dropped it between the two queries: the next look sees that one.
        if error.code in (UNKNOWN_TABLE, TABLE_IS_DROPPED):
            return nothing
        raise
    if not beats:
        # Whoever made it has not written yet, or died before that.
        return _made_only(warehouse, name, nothing)
    holder, host, pid, started, released, silent, beat = beats[0]
    return _State(number, holder, Process(host, int(pid), started), bool(released), float(silent), beat)


def _made_only(warehouse: Warehouse, name: str, nothing: _State) -> _State:
    """The state of a generation without a heartbeat: its comment says who made it."""
    found = warehouse.rows(
        "SELECT comment FROM system.tables WHERE database = 'ops' AND name = {name:String}",
        {"name": f"{_PREFIX}{name}_{nothing.number}"},
    )
    try:
        maker = json.loads(found[0][0])
        return replace(nothing, holder=maker["holder"], process=Process(maker["host"], maker["pid"], maker["started"]))
    except (IndexError, ValueError, TypeError, KeyError):
        return nothing


def _numbers(warehouse: Warehouse, name: str) -> list[int]:
    found = warehouse.rows(
        "SELECT name FROM system.tables WHERE database = 'ops' AND startsWith(name, {prefix:String})",
        {"prefix": f"{_PREFIX}{name}_"},
    )
    endings = (str(table).removeprefix(f"{_PREFIX}{name}_") for (table,) in found)
    return [int(ending) for ending in endings if ending.isdigit()]


def _create(warehouse: Warehouse, name: str, number: int, holder: str) -> bool:
    """Whether this process holds the generation now."""
    _check_engine(warehouse)
    maker = json.dumps({"holder": holder, **asdict(Process.of(os.getpid()))})
    try:
        warehouse.command(
            f"CREATE TABLE {_table(name, number)} (holder String, host String, pid UInt32, started String, released Bool,"
            " beat_at DateTime64(6, 'UTC') DEFAULT now64(6)) ENGINE = MergeTree ORDER BY beat_at"
            f" COMMENT {literal(maker)}"
        )
    except WarehouseRefusedError as error:
        if error.code == TABLE_EXISTS:
            return False
        raise
    numbers = _numbers(warehouse, name)
    if max(numbers, default=number) > number:
        # Somebody took this number and a later one while this process was slow, and dropped this one: it was given once already.
        warehouse.drop(_table(name, number))
        return False
    with suppress(PipelineError):
        for older in numbers:
            if older < number:
                warehouse.drop(_table(name, older))
    return True


def _check_engine(warehouse: Warehouse) -> None:
    engines = [str(engine) for (engine,) in warehouse.rows("SELECT engine FROM system.databases WHERE name = 'ops'")]
    if engines and engines[0] not in _ENGINES:
        raise TerminalError(
            f"The database ops has the engine {engines[0]}, in which two processes may make one table at once; make it anew with the engine "
            f"{' or '.join(_ENGINES)} (clickhouse/init)"
        )


def _table(name: str, number: int) -> str:
    return qualified("ops", f"{_PREFIX}{name}_{number}")

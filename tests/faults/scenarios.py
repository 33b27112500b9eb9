"""The scenarios: who is harmed, how, and at which moments."""

import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from faults import fault as faults
from faults.fault import After, At, Deed, Fault, Moment
from faults.proxy import When

WAREHOUSE, SOURCE, WORKER = "warehouse_wire", "source_wire", "worker_wire"

# The statements of a step by the name of the moment: where they pass, what they look like, and the first and last number of those that
# are meant. A statement that never passes is a moment that meets nobody.
_INSERT = r"INSERT(?:\s|\+|%20)+INTO(?:\s|\+|%20)+ops\."
BEGIN = {
    "recovery looks": (WAREHOUSE, r"ops\.publishes", 1, 1),
    "the run is written": (WAREHOUSE, _INSERT + "runs", 1, 1),
}
HOLD = {
    "the snapshot is exported": (SOURCE, "pg_export_snapshot", 1, 1),
    "the snapshot is written": (WAREHOUSE, _INSERT + "runs", 1, 1),
}
LOAD = {
    "the loading table is made": (WAREHOUSE, "CREATE TABLE", 1, 4),
    "the load is written": (WAREHOUSE, _INSERT + "loads", 1, 4),
    "the copy begins": (SOURCE, r"COPY \(", 1, 3),
    "the rows begin": (WAREHOUSE, r"FORMAT TabSeparated", 1, 3),
    "changed rows join": (WAREHOUSE, "ATTACH PARTITION", 1, 1),
    "the table is finished": (WAREHOUSE, "REMOVE DEFAULT", 1, 3),
}
PUBLISH = {
    "a lease is taken": (WAREHOUSE, r"CREATE TABLE ops\.`lease_", 1, 2),
    "a lease is let go": (WAREHOUSE, _INSERT + "`?lease_", 3, 4),
    "the journal is written": (WAREHOUSE, _INSERT + "publishes", 1, 1),
    "a look before the swap": (WAREHOUSE, r"FROM system\.tables", 1, 6),
    "tables get the publisher's names": (WAREHOUSE, "RENAME TABLE", 1, 1),
    "the swap": (WAREHOUSE, "EXCHANGE TABLES", 1, 1),
    "the journal is closed": (WAREHOUSE, _INSERT + "publishes", 2, 2),
    "loads are closed": (WAREHOUSE, _INSERT + "loads", 1, 1),
    "the run is closed": (WAREHOUSE, _INSERT + "runs", 1, 1),
    "an old table is dropped": (WAREHOUSE, r"DROP TABLE IF EXISTS raw\.", 1, 4),
}
BUILD = {
    "a model is built": (WORKER, "create table", 1, 3),
    "the journal is written": (WORKER, _INSERT + "dbt_publishes", 1, 1),
    "marts get the publisher's names": (WORKER, "RENAME TABLE", 1, 1),
    "the swap": (WORKER, "EXCHANGE TABLES", 1, 1),
    "the journal is closed": (WORKER, _INSERT + "dbt_publishes", 2, 2),
}
POINTS: Mapping[str, Mapping[str, tuple[str, str, int, int]]] = {
    "begin": BEGIN,
    "hold": HOLD,
    "load": LOAD,
    "publish": PUBLISH,
    "whole": BEGIN | LOAD | PUBLISH,
    "build": BUILD,
}
ANY: tuple[When, ...] = ("unsent", "sent", "answered")
HEARD: tuple[When, ...] = ("sent", "answered")


@dataclass(frozen=True)
class Scenario:
    """A kind of fault. `steps` are those it may strike in, `whens` how a statement and it meet."""

    name: str
    says: str
    steps: tuple[str, ...]
    deed: Deed
    whens: tuple[When, ...] = ANY
    share_of_points: float = 0.6
    """How often it strikes at a named moment, else at a random one."""

    @property
    def kind(self) -> Literal["run", "by hand", "build"]:
        return {"whole": "by hand", "build": "build"}.get(self.steps[0], "run")  # type: ignore[return-value]

    def fault(self, dice: random.Random, seconds: Callable[[str], float]) -> Fault:
        """A fault; `seconds` says how long a step takes."""
        step = dice.choice(self.steps)
        return Fault(step, self._moment(step, dice, seconds), self.deed, dice)

    def _moment(self, step: str, dice: random.Random, seconds: Callable[[str], float]) -> Moment:
        if dice.random() >= self.share_of_points:
            return After(dice.uniform(0, 0.8 * seconds(step)))
        name = dice.choice(list(POINTS[step]))
        wire, pattern, first, last = POINTS[step][name]
        return At(wire, name, pattern, dice.randint(first, last), dice.choice(self.whens))


def _worker(who: str, number: signal.Signals) -> Deed:
    return faults.of_worker(who, number)


ALL_STEPS = ("begin", "hold", "load", "publish")
SCENARIOS = {
    one.name: one
    for one in (
        Scenario("kill-begin", "kill -9 of the task that begins a run", ("begin",), faults.kill),
        Scenario("kill-load", "kill -9 of a load", ("load",), faults.kill),
        Scenario("kill-holder", "kill -9 of the task that holds the snapshot", ("hold",), faults.kill),
        Scenario(
            "kill-publish",
            "kill -9 of the publisher, at each of its statements",
            ("publish",),
            faults.kill,
            share_of_points=0.85,
        ),
        Scenario("kill-by-hand", "kill -9 of `python -m elt load`", ("whole",), faults.kill),
        Scenario("stop-load", "SIGSTOP of a load for a while", ("load",), faults.stop, HEARD),
        Scenario(
            "stop-holder", "SIGSTOP of the task that holds the snapshot, for a while", ("hold",), faults.stop, HEARD
        ),
        Scenario("stop-publish", "SIGSTOP of the publisher for a while", ("publish",), faults.stop, HEARD),
        Scenario(
            "overtake-publish",
            "SIGSTOP of the publisher and the end of its sessions; another attempt takes over, and it wakes meanwhile or afterwards",
            ("publish",),
            faults.take_over,
            HEARD,
            0.85,
        ),
        Scenario("overtake-load", "the same of a load", ("load",), faults.take_over, HEARD),
        Scenario("kill-warehouse", "kill -9 of the warehouse's server during a run", ALL_STEPS, faults.kill_warehouse),
        Scenario(
            "stop-warehouse", "SIGSTOP of the warehouse's server for a while", ALL_STEPS, faults.stop_warehouse, HEARD
        ),
        Scenario(
            "kill-backend",
            "kill -9 of a backend of Postgres, which ends all sessions",
            ALL_STEPS,
            faults.kill_backend,
            HEARD,
            0.3,
        ),
        Scenario("end-session", "Postgres ends a session of the loader", ALL_STEPS, faults.end_session, HEARD, 0.3),
        Scenario(
            "stall-source",
            "nothing passes between loader and Postgres for a while; in half of the cases a reset follows",
            ALL_STEPS,
            faults.stall(SOURCE),
        ),
        Scenario(
            "reset-source", "all connections from the loader to Postgres are reset", ALL_STEPS, faults.reset(SOURCE)
        ),
        Scenario(
            "cut-source",
            "a connection to Postgres is reset after n bytes",
            ("begin", "hold", "load"),
            faults.cut(SOURCE),
            share_of_points=0.0,
        ),
        Scenario(
            "stall-warehouse", "as stall-source, between loader and warehouse", ALL_STEPS, faults.stall(WAREHOUSE)
        ),
        Scenario(
            "reset-warehouse", "as reset-source, between loader and warehouse", ALL_STEPS, faults.reset(WAREHOUSE)
        ),
        Scenario(
            "cut-warehouse",
            "as cut-source, between loader and warehouse",
            ALL_STEPS,
            faults.cut(WAREHOUSE),
            share_of_points=0.0,
        ),
        Scenario(
            "kill-worker",
            "kill -9 of the webhook's worker during a build",
            ("build",),
            _worker("worker", signal.SIGKILL),
        ),
        Scenario(
            "stop-worker", "SIGSTOP of the worker for a while", ("build",), _worker("worker", signal.SIGSTOP), HEARD
        ),
        Scenario("kill-dbt", "kill -9 of dbt's process", ("build",), _worker("dbt", signal.SIGKILL), HEARD, 0.2),
        Scenario(
            "kill-dbt-host",
            "kill -9 of the process that keeps dbt warm",
            ("build",),
            _worker("host", signal.SIGKILL),
            HEARD,
            0.2,
        ),
        Scenario(
            "kill-warehouse-in-build",
            "kill -9 of the warehouse's server during a build",
            ("build",),
            faults.kill_warehouse,
        ),
        Scenario("stall-worker", "as stall-source, between worker and warehouse", ("build",), faults.stall(WORKER)),
        Scenario("reset-worker", "as reset-source, between worker and warehouse", ("build",), faults.reset(WORKER)),
        Scenario(
            "cut-worker",
            "as cut-source, between worker and warehouse",
            ("build",),
            faults.cut(WORKER, most=300_000),
            share_of_points=0.0,
        ),
    )
}

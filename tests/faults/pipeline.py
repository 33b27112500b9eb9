"""A run as Airflow has it: begin, hold a snapshot while tables are loaded, publish; each a process of its own, with retries."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg2

from faults import steps
from faults.fault import Fault
from faults.instant import Instant, read_source
from faults.steps import Step, StepError
from faults.world import World

LIMITS = {"begin": 90.0, "hold": 150.0, "load": 120.0, "publish": 180.0, "fail": 60.0, "whole": 240.0}
"""Seconds that each step may take: what it may wait for (a lock, dbt, a server that starts) and a busy machine."""
TRIES = 3
_PAUSE = 0.3
# Two tasks, as the DAG joins small tables into one.
_TASKS = (["entries"], ["accounts", "transfers", "audit"])


class DagRun:
    """One run, which may meet a fault."""

    def __init__(self, world: World, fault: Fault | None = None) -> None:
        self._world = world
        self._fault = fault
        self._key = world.next_key()
        self._run: int | None = None
        self.errors: list[str] = []

    def go(self) -> Instant | None:
        """Returns the instant that is published now, or None when the run has failed and was closed as failed."""
        try:
            self._run = self._tried(steps.begin, key=self._key)
            if self._fault is None:
                found = self._world.rows("SELECT run, target FROM ops.publishes WHERE status = 'open'")
                assert not found, f"a run has begun and has not finished the publish of an earlier one: {found}"
            instant = self._load(self._run)
            self._tried(steps.publish, run=self._run)
            return instant
        except StepError as error:
            self.errors.append(str(error))
            if self._fault is not None:
                self._fault.end(self._world)
            self._close()
            return None

    def _load(self, run: int) -> Instant:
        with self._started(steps.hold, run=run) as holder:
            snapshot = holder.ready()
            loads = [_Loading(self, run, targets) for targets in _TASKS]
            with ExitStack() as stack:
                for load in loads:
                    stack.callback(load.end)
                try:
                    instant = read_source(self._world.dsn, snapshot)
                except psycopg2.Error as error:
                    raise StepError(f"the snapshot is gone: {error}", may_retry=False) from None
                while [load for load in loads if not load.look()]:
                    if holder.has_ended:
                        # As Airflow: what has begun ends by itself, what has not finds no snapshot.
                        for load in loads:
                            load.last_try()
                    time.sleep(0.02)
            holder.release()
            holder.result()
            return instant

    def _tried(self, work: Callable[..., Any], **given: Any) -> Any:
        """The result of a step, tried again as Airflow does. One that is given up sleeps on, until the fault wakes it."""
        for number in range(TRIES):
            try:
                with self._started(work, **given) as step:
                    return step.result()
            except StepError as error:
                self.errors.append(str(error))
                if not error.may_retry or number == TRIES - 1:
                    raise
                time.sleep(_PAUSE)
        raise AssertionError("unreachable")

    @contextmanager
    def _started(self, work: Callable[..., Any], **given: Any) -> Iterator[Step]:
        step = self.start(work, **given)
        try:
            yield step
        finally:
            self.ended(step)

    def start(self, work: Callable[..., Any], **given: Any) -> Step:
        step = self._world.step(work, seconds=LIMITS[work.__name__], **given)
        if self._fault is not None:
            self._fault.begun(self._world, step)
        return step

    def ended(self, step: Step) -> None:
        if self._fault is not None:
            self._fault.ended(self._world, step)
        else:
            self._world.took(step.name, step.seconds)
        if not step.is_given_up:
            step.end()

    def _close(self) -> None:
        """As Airflow's callback: the run is closed as failed. The callback itself is not harmed."""
        for _ in range(60):
            step = self._world.step(steps.fail, seconds=LIMITS["fail"], run=self._run, key=self._key)
            try:
                step.result()
                return
            except StepError as error:
                if not error.may_retry:
                    raise AssertionError(f"a failed run could not be closed: {error}") from None
                time.sleep(_PAUSE)
            finally:
                step.end()
        raise AssertionError(f"a failed run could not be closed within 60 tries: {self.errors}")


class _Loading:
    """A load, tried again as Airflow does."""

    def __init__(self, dag_run: DagRun, run: int, targets: list[str]) -> None:
        self._dag_run = dag_run
        self._given = {"run": run, "targets": targets}
        self._number = 1
        self._tries = TRIES
        self._step: Step | None = dag_run.start(steps.load, attempt=1, **self._given)
        self._next_at = 0.0

    def last_try(self) -> None:
        self._tries = self._number

    def look(self) -> bool:
        """Whether it has gone well. Raises StepError when no try is left."""
        if self._step is None:
            if self._next_at and time.monotonic() >= self._next_at:
                self._number, self._next_at = self._number + 1, 0.0
                self._step = self._dag_run.start(steps.load, attempt=self._number, **self._given)
            return not self._next_at and self._step is None
        if not (self._step.has_ended or self._step.is_given_up or self._step.is_late):
            return False
        step, self._step = self._step, None
        try:
            step.result()
        except StepError as error:
            self._dag_run.errors.append(str(error))
            if not error.may_retry or self._number >= self._tries:
                raise
            self._next_at = time.monotonic() + _PAUSE
            return False
        finally:
            self._dag_run.ended(step)
        return True

    def end(self) -> None:
        if self._step is not None:
            self._dag_run.ended(self._step)

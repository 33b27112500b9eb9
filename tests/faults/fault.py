"""A fault: what is done to whom, once, at which moment of a step."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from warehouse.leases import TIME_TO_LIVE

from faults.proxy import When
from faults.steps import Step
from faults.world import World

Deed = Callable[["Fault", World, Step | None], None]


@dataclass(frozen=True)
class After:
    """Some seconds after the step has begun."""

    seconds: float

    def __str__(self) -> str:
        return f"after {self.seconds:.2f} s"


@dataclass(frozen=True)
class At:
    """When a statement passes for the `number`th time within the step; `wire` is an attribute of World."""

    wire: str
    name: str
    pattern: str
    number: int
    when: When

    def __str__(self) -> str:
        return f"{self.name} ({self.number}, {self.when})"


Moment = After | At


@dataclass(eq=False)
class Fault:
    """Strikes once, while a step of that name is at work."""

    step: str
    moment: Moment
    deed: Deed
    dice: random.Random
    struck_at: float = 0.0
    """By the monotonic clock; 0 before."""
    sleepers: list[Step] = field(default_factory=list)
    """Steps that were stopped and given up."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _armed: Step | None = None

    def __post_init__(self) -> None:
        # Of the two loads that run beside each other either may be met.
        self._passed_over = self.dice.randrange(2) if self.step == "load" else 0

    def begun(self, world: World, step: Step | None) -> None:
        """Arms the fault; `step` is None for a build."""
        if self.struck_at or (step.name if step else "build") != self.step or self._armed is not None:
            return
        if self._passed_over:
            self._passed_over -= 1
            return
        self._armed = step
        if isinstance(self.moment, After):
            timer = threading.Timer(self.moment.seconds, self._strike, (world, step))
            timer.daemon = True
            timer.start()
        else:
            at = self.moment
            getattr(world, at.wire).watch(at.pattern, at.number, at.when, lambda: self._strike(world, step))

    def ended(self, world: World, step: Step | None) -> None:
        with self._lock:
            if step is self._armed:
                self._armed = None
                if isinstance(self.moment, At):
                    getattr(world, self.moment.wire).stop_watching()

    def end(self, world: World) -> None:
        """Wakes who sleeps, waits for what was to happen later, and lets everything flow again."""
        for step in self.sleepers:
            step.signal(signal.SIGCONT)
        world.settle()
        for step in self.sleepers:
            # It may fail or go well, but it ends, and touches nothing: the checks come after it.
            step.is_given_up = False
            with suppress(Exception):
                step.result()
            assert step.has_ended, f"the step {step.name}, stopped and woken, did not end"
            step.end()
        self.sleepers.clear()

    def _strike(self, world: World, step: Step | None) -> None:
        with self._lock:
            if self.struck_at or (step is not None and (step is not self._armed or step.has_ended)):
                return
            self.struck_at = time.monotonic()
        self.deed(self, world, step)


def kill(fault: Fault, world: World, step: Step | None) -> None:
    assert step is not None
    step.signal(signal.SIGKILL)


def stop(fault: Fault, world: World, step: Step | None) -> None:
    """SIGSTOP for a while."""
    assert step is not None
    step.signal(signal.SIGSTOP)
    world.later(fault.dice.uniform(0.5, 3), lambda: step.signal(signal.SIGCONT))


def take_over(fault: Fault, world: World, step: Step | None) -> None:
    """SIGSTOP, and its sessions at the source end, so that another attempt takes over when its leases are silent. It wakes about then, or when all has ended."""
    assert step is not None
    step.signal(signal.SIGSTOP)
    fault.sleepers.append(step)
    world.source_wire.reset()
    step.is_given_up = True
    if fault.dice.random() < 0.5:
        world.later(TIME_TO_LIVE + fault.dice.uniform(-2, 12), lambda: step.signal(signal.SIGCONT))


def kill_warehouse(fault: Fault, world: World, step: Step | None) -> None:
    world.kill_warehouse(away=fault.dice.uniform(0, 1))


def stop_warehouse(fault: Fault, world: World, step: Step | None) -> None:
    pid = world.warehouse.pid
    os.kill(pid, signal.SIGSTOP)
    world.later(fault.dice.uniform(0.5, 4), lambda: os.kill(pid, signal.SIGCONT))


def _a_session(fault: Fault, world: World) -> int | None:
    sessions = world.sessions()
    return fault.dice.choice(sessions)[0] if sessions else None


def kill_backend(fault: Fault, world: World, step: Step | None) -> None:
    """kill -9 of a session's process at the source, after which Postgres ends all others and recovers."""
    if (pid := _a_session(fault, world)) is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end_session(fault: Fault, world: World, step: Step | None) -> None:
    if (pid := _a_session(fault, world)) is not None:
        world.sql(f"SELECT pg_terminate_backend({pid})")


def stall(wire: str) -> Deed:
    def deed(fault: Fault, world: World, step: Step | None) -> None:
        proxy = getattr(world, wire)
        proxy.stall()
        # Half of the time nobody ever answers: the connections are reset in the end.
        ends_with_reset = fault.dice.random() < 0.5

        def end() -> None:
            if ends_with_reset:
                proxy.reset()
            proxy.resume()

        world.later(fault.dice.uniform(0.5, 4), end)

    return deed


def reset(wire: str) -> Deed:
    return lambda fault, world, step: getattr(world, wire).reset()


def cut(wire: str, most: int = 5_000_000) -> Deed:
    """Resets the connection on which a byte passes that is 100 to `most` bytes away."""

    def deed(fault: Fault, world: World, step: Step | None) -> None:
        struck_at, fault.struck_at = fault.struck_at, 0.0

        def struck() -> None:
            fault.struck_at = max(struck_at, time.monotonic())

        getattr(world, wire).cut_after(int(100 * (most / 100) ** fault.dice.random()), struck)

    return deed


def of_worker(who: str, number: signal.Signals) -> Deed:
    """A signal to the worker, to its host, or to dbt; one that is stopped goes on after a while."""

    def deed(fault: Fault, world: World, step: Step | None) -> None:
        pid = world.builder.processes().get(who)
        if pid is None:
            fault.struck_at = 0.0
            return
        os.kill(pid, number)
        if number == signal.SIGSTOP:

            def wake() -> None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

            world.later(fault.dice.uniform(0.5, 4), wake)

    return deed

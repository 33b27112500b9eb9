"""One round of a scenario: a fault strikes, everything goes on until it is green, and then everything must add up."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from faults import checks, steps
from faults.fault import Fault
from faults.instant import Instant
from faults.pipeline import LIMITS, DagRun
from faults.scenarios import Scenario
from faults.steps import StepError
from faults.world import World

BUILD_SECONDS = 240.0
GREEN_AFTER_RUNS = 4
"""Runs without a fault, after one, until one must be green."""


@dataclass(frozen=True)
class Round:
    """A round that went well. `struck`: whether the fault met anybody; `recovered`: seconds from the fault to the next green run."""

    struck: bool
    recovered: float
    moment: str


def prepare(world: World) -> None:
    """The first runs, without faults."""
    assert DagRun(world).go() is not None, "the first run, which met no fault, is not green"
    world.watch_raw()
    for _ in range(2):
        assert DagRun(world).go() is not None, "a run that met no fault is not green"


def play(world: World, scenario: Scenario, seed: int) -> Round:
    """Raises AssertionError that says what did not hold."""
    dice = random.Random(f"{scenario.name}/{seed}")
    if scenario.kind == "build":
        world.build_marts()
    fault = scenario.fault(dice, world.usual_seconds)
    instant: Instant | None = None
    if scenario.kind == "run":
        instant = DagRun(world, fault).go()
    elif scenario.kind == "by hand":
        _by_hand(world, fault)
    else:
        _build(world, fault, with_run=dice.random() < 0.5)
    fault.end(world)
    tried: list[str] = []
    for _ in range(GREEN_AFTER_RUNS):
        if instant is not None:
            break
        run = DagRun(world)
        instant = run.go()
        tried += run.errors
    if instant is not None and not tried and checks.loading_tables(world):
        # The run went well although a process of it was killed, whose tables the next run drops.
        instant = DagRun(world).go()
    assert instant is not None, f"{GREEN_AFTER_RUNS} runs after the fault failed: {tried}"
    recovered_at = time.monotonic()
    if scenario.kind == "build":
        _green_build(world)
        recovered_at = time.monotonic()
    checks.check(world, instant, marts=scenario.kind == "build")
    recovered = recovered_at - fault.struck_at if fault.struck_at else 0.0
    return Round(bool(fault.struck_at), recovered, f"{fault.step}, {fault.moment}")


def _by_hand(world: World, fault: Fault) -> None:
    step = world.step(steps.whole, seconds=LIMITS["whole"])
    fault.begun(world, step)
    try:
        with suppress(StepError):
            step.result()
    finally:
        fault.ended(world, step)
        step.end()


def _build(world: World, fault: Fault, *, with_run: bool) -> None:
    """A build that meets the fault, in half of the rounds beside a run of the loader: the two take turns."""
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(lambda: DagRun(world).go()) if with_run else None
        fault.begun(world, None)
        world.builder.build(BUILD_SECONDS)
        fault.ended(world, None)
        if beside is not None:
            beside.result()


def _green_build(world: World) -> None:
    for _ in range(GREEN_AFTER_RUNS):
        began = time.monotonic()
        if world.builder.build(BUILD_SECONDS) == "success":
            world.took("build", time.monotonic() - began)
            return
    raise AssertionError(f"{GREEN_AFTER_RUNS} builds after the fault failed, the last one with: {world.builder.error}")

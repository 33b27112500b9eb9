"""`./test.sh faults`: rounds of every scenario, a row of a table for each. Exit code 1 when something does not hold."""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from testing.servers import REPO

from faults import results
from faults.play import play, prepare
from faults.results import Row
from faults.scenarios import SCENARIOS, Scenario
from faults.world import World, world

HOME = Path(os.environ.get("STACK_HOME", REPO / ".stack"))
VENVS = Path(os.environ.get("STACK_VENVS", HOME / "venvs"))
FOLDER = HOME / "faults"
# Rounds whose fault met nobody are played again, up to so many times as many.
_MOST_TRIES = 3


class Stage:
    """A world that is made anew after a failure."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._stack = ExitStack()
        self._world: World | None = None
        self.home = Path()

    def world(self) -> World:
        if self._world is None:
            self.home = Path(tempfile.mkdtemp(prefix="stack-faults-", dir="/tmp"))
            self.home.chmod(0o755)
            self._stack.callback(shutil.rmtree, self.home, ignore_errors=True)
            self._world = self._stack.enter_context(world(self.home, VENVS, self._seed))
            prepare(self._world)
        return self._world

    def keep_evidence(self, name: str, text: str) -> Path:
        """Copies the logs of a round that failed."""
        kept = FOLDER / "failed" / name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        (kept / "failure.txt").write_text(text)
        for log in self.home.rglob("*.log"):
            shutil.copy(log, kept / "_".join(log.relative_to(self.home).parts))
        return kept

    def close(self) -> None:
        self._world = None
        self._stack.close()


def main() -> int:
    options = _parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    if options.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:24} {scenario.says}")
        return 0
    if unknown := set(options.scenarios) - set(SCENARIOS):
        print(f"{', '.join(sorted(unknown))} is no scenario: --list names them all", file=sys.stderr)
        return 2
    names = options.scenarios or list(SCENARIOS)
    FOLDER.mkdir(parents=True, exist_ok=True)
    file, code = FOLDER / "results.jsonl", results.code()
    if options.again:
        kept = [row for row in results.read(file) if row.scenario not in names or row.code != code]
        file.unlink(missing_ok=True)
        for row in kept:
            results.append(file, row)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}, results in {file}", flush=True)
    stage = Stage(seed)
    failed = False
    try:
        for name in names:
            missing = options.rounds - results.good_rounds(results.read(file), name, code)
            if missing <= 0:
                print(f"{name}: has its {options.rounds} rounds; --again plays them again")
                continue
            failed = not _rounds(stage, SCENARIOS[name], missing, seed, file, code) or failed
    except KeyboardInterrupt:
        print("Interrupted: the next start goes on from here")
        failed = True
    finally:
        stage.close()
    rows = [row for row in results.read(file) if row.code == code]
    print("\n" + results.table(rows, {one.name: one.says for one in SCENARIOS.values()}))
    return 1 if failed else 0


def _rounds(stage: Stage, scenario: Scenario, wanted: int, seed: int, file: Path, code: str) -> bool:
    """Plays until `wanted` faults have struck, or something does not hold, whose evidence is kept. Writes the row, also when it is interrupted."""
    rounds, struck, result, number = 0, 0, "holds", seed
    recovered: list[float] = []
    try:
        while struck < wanted and rounds < _MOST_TRIES * wanted:
            number = seed + rounds
            began = time.monotonic()
            played = play(stage.world(), scenario, number)
            rounds += 1
            struck += played.struck
            recovered += [round(played.recovered, 2)] if played.struck else []
            told = f"green after {played.recovered:.1f} s" if played.struck else "met nobody"
            took = f"{time.monotonic() - began:.1f} s"
            print(f"{scenario.name} {rounds}, seed {number}: {played.moment}: {told}; {took}", flush=True)
    except Exception as error:  # noqa: BLE001 - whatever happens is the result
        rounds += 1
        result = f"{type(error).__name__}: {error}"
        repeat = f"./test.sh faults {scenario.name} --seed {number} --rounds 1 --again"
        where = stage.keep_evidence(f"{scenario.name}-{number}", f"{traceback.format_exc()}\nAgain: {repeat}\n")
        print(f"{scenario.name} {rounds} FAILS\n{result}\nEvidence: {where}\nAgain: {repeat}", flush=True)
        stage.close()
    finally:
        first = seed if result == "holds" else number
        row = Row(scenario.name, first, rounds, struck, recovered, result, code, results.now())
        if rounds:
            results.append(file, row)
    return result == "holds"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./test.sh faults", description=__doc__)
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help="some of those that --list names; without any: all"
    )
    parser.add_argument("--rounds", type=int, default=15, help="faults that must strike, for each scenario (15)")
    parser.add_argument(
        "--seed", type=int, help="of the first round; the next ones count on from it. Without it: a random one"
    )
    parser.add_argument("--again", action="store_true", help="also those that have their rounds")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

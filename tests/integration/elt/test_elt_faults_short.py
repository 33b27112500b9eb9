"""Some rounds of the harness of faults, one after the other in one world. All of them: ./test.sh faults."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import evidence
import pytest
from faults.play import play, prepare
from faults.scenarios import SCENARIOS
from faults.world import World, world


@pytest.fixture(scope="module")
def harmed(venvs: Path) -> Iterator[World]:
    home = Path(tempfile.mkdtemp(prefix="stack-faults-", dir="/tmp"))
    home.chmod(0o755)
    evidence.keep_logs_of(home)
    with world(home, venvs, seed=1) as made:
        prepare(made)
        yield made
    shutil.rmtree(home, ignore_errors=True)


# With these seeds each fault strikes at a named moment, and not by the clock, so that it meets somebody on any machine.
@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("kill-load", 47),
        ("kill-publish", 10),
        ("kill-by-hand", 10),
        ("overtake-publish", 11),
        ("kill-warehouse", 9),
        ("reset-warehouse", 7),
        ("stall-source", 8),
        ("kill-worker", 6),
    ],
)
def test_after_a_fault_the_next_green_run_is_the_source_and_nothing_is_left(
    harmed: World, name: str, seed: int
) -> None:
    assert play(harmed, SCENARIOS[name], seed).struck


def test_readers_have_looked_all_the_time(harmed: World) -> None:
    assert all(reader.polls > 20 for reader in harmed.readers) and harmed.writer.written > 20

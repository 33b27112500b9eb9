"""`python -m agent` as a process: what it says of its environment, its heartbeat, its end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from stack.table import health
from testing.secrets import secret_names
from testing.servers import free_port
from testing.waiting import until

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def environment(repo: Path, tmp_path: Path) -> dict[str, str]:
    """That of an agent whose neighbours are all away."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{repo}/airflow/plugins:{repo}/scripts",
        "AGENT_HOME": str(tmp_path / "made" / "by the agent"),
        "AIRFLOW_URL": f"http://127.0.0.1:{free_port()}",
        "AIRFLOW_AGENT_PASSWORD": "hush-of-airflow",
        "CLICKHOUSE_HOST": "127.0.0.1",
        "CLICKHOUSE_HTTP_PORT": str(free_port()),
        "CLICKHOUSE_LOADER_PASSWORD": "hush-of-the-loader",
        "STACK_SECRETS": secret_names("elt-agent"),
    }


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    started = []

    def process(**changes: str) -> "subprocess.Popen[str]":
        with (tmp_path / "log").open("ab") as log:
            words = [sys.executable, "-m", "agent"]
            started.append(subprocess.Popen(words, env=environment | changes, stdout=log, stderr=log, text=True))
        return started[-1]

    yield process
    for one in started:
        one.kill()
        one.wait()


def test_a_variable_that_is_missing_or_wrong_is_named_and_no_value_is_shown(start: Start, tmp_path: Path) -> None:
    assert start(CLICKHOUSE_HTTP_PORT="hush", AIRFLOW_AGENT_PASSWORD="x").wait(60) == 2
    said = (tmp_path / "log").read_text()
    assert "CLICKHOUSE_HTTP_PORT: " in said and "Set it in .env" in said
    assert "hush" not in said and "Traceback" not in said


def test_an_agent_whose_neighbours_are_away_lives_says_so_once_and_ends_at_once(
    start: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    begun = datetime.now(UTC) - timedelta(seconds=1)
    assert health.elt_agent(environment, begun) == "no heartbeat yet"
    process = start()
    until(lambda: health.elt_agent(environment, begun) == "", "the heartbeat")
    log = tmp_path / "log"
    until(lambda: "Closing dead runs fails" in log.read_text(), "the error", 90)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    said = log.read_text()
    assert "The warehouse 127.0.0.1" in said and said.count("fails") == 1
    assert "hush" not in said and "Traceback" not in said


def test_the_heartbeat_of_a_killed_predecessor_does_not_count_nor_does_an_old_one(
    environment: dict[str, str],
) -> None:
    beat = Path(environment["AGENT_HOME"]) / "heartbeat"
    beat.parent.mkdir(parents=True)
    beat.touch()
    now = datetime.now(UTC)
    assert health.elt_agent(environment, now + timedelta(seconds=5)) == "no heartbeat since its start"
    ago = now.timestamp() - 2 * health.AGENT_SILENCE
    os.utime(beat, (ago, ago))
    assert health.elt_agent(environment, datetime.fromtimestamp(0, UTC)).startswith("no heartbeat for 12")


def test_the_agent_at_rest_is_small_and_imports_no_airflow(environment: dict[str, str]) -> None:
    code = (
        "import sys, agent.__main__; "
        "memory = next(line for line in open('/proc/self/status') if line.startswith('VmRSS')); "
        "print(memory.split()[1], sorted({name.split('.')[0] for name in sys.modules} & {'airflow', 'pandas', 'sqlalchemy'}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    kilobytes, imported = answer.split(" ", 1)
    assert imported.strip() == "[]"
    assert int(kilobytes) < 100_000

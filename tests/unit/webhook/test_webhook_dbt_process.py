"""The pipe and the end of a child, with a Python script in dbt's place."""

import os
import time
from pathlib import Path

import pytest
from webhook import dbt_process
from webhook.dbt_process import DbtProcess


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "child.py"
    monkeypatch.setattr(dbt_process, "_CHILD", script)
    return script


def start(folder: Path) -> DbtProcess:
    return DbtProcess([], environment={"PATH": os.environ["PATH"]}, folder=folder)


def test_every_line_arrives_and_the_last_needs_no_end_of_line(child: Path, tmp_path: Path) -> None:
    child.write_text("for n in range(50_000): print('line', n)\nprint('last', end='')\nraise SystemExit(3)")
    with start(tmp_path) as dbt:
        lines = [line for line in dbt.lines(pause=0.1) if line is not None]
        assert dbt.exit_code() == 3
    assert lines == [*(f"line {n}" for n in range(50_000)), "last"]


@pytest.mark.parametrize(
    "script",
    [
        "import time; time.sleep(60)",
        "import os, time; os.close(1); os.close(2); time.sleep(60)",
        "while True: print('x' * 1000)",
    ],
    ids=["silent", "closed its output", "never stops printing"],
)
def test_the_reader_gets_to_look_at_the_clock_whatever_the_child_does(child: Path, tmp_path: Path, script: str) -> None:
    child.write_text(script)
    began = time.monotonic()
    with start(tmp_path) as dbt:
        looks = 0
        for line in dbt.lines(pause=0.1):
            looks += line is None
            if looks == 5:
                break
        dbt.kill()
        assert dbt.exit_code() == -9
    assert time.monotonic() - began < 5

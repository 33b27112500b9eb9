"""The warm process, its forks, their output and their end, with a small Python script in dbt's place."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from webhook.dbt.process import DbtHost

# What host.py imports of dbt: a runner that reads the project when it parses, and else runs a script.
FAKE_DBT = """
import os
from pathlib import Path
class Result:
    def __init__(self, result=None, exception=None):
        self.result, self.exception, self.success = result, exception, exception is None
class dbtRunner:
    def __init__(self, manifest=None, callbacks=()):
        self.manifest, self.callbacks = manifest, callbacks
    def invoke(self, arguments):
        if "parse" not in arguments:
            return self.run(arguments)
        folder = Path(arguments[arguments.index("--project-dir") + 1])
        (folder / "target").mkdir(exist_ok=True)
        with (folder / "target/parses").open("a") as file: print(os.getpid(), file=file)
        return Result((folder / "model.sql").read_text())
    def run(self, arguments):
        names = {"manifest": self.manifest, "arguments": arguments, "callbacks": self.callbacks}
        try:
            exec((Path(__file__).parent / "script.py").read_text(), names)
        except BaseException as error:
            return Result(exception=error)
        return Result()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/model.sql").write_text("select 1")
    return tmp_path / "project"


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], None]:
    folder = tmp_path / "fake/dbt/cli"
    folder.mkdir(parents=True)
    (tmp_path / "fake/dbt/__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "main.py").write_text(FAKE_DBT)

    def write(text: str) -> None:
        (folder / "script.py").write_text(text)

    return write


@pytest.fixture
def host(tmp_path: Path, project: Path) -> Iterator[DbtHost]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "fake"), "PYTHONUNBUFFERED": "1"}
    host = DbtHost(project, tmp_path / "target", environment)
    yield host
    host.close()


def output(host: DbtHost, *, parsed: str | None = "prod") -> tuple[list[str], int]:
    with host.start(["build"], parsed=parsed) as dbt:
        return [line for line in dbt.lines(pause=0.1) if line is not None], dbt.exit_code()


def parses(project: Path) -> int:
    """How often the project was parsed: by a fork and, from what that left, by the warm process."""
    times = len((project / "target/parses").read_text().splitlines())
    assert times % 2 == 0
    return times // 2


def test_every_line_arrives_and_the_last_needs_no_end_of_line(host: DbtHost, script: Callable[[str], None]) -> None:
    script("for n in range(50_000): print('line', n)\nprint('last', end='')")
    lines, code = output(host)
    assert code == 0
    assert lines == [*(f"line {n}" for n in range(50_000)), "last"]


def test_an_error_that_dbt_has_not_reported_is_printed(host: DbtHost, script: Callable[[str], None]) -> None:
    script("raise ValueError('no such option')")
    lines, code = output(host)
    assert (lines[-1], code) == ("ValueError: no such option", 2)


def test_an_event_that_cannot_be_printed_does_not_stop_dbt_and_fails_the_run(
    host: DbtHost, script: Callable[[str], None]
) -> None:
    script("for _ in range(2): callbacks[0]('no event of dbt')\nprint('to its end')")
    lines, code = output(host)
    assert (lines[0], code) == ("to its end", 1)
    assert lines[1].startswith("2 events of dbt are not in this log, the first by AttributeError")


def test_the_project_is_parsed_once_for_many_runs_each_in_a_process_of_its_own(
    host: DbtHost, script: Callable[[str], None], project: Path
) -> None:
    script("import os; print(os.getpid(), manifest)")
    said = [output(host)[0][0].split(maxsplit=1) for _ in range(5)]
    assert {manifest for _, manifest in said} == {"select 1"}
    assert len({pid for pid, _ in said}) == 5 and parses(project) == 1


def test_a_changed_file_is_parsed_anew_even_with_its_old_time_and_size(
    host: DbtHost, script: Callable[[str], None], project: Path
) -> None:
    script("print(manifest)")
    assert output(host)[0] == ["select 1"]
    model = project / "model.sql"
    before = model.stat()
    model.write_text("select 2")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert output(host) == (["select 2"], 0)
    (project / "other.sql").write_text("")
    assert output(host) == (["select 2"], 0)
    assert parses(project) == 3


def test_a_run_that_must_parse_by_itself_gets_no_parsed_project(host: DbtHost, script: Callable[[str], None]) -> None:
    script("print(manifest)")
    assert output(host, parsed=None)[0] == ["None"]


def test_a_run_that_parses_by_itself_keeps_its_arguments_from_the_process_list(
    host: DbtHost, script: Callable[[str], None]
) -> None:
    script(
        "import sys; from pathlib import Path; print(arguments[-1], Path('/proc/self/cmdline').read_text().split('\\0'))"
    )
    with host.start(["build", "--vars", "secret" * 20_000], parsed=None) as dbt:
        (line,) = (line for line in dbt.lines(pause=0.1) if line is not None)
    assert line.startswith("secret" * 20_000) and "parse-and-run" in line and "secret" not in line[120_000:]


def test_a_kill_reaches_a_run_that_parses_by_itself_and_the_next_starts_at_once(
    host: DbtHost, script: Callable[[str], None], project: Path
) -> None:
    script("print('begun', flush=True); import time; time.sleep(60)")
    with host.start(["docs"], parsed=None) as dbt:
        assert next(line for line in dbt.lines(pause=0.1) if line is not None) == "begun"
        began = time.monotonic()
    script("print('next')")
    assert output(host) == (["next"], 0)
    assert time.monotonic() - began < 3 and parses(project) == 1


def test_a_kill_before_the_start_ends_the_run_and_keeps_the_warm_process(
    host: DbtHost, script: Callable[[str], None], project: Path
) -> None:
    script("import time; time.sleep(60)")
    began = time.monotonic()
    for _ in range(20):
        with host.start(["docs"], parsed=None):
            # As a run does that comes just when the documentation is begun.
            pass
    script("print('next')")
    assert output(host) == (["next"], 0)
    assert time.monotonic() - began < 5 and parses(project) == 1


def test_a_kill_before_the_start_does_not_start_a_run_for_a_changed_project(
    host: DbtHost, script: Callable[[str], None], project: Path, tmp_path: Path
) -> None:
    script("print(manifest)")
    assert output(host) == (["select 1"], 0)
    (project / "model.sql").write_text("select 2")
    script(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with host.start(["build"]):
        pass
    script("print(manifest)")
    assert output(host) == (["select 2"], 0) and not (tmp_path / "ran").exists()


def test_one_run_leaves_nothing_behind_for_the_next(host: DbtHost, script: Callable[[str], None]) -> None:
    script("import builtins; print(getattr(builtins, 'left', 'nothing')); builtins.left = 'something'")
    assert output(host)[0] == output(host)[0] == ["nothing"]


@pytest.mark.parametrize(
    "text",
    [
        "import time; time.sleep(60)",
        "import os, time; os.close(1); os.close(2); time.sleep(60)",
        "while True: print('x' * 1000)",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
    ],
    ids=["silent", "closed its output", "never stops printing", "deaf"],
)
def test_the_reader_gets_to_look_at_the_clock_whatever_dbt_does(
    host: DbtHost, script: Callable[[str], None], project: Path, text: str
) -> None:
    script(text)
    began = time.monotonic()
    with host.start(["build"]) as dbt:
        looks = 0
        for line in dbt.lines(pause=0.1):
            looks += line is None
            if looks == 8:
                break
        dbt.kill()
        assert dbt.exit_code() == -9
    assert time.monotonic() - began < 5
    script("print('next')")
    assert output(host) == (["next"], 0)
    assert parses(project) == 1, "a killed run does not cost the warm process"


def test_a_run_that_dies_says_by_which_signal(host: DbtHost, script: Callable[[str], None]) -> None:
    script("import os, signal; print('before', flush=True); os.kill(os.getpid(), signal.SIGSEGV)")
    assert output(host) == (["before"], -11)


def test_a_warm_process_that_is_gone_is_started_anew(host: DbtHost, script: Callable[[str], None]) -> None:
    script("import os; print('x', flush=True); os.kill(os.getppid(), 9); import time; time.sleep(60)")
    lines, code = output(host)
    assert (lines, code) == (["x"], -9)
    script("print('again')")
    assert output(host) == (["again"], 0)

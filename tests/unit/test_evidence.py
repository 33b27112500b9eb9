"""A test that fails keeps what says why, and one that passes keeps nothing."""

import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

TESTS = """
import os
from pathlib import Path
import evidence
import pytest

def page_that_is_gone(folder):
    raise RuntimeError("the page is gone")

@pytest.fixture(scope="session")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("server")
    evidence.on_failure(page_that_is_gone)
    evidence.keep_logs_of(home)
    (home / "deep").mkdir()
    (home / "deep" / "worker.log").write_text("a" * evidence.TAIL + "the disk is full")
    return home

@pytest.fixture
def broken(server):
    raise OSError("port is taken")

@pytest.mark.parametrize("place", ["a/b"])
def test_of_a_server(server, place):
    print("said by the test")
    assert "FAIL" not in os.environ

def test_of_a_fixture(broken):
    pass
"""


def test_a_failed_test_keeps_error_output_and_logs_until_it_passes(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(TESTS)
    env = os.environ | {"PYTHONPATH": str(REPO / "tests"), "TEST_OUTPUT": str(tmp_path / "output")}

    def run(**more: str) -> str:
        command = [sys.executable, "-m", "pytest", "-p", "evidence", "-p", "no:cacheprovider", "--rootdir", tmp_path]
        return subprocess.run([*command, file], env=env | more, capture_output=True, text=True, check=False).stdout

    said = run(FAIL="1")
    kept = tmp_path / "output" / "failed" / "test_it.py-test_of_a_server-a-b"
    assert "1 failed, 1 error" in said
    assert str(kept) in said
    text = (kept / "call.txt").read_text()
    assert "assert 'FAIL' not in" in text and "said by the test" in text
    (log,) = (kept / "logs").iterdir()
    assert log.name.endswith("deep_worker.log")
    assert log.stat().st_size == 1_000_000 and log.read_text().endswith("the disk is full")
    assert "the page is gone" in (kept / "not-kept-0.txt").read_text()
    broken = tmp_path / "output" / "failed" / "test_it.py-test_of_a_fixture"
    assert "port is taken" in (broken / "setup.txt").read_text()

    assert "1 passed, 1 error" in run()
    assert not kept.exists() and broken.exists()

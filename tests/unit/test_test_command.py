"""./test.sh and the workflow that calls it: nothing of the tests is left out, and an action cannot change under its name."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def workflow() -> Any:
    return yaml.safe_load((REPO / ".github/workflows/stack.yml").read_text())


def test_the_workflow_runs_every_part_of_the_tests(workflow: Any) -> None:
    words = {word for part in workflow["jobs"]["tests"]["strategy"]["matrix"]["part"] for word in part.split()}
    files = (file.relative_to(REPO / "tests/integration") for file in REPO.glob("tests/integration/**/test_*.py"))
    parts = {f"tests/integration/{file.parts[0]}" for file in files}
    assert words == {"unit", "integration", "e2e"} | parts


def test_every_action_is_pinned_to_a_commit(workflow: Any) -> None:
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used and [name for name in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name)] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["units"], "'units' is not a stage"),
        (["-k", "name"], "'-k' is not a stage"),
        (["lint", "-x"], "'lint' takes no pytest arguments"),
    ],
)
def test_a_word_that_is_no_stage_is_refused_before_anything_is_built(words: list[str], said: str) -> None:
    answer = subprocess.run([REPO / "test.sh", *words], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert answer.stdout == ""


def test_help_names_every_stage() -> None:
    said = subprocess.run([REPO / "test.sh", "--help"], capture_output=True, text=True, check=True).stdout
    stages = re.search(r"=~ \^\(([a-z0-9|]+)\)\$ \]\]; do", (REPO / "test.sh").read_text())
    assert stages is not None
    assert all(re.search(rf"^  {stage} ", said, re.MULTILINE) for stage in stages[1].split("|"))

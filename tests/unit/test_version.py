"""The project's version stands in the file VERSION alone; whatever shows it reads it there."""

import re
import subprocess
from pathlib import Path

import pytest
from stack import summary
from stack.env import file as env_file
from stack.paths import Paths
from stack.screen import Screen
from stack.table.services import Context

# `version="1.2.3"`, `version: 1.2.3`, `org.opencontainers.image.version=1.2.3`.
DECLARED = re.compile(r"""(?<!python_)version(?:__)?["']?\s*[=:]\s*["']?v?\d+\.\d+""", re.IGNORECASE)
SUFFIXES = {".py", ".toml", ".yml", ".yaml", ".sh", ".xml", ".env"}
# Superset's files say the version of their format; the embedded server has a version of its own.
OTHERS = ("superset/assets/", "clickhouse/embedded/", "tests/")


@pytest.fixture
def version(repo: Path) -> str:
    return (repo / "VERSION").read_text().removesuffix("\n")


def declarations(name: str, text: str) -> list[str]:
    """The lines of a file that declare a version, as `name:line: text`."""
    lines = enumerate(text.splitlines(), 1)
    return [f"{name}:{number}: {line.strip()}" for number, line in lines if DECLARED.search(line)]


def test_the_file_holds_one_semantic_version_and_nothing_else(version: str) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_no_other_file_declares_a_version(repo: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=repo, capture_output=True, text=True, check=True).stdout
    files = [
        repo / name
        for name in listed.splitlines()
        if not name.startswith(OTHERS) and (Path(name).suffix in SUFFIXES or Path(name).name == "Dockerfile")
    ]
    found = [
        line for file in files if file.exists() for line in declarations(str(file.relative_to(repo)), file.read_text())
    ]
    assert len(files) > 100 and not found, "Read the file VERSION instead:\n" + "\n".join(found)


@pytest.mark.parametrize("line", ['version="1.0.0",', "version: '0.2.0'", "VERSION=0.2", '__version__ = "0.2.0"'])
def test_a_declared_version_is_found(line: str) -> None:
    assert declarations("file", line) == [f"file:1: {line}"]


def test_the_summary_of_a_boot_shows_it(
    repo: Path, venvs: Path, tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ".env"
    env_file.write_new(file, env_file.fill(repo / ".env.example", {}, {}, STACK_MODE="native"))
    summary.show(Context(Paths(home=tmp_path, env_file=file, venvs=venvs), env_file.load(file)), Screen())
    said = capsys.readouterr()
    assert f"ecommerce-pipeline {version}\n" in said.out + said.err

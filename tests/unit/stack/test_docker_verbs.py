"""Output of ./run.sh --docker for an engine that it cannot use. A program of the tests answers as docker, for such engines cannot be had here."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from stack.env import file as env_file

ANSWERS = """#!/usr/bin/env bash
case "$*" in
"info --format {{.MemTotal}}") echo "$MEMORY" ;;
info) exit "$ENGINE" ;;
"compose version"*) [[ -n "$PLUGIN" ]] && echo "$PLUGIN" ;;
"build "*) echo "the build was asked for, with Compose told $STACK_VERSION: $*" >&2; exit 1 ;;
esac
"""
HYPHENATED = """#!/usr/bin/env bash
[[ "$*" == version* && -n "$PROGRAM" ]] && echo "$PROGRAM"
"""


@pytest.fixture
def boot(repo: Path, tmp_path: Path) -> Callable[..., str]:
    """`./run.sh --docker` with an engine as described; it always ends at the first image, at the latest."""

    def run(*, engine: int = 0, plugin: str = "", program: str = "", memory: int = 8_000_000_000) -> str:
        programs = tmp_path / "bin"
        shutil.rmtree(programs, ignore_errors=True)
        programs.mkdir()
        for name, text in {"docker": ANSWERS, "docker-compose": HYPHENATED}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        env = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "STACK_HOME": str(tmp_path / "home"),
            "ENGINE": str(engine),
            "PLUGIN": plugin,
            "PROGRAM": program,
            "MEMORY": str(memory),
        }
        answer = subprocess.run(
            [str(repo / "run.sh"), "--docker"], env=env, capture_output=True, text=True, check=False, timeout=30
        )
        assert answer.returncode != 0
        return answer.stdout + answer.stderr

    return run


def test_an_engine_that_does_not_answer_is_told(boot: Callable[..., str]) -> None:
    assert "engine does not answer" in boot(engine=1, plugin="2.26.1")


@pytest.mark.parametrize("plugin", ["", "1.29.2"])
def test_docker_without_compose_v2_is_refused_with_the_package_to_install(
    boot: Callable[..., str], plugin: str
) -> None:
    said = boot(plugin=plugin)
    assert "docker-compose-plugin" in said and "the build was asked for" not in said


def test_the_hyphenated_program_serves_too(boot: Callable[..., str]) -> None:
    assert "the build was asked for" in boot(program="v2.26.1")


def test_little_memory_is_warned_of_and_not_refused(boot: Callable[..., str]) -> None:
    said = boot(plugin="2.26.1", memory=2_000_000_000)
    assert "warning  The engine has 2000 MB" in said and "the build was asked for" in said
    assert "warning" not in boot(plugin="2.26.1")


def test_an_image_that_cannot_be_built_is_one_sentence(boot: Callable[..., str]) -> None:
    assert "The image of the tools could not be built" in boot(plugin="2.26.1")


def test_images_are_labelled_with_the_version_of_the_project(repo: Path, boot: Callable[..., str]) -> None:
    version = (repo / "VERSION").read_text().strip()
    said = boot(plugin="2.26.1")
    assert f"with Compose told {version}: build " in said
    assert f"--label org.opencontainers.image.version={version} " in said


@pytest.mark.parametrize("verb", ["check_all_works.sh", "scripts/generate_data", "scripts/export_dashboards"])
def test_a_bad_env_is_told_by_every_verb_in_place_of_what_compose_says(
    repo: Path, behind_docker: dict[str, str], tmp_path: Path, verb: str
) -> None:
    lines = env_file.fill(
        repo / ".env.example", {}, {}, STACK_MODE="docker", WEBHOOK_TOKEN="a-secret-that-nobody-may-see"
    )
    (tmp_path / ".env").write_text("\n".join(lines).replace("WEBHOOK_TOKEN=", 'WEBHOOK_TOKEN="'))
    env = behind_docker | {"STACK_HOME": str(tmp_path)}
    answer = subprocess.run([str(repo / verb)], env=env, capture_output=True, text=True, check=False, timeout=30)
    assert answer.returncode == 1
    assert re.search(r"line \d+: WEBHOOK_TOKEN opens a quote that its line does not close", answer.stderr)
    assert "nobody-may-see" not in answer.stderr + answer.stdout
    assert "the engine was asked for more" not in answer.stderr

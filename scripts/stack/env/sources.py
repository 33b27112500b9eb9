"""Addresses of further sources: `.env.sources` beside `.env` holds the variables that pipeline.yml names by `env:`."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stack.env import lines as env_lines
from stack.env import schedule
from stack.env import values as env_values
from stack.env.file import Env
from stack.errors import StackError
from stack.paths import Paths, shown

NAME = ".env.sources"
# Stands in .env, as the address of the one source that has no url:.
MAIN = "SOURCE_URL"


@dataclass(frozen=True)
class Named:
    """A source of pipeline.yml, as far as the service manager looks at it; the loader validates the file."""

    name: str
    kind: str
    variable: str
    """Name of the variable of its address; empty if it has none of its own."""
    schedule: str
    variables: tuple[str, ...]
    """Names of all variables that it names: of its address, and of secrets in headers and parameters."""


def file_of(paths: Paths) -> Path:
    return paths.env_file.with_name(NAME)


def read(paths: Paths, env: Env) -> dict[str, str]:
    """Returns the variables that pipeline.yml names and `.env.sources` sets. Raises StackError for a line that cannot be read.

    Inside Compose's network they stand in the environment, into which Compose has read the file.
    """
    file = file_of(paths)
    given: Mapping[str, str] = os.environ if env.in_compose else _values(file)
    wanted = dict.fromkeys(name for one in _named(paths.repo / "pipeline.yml") for name in one.variables)
    return {name: given[name] for name in wanted if given.get(name)}


def postgres_urls(paths: Paths, env: Env, urls: Mapping[str, str]) -> dict[str, str]:
    """Returns the address of each Postgres of pipeline.yml by its name there; empty where it is not set. `urls` are by variable."""
    named = [one for one in _named(paths.repo / "pipeline.yml") if one.kind == "postgres"]
    return {one.name: urls.get(one.variable, "") if one.variable else env.source_url for one in named}


def check(paths: Paths, env: Env) -> list[str]:
    """Returns sentences about sources that cannot be read for want of an address, and an open mode of the file.

    Raises StackError that names every schedule that never fires and every value that is no address.
    """
    file = file_of(paths)
    given = _values(file)
    warnings, mistakes = [], []
    for one in _named(paths.repo / "pipeline.yml"):
        if one.schedule not in ("", "manual") and (mistake := schedule.mistake(one.schedule)):
            mistakes.append(f"The schedule {one.schedule!r} of the source {one.name} in pipeline.yml {mistake}.")
        if not one.variable:
            continue
        value = given.get(one.variable, "")
        if not value:
            warnings.append(
                f"{one.variable}, the address of the source {one.name} in pipeline.yml, is not set, and its runs will fail: write "
                f"{one.variable}=postgresql://user:password@host:5432/database into {_shown(paths)}, and run ./run.sh again."
            )
        elif one.kind == "postgres" and (problem := _problem(value, env)):
            mistakes.append(f"{one.variable} in {_shown(paths)}: {problem}.")
    if mistakes:
        raise StackError("\n  ".join(["The sources cannot be used, and nothing was started:", *mistakes]))
    if file.exists() and file.stat().st_mode & 0o077:
        warnings.append(f"{_shown(paths)} can be read by others: `chmod 600 {_shown(paths)}`.")
    return warnings


def _problem(value: str, env: Env) -> str:
    try:
        env_values.source_url(value)
    except ValueError as error:
        return str(error)
    if env.STACK_MODE == "docker" and env_values.names_this_machine(value):
        return "names localhost, which inside a container is the container itself; write host.docker.internal for this machine"
    return ""


def _values(file: Path) -> dict[str, str]:
    return env_lines.read(file).values if file.exists() else {}


def _shown(paths: Paths) -> str:
    return str(Path(shown(paths.env_file)).with_name(NAME))


def _named(pipeline: Path) -> list[Named]:
    """Returns the sources; those that are malformed are left to the loader, which names the line."""
    try:
        content = yaml.safe_load(pipeline.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []
    return list(_each(content))


def _each(content: Any) -> Iterator[Named]:
    listed = content.get("sources") if isinstance(content, dict) else None
    for source in listed if isinstance(listed, list) else ():
        if not isinstance(source, dict):
            continue
        url = source.get("url")
        variable = str(url.get("env", "")) if isinstance(url, dict) else ""
        yield Named(
            str(source.get("name", "")),
            str(source.get("kind", "")),
            "" if variable == MAIN else variable,
            str(source.get("schedule") or ""),
            tuple(name for name in dict.fromkeys(_variables(source)) if name != MAIN),
        )


def _variables(value: Any) -> Iterator[str]:
    """Yields the names that stand as {env: NAME} anywhere."""
    if isinstance(value, dict) and set(value) == {"env"} and isinstance(value["env"], str):
        yield str(value["env"])
        return
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _variables(inner)

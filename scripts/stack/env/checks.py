"""Mistakes in the values of `.env`, each as one sentence: place, value, expectation."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from stack.env import lines as env_lines
from stack.env import values as env_values
from stack.env.lines import Pair
from stack.paths import shown

PORTS = (
    "POSTGRES_PORT",
    "AIRFLOW_DB_PORT",
    "AIRFLOW_PORT",
    "SUPERSET_PORT",
    "CLICKHOUSE_HTTP_PORT",
    "CLICKHOUSE_NATIVE_PORT",
    "WEBHOOK_PORT",
)

# Values that no message shows. An address may hold a password or a token.
_HIDDEN = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|SALT|URL$")


def describe(pairs: Mapping[str, Pair], error: Mapping[str, Any]) -> str:
    """Returns one error of pydantic as a sentence."""
    name = str(error["loc"][0])
    if name not in pairs:
        return f"{name} is missing; ./run.sh adds it."
    pair = pairs[name]
    expected = error["ctx"]["error"] if error["type"] == "value_error" else error["msg"]
    return f"{pair.where}: {name} {_found(name, pair.value)}: {expected}."


def _found(name: str, value: str) -> str:
    if not value:
        return "is empty"
    return f"is a value that is not shown ({len(value)} characters)" if _HIDDEN.search(name) else f"is {value[:60]!r}"


def together(pairs: Mapping[str, Pair]) -> list[str]:
    """Returns mistakes of combinations: each value alone is valid."""
    return [*_equal_ports(pairs), *_localhost_of_a_container(pairs)]


def _equal_ports(pairs: Mapping[str, Pair]) -> list[str]:
    value = {name: pair.value for name, pair in pairs.items()}
    docker = value.get("STACK_MODE") == "docker"
    unused = set() if docker else {"AIRFLOW_DB_PORT"}
    if not docker and not value.get("CLICKHOUSE_BINARY"):
        unused.add("CLICKHOUSE_NATIVE_PORT")
    if value.get("CLICKHOUSE_HOST"):
        # The port of another machine.
        unused.add("CLICKHOUSE_HTTP_PORT")
    taken: dict[str, str] = {}
    mistakes = []
    for name in (name for name in PORTS if value.get(name) and name not in unused):
        other = taken.setdefault(value[name], name)
        if other != name:
            mistakes.append(
                f"{pairs[name].where}: {name} is {value[name]!r}, as {other} is; give each a port of its own."
            )
    return mistakes


def _localhost_of_a_container(pairs: Mapping[str, Pair]) -> list[str]:
    source, mode = pairs.get("SOURCE_URL"), pairs.get("STACK_MODE")
    if source is None or mode is None or mode.value != "docker" or not env_values.names_this_machine(source.value):
        return []
    return [
        f"{source.where}: SOURCE_URL names localhost, which inside a container is the container itself; write "
        "host.docker.internal for this machine."
    ]


def warnings(file: Path, known: Collection[str]) -> list[str]:
    """Returns sentences about valid but probably unintended content: duplicate names, misspelt names, open file modes."""
    lines = env_lines.read(file)
    sentences = []
    for name, numbers in lines.at.items():
        if len(numbers) > 1:
            sentences.append(
                f"{name} stands in lines {', '.join(map(str, numbers))} of {shown(file)}: the last one counts; remove the others."
            )
        if name not in known and (meant := get_close_matches(name, known, n=1, cutoff=0.85)):
            sentences.append(
                f"line {numbers[0]} of {shown(file)} says {name}, which nothing reads: did you mean {meant[0]}?"
            )
    if file.stat().st_mode & 0o077:
        sentences.append(f"{shown(file)} can be read by others: `chmod 600 {shown(file)}`.")
    return sentences

"""ClickHouse's own server natively, where the machine has it: the binary, its configuration and its command."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from stack.errors import StackError

# The oldest release with long-term support that has all that the stack uses.
OLDEST = (26, 3)


def find(environ: Mapping[str, str]) -> str:
    """The binary of a first boot: `CLICKHOUSE_BINARY`, else `clickhouse` on the PATH if it is new enough, else "".

    Raises StackError where `CLICKHOUSE_BINARY` cannot be used.
    """
    if chosen := environ.get("CLICKHOUSE_BINARY", ""):
        check(chosen)
        return chosen
    found = shutil.which("clickhouse", path=environ.get("PATH"))
    return found if found is not None and (version_of(found) or (0, 0)) >= OLDEST else ""


def check(binary: str) -> None:
    """Raises StackError unless `binary` is a ClickHouse that is new enough."""
    version = version_of(binary)
    oldest = ".".join(map(str, OLDEST))
    if version is None:
        raise StackError(
            f"CLICKHOUSE_BINARY={binary} is no ClickHouse that runs here: name one, or leave it empty for the embedded server."
        )
    if version < OLDEST:
        have = ".".join(map(str, version))
        raise StackError(
            f"CLICKHOUSE_BINARY={binary} is version {have}, and {oldest} is the oldest that will do: install a newer one, "
            "or leave it empty for the embedded server."
        )


def version_of(binary: str) -> tuple[int, int] | None:
    """Year and month of a ClickHouse binary; None for anything else."""
    if not Path(binary).is_absolute() or not os.access(binary, os.X_OK):
        return None
    try:
        answer = subprocess.run([binary, "local", "--version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"version (\d+)\.(\d+)\.", answer.stdout)
    return (int(found.group(1)), int(found.group(2))) if found else None


def write_config(file: Path, config: Path, *, bind: str, http_port: str, native_port: str) -> None:
    """Write the server's whole configuration: clickhouse/config/server.xml, and where it listens and keeps its data.

    The users, roles and limits are those of clickhouse/config/users.xml, read where it lies. Data go beside `file`.
    """
    root = ElementTree.parse(config / "server.xml").getroot()
    for element in [child for child in root if child.get("remove")]:
        root.remove(element)  # they take out what a packaged config.xml has, and here is none
    data = file.parent
    for folder in root.iterfind("./backups/allowed_path"):
        folder.text = f"{data / (folder.text or '')}/"
    values = {
        "listen_host": bind,
        "http_port": http_port,
        "tcp_port": native_port,
        "path": f"{data / 'data'}/",
        "tmp_path": f"{data / 'tmp'}/",
        "user_files_path": f"{data / 'user_files'}/",
        "format_schema_path": f"{data / 'format_schemas'}/",
        "users_config": str(config / "users.xml"),
    }
    for name, value in values.items():
        ElementTree.SubElement(root, name).text = value
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = file.with_suffix(".new")
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(staging, encoding="unicode")
    staging.replace(file)

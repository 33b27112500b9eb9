"""ClickHouse's own server in native mode: finds the binary, writes its configuration."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from stack.errors import StackError

# The oldest long-term-support release with all features that the stack uses.
OLDEST = (26, 3)


def find(environ: Mapping[str, str]) -> str:
    """Returns the binary for a first boot: `CLICKHOUSE_BINARY`, else `clickhouse` on the PATH if it is new enough, else "".

    Raises StackError if `CLICKHOUSE_BINARY` is not usable.
    """
    if chosen := environ.get("CLICKHOUSE_BINARY", ""):
        check(chosen)
        return chosen
    binary = shutil.which("clickhouse", path=environ.get("PATH"))
    return binary if binary is not None and (version_of(binary) or (0, 0)) >= OLDEST else ""


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
    """Returns year and month of a ClickHouse binary's version; None for another program."""
    if not Path(binary).is_absolute() or not os.access(binary, os.X_OK):
        return None
    try:
        answer = subprocess.run([binary, "local", "--version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"version (\d+)\.(\d+)\.", answer.stdout)
    return (int(version.group(1)), int(version.group(2))) if version else None


def write_config(file: Path, config: Path, *, bind: str, http_port: str, native_port: str) -> None:
    """Writes the server's configuration: clickhouse/config/server.xml with addresses and data paths.

    The server reads users, roles and limits from clickhouse/config/users.xml. Its data lie beside `file`.
    """
    root = ElementTree.parse(config / "server.xml").getroot()
    for element in [child for child in root if child.get("remove")]:
        root.remove(element)  # they delete parts of a packaged config.xml, and there is none here
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

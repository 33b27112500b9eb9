"""ClickHouse's own server natively: found, refused, configured. The engine itself reads the configuration; no binary of
the server can be had here, so its command is as far as this goes."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from stack.env import file as env_file
from stack.errors import StackError
from stack.native import clickhouse_binary, prepare
from stack.paths import Paths
from stack.table import services
from stack.table.services import Context

ENGINE = """
import sys
from chdb import _chdb
connection = _chdb.connect(sys.argv[1])
for sql in sys.argv[2:]:
    print(bytes(connection.query(sql.encode(), "TSV", params={}).bytes()).decode(), end="--\\n")
"""


def program(folder: Path, says: str, code: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "clickhouse"
    file.write_text(f"#!/bin/sh\n[ \"$1 $2\" = 'local --version' ] && echo '{says}'\nexit {code}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def named(repo: Path, venvs: Path, home: Path, binary: str) -> Context:
    file = home / ".env"
    lines = env_file.fill(repo / ".env.example", {}, {}, STACK_MODE="native", CLICKHOUSE_BINARY=binary)
    env_file.write_new(file, lines)
    return Context(Paths(home=home, env_file=file, venvs=venvs), env_file.load(file))


def test_found_on_the_path_when_new_enough(tmp_path: Path) -> None:
    new = program(tmp_path / "new", "ClickHouse local version 26.9.2.1 (official build).")
    old = program(tmp_path / "old", "ClickHouse local version 18.16.1.")
    assert clickhouse_binary.find({"PATH": str(new.parent)}) == str(new)
    assert clickhouse_binary.find({"PATH": str(old.parent)}) == ""
    assert clickhouse_binary.find({"PATH": str(tmp_path)}) == ""
    assert clickhouse_binary.find({"PATH": str(old.parent), "CLICKHOUSE_BINARY": str(new)}) == str(new)


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("ClickHouse local version 18.16.1.", "is version 18.16, and 26.3 is the oldest"),
        ("something else", "is no ClickHouse that runs here"),
    ],
)
def test_a_named_binary_that_will_not_do_is_refused(tmp_path: Path, says: str, sentence: str) -> None:
    with pytest.raises(StackError, match=sentence):
        clickhouse_binary.find({"CLICKHOUSE_BINARY": str(program(tmp_path / "bin", says))})
    with pytest.raises(StackError, match="is no ClickHouse"):
        clickhouse_binary.check("/nowhere/clickhouse")


def test_without_a_binary_it_is_the_embedded_server(repo: Path, venvs: Path, tmp_path: Path) -> None:
    context = named(repo, venvs, tmp_path, "")
    prepare.make_clickhouse_config(context)
    row = services.by_name("clickhouse-server")
    assert row.commands(context) == [[str(context.paths.python("clickhouse")), "-m", "embedded"]]
    assert not services.clickhouse_config(context).exists()


def test_its_command_and_what_it_may_see(repo: Path, venvs: Path, tmp_path: Path) -> None:
    binary = str(program(tmp_path / "bin", "ClickHouse local version 26.9.2.1 (official build)."))
    context = named(repo, venvs, tmp_path, binary)
    prepare.make_clickhouse_config(context)
    row = services.by_name("clickhouse-server")
    config = services.clickhouse_config(context)
    assert row.commands(context) == [
        [binary, "server", "--config-file", str(config), "--", "--logger.console=1", "--logger.level=warning"]
    ]
    assert "PYTHONPATH" not in row.names(context)
    text = config.read_text()
    assert not [name for name in env_file.SECRETS if context.env.text(name) in text]
    told = {element.tag: element.text for element in ElementTree.parse(config).getroot()}
    assert (told["listen_host"], told["http_port"], told["tcp_port"]) == ("127.0.0.1", "8123", "9000")
    assert told["users_config"] == str(repo / "clickhouse/config/users.xml")
    assert {Path(str(told[name])).parent for name in ("path", "tmp_path", "user_files_path")} == {config.parent}
    assert stat.S_IMODE(config.parent.stat().st_mode) == 0o700


def test_the_engine_reads_its_configuration(repo: Path, venvs: Path, tmp_path: Path) -> None:
    binary = str(program(tmp_path / "bin", "ClickHouse local version 26.9.2.1 (official build)."))
    context = named(repo, venvs, tmp_path, binary)
    prepare.make_clickhouse_config(context)
    config = services.clickhouse_config(context)
    questions = [
        "SELECT name, value FROM system.server_settings WHERE name IN ('max_server_memory_usage', 'background_pool_size')"
        " ORDER BY name",
        "SELECT name FROM system.users WHERE storage = 'users_xml' ORDER BY name",
        "SELECT name FROM system.roles WHERE storage = 'users_xml' ORDER BY name",
        "SELECT value FROM system.settings_profile_elements WHERE profile_name = 'reader' AND setting_name = 'readonly'",
        "SELECT count() FROM system.grants WHERE role_name = 'reader' AND access_type = 'INSERT'",
    ]
    # The engine logs in as `default` without a password; the server's users have theirs.
    names = {name: "" for name in services.by_name("clickhouse-server").names(context) if name.endswith("PASSWORD")}
    ran = subprocess.run(
        [venvs / "clickhouse/bin/python", "-c", ENGINE, f"{config.parent / 'data'}?config-file={config}", *questions],
        env={"PATH": os.environ["PATH"], **names},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    settings, users, roles, readonly, writes, _ = ran.stdout.split("--\n")
    assert settings == "background_pool_size\t4\nmax_server_memory_usage\t5000000000\n"
    assert users.split() == [
        "airflow",
        "dbt",
        "default",
        "loader",
        "superset",
        "superset_california",
        "superset_operations",
        "webhook",
    ]
    assert roles.split() == [
        "admin",
        "input",
        "loader",
        "operations",
        "reader",
        "reader_california",
        "recorder",
        "transformer",
    ]
    assert (readonly, writes) == ("2\n", "0\n")

"""Refusals before anything is started, with the cause and the cure."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from stack import lock
from stack.env import file as env_file
from stack.env.file import Env
from stack.errors import StackError
from stack.native import ports, preflight
from stack.paths import Paths
from stack.table import services


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(home=tmp_path / "home", env_file=tmp_path / "home" / ".env", venvs=tmp_path / "venvs")


@pytest.fixture
def env(repo: Path, paths: Paths) -> Env:
    env_file.write_new(paths.env_file, env_file.fill(repo / ".env.example", {}, {}, STACK_MODE="native"))
    paths.data.mkdir()
    return env_file.load(paths.env_file)


def test_a_disk_without_room_is_refused(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "FIRST_BOOT_BYTES", 1 << 60)
    with pytest.raises(StackError, match=r"GB free and .* are needed: make room"):
        preflight.check_room(paths)


def test_a_home_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100)
    with pytest.raises(StackError, match="too long for a unix socket by"):
        preflight.check_room(Paths(home=home, env_file=home / ".env", venvs=tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands Postgres to another user")
def test_a_folder_that_the_database_user_cannot_enter_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    home = tmp_path / "closed" / "home"
    with pytest.raises(StackError, match=r"cannot enter .*: `chmod o\+x"):
        preflight.check_reachable(Paths(home=home, env_file=home / ".env", venvs=tmp_path))


def test_data_without_its_env_is_refused(paths: Paths) -> None:
    (paths.data / "postgres").mkdir(parents=True)
    with pytest.raises(StackError, match="is gone: put that file back"):
        preflight.check_data_has_its_env(paths, preflight.native_data(paths))


def test_a_changed_secret_that_data_depends_on_is_refused_and_a_free_one_is_not(paths: Paths, env: Env) -> None:
    preflight.check_secrets(paths, env)
    preflight.check_secrets(paths, env.model_copy(update={"WEBHOOK_TOKEN": "another-token"}))
    for name in preflight.BOUND_TO_DATA:
        with pytest.raises(StackError, match=f"{name} in .* put the old value back"):
            preflight.check_secrets(paths, env.model_copy(update={name: "another-value"}))
    noted = (paths.data / "secrets.json").read_text()
    assert not [name for name in preflight.BOUND_TO_DATA if len(env.text(name)) > 20 and env.text(name) in noted]


def test_a_secret_that_an_earlier_version_bound_to_the_data_may_change(
    paths: Paths, env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader's password is given to its role at every boot."""
    with monkeypatch.context() as earlier:
        earlier.setattr(preflight, "BOUND_TO_DATA", (*preflight.BOUND_TO_DATA, "POSTGRES_READER_PASSWORD"))
        preflight.check_secrets(paths, env)
    preflight.check_secrets(paths, env.model_copy(update={"POSTGRES_READER_PASSWORD": "another-password"}))


def test_a_taken_port_names_its_holder_and_the_variable(env: Env) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = env.model_copy(update={"SUPERSET_PORT": holder.getsockname()[1]})
        with pytest.raises(StackError, match=rf"SUPERSET_PORT=\d+ is taken by .*pid {os.getpid()}"):
            preflight.check_ports(taken, [services.by_name("superset")], set())
        preflight.check_ports(taken, [services.by_name("superset")], {"superset"})


def test_the_native_port_must_be_free_where_clickhouses_own_server_takes_it(
    env: Env, free_port: Callable[[], int]
) -> None:
    row = services.by_name("clickhouse-server")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        names = {"CLICKHOUSE_HTTP_PORT": free_port(), "CLICKHOUSE_NATIVE_PORT": holder.getsockname()[1]}
        preflight.check_ports(env.model_copy(update=names), [row], set())
        own = env.model_copy(update=names | {"CLICKHOUSE_BINARY": "/usr/bin/clickhouse"})
        with pytest.raises(StackError, match=r"CLICKHOUSE_NATIVE_PORT=\d+ is taken by"):
            preflight.check_ports(own, [row], set())


def test_the_next_free_port_skips_those_taken_and_those_promised() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        found = ports.next_free("127.0.0.1", port, {port + 1})
        assert found > port + 1
        assert ports.is_free("127.0.0.1", found)


def test_a_second_verb_is_refused_and_names_the_first(paths: Paths) -> None:
    with (
        lock.only_one(paths, "./run.sh"),
        pytest.raises(StackError, match=rf"./run.sh \(pid {os.getpid()}\) is at work"),
        lock.only_one(paths, "./stop.sh"),
    ):
        pass
    with lock.only_one(paths, "./stop.sh"):
        pass

"""Prepares the start: `.env`, virtual environments, folders and the databases of Postgres."""

import os

from stack.env import checks as env_checks
from stack.env import file as env_file
from stack.env import sources as env_sources
from stack.env import values as env_values
from stack.errors import StackError
from stack.native import clickhouse_binary, database_user, environments, ports, postgres, preflight
from stack.paths import Paths, shown
from stack.screen import Screen
from stack.table.services import Context, clickhouse_config


def prepare_env(paths: Paths, screen: Screen, mode: str | None, data: preflight.Data | None) -> env_file.Env:
    """Creates `.env` at the first boot, adds missing keys later. A stack keeps the mode of its first boot, native or containers.

    Raises StackError, and writes nothing, if `.env` or a value of the environment is invalid, or if a secret on which `data` depends is missing.
    """
    example, file = paths.repo / ".env.example", paths.env_file
    preflight.check_data_has_its_env(paths, data)
    # A dangling link does not mean a first boot.
    first = not os.path.lexists(file)
    kept = None if first else env_file.read_values(file).get("STACK_MODE")
    if mode is not None and kept and mode != kept:
        raise StackError(
            f"This stack runs the {kept} way, and its data is there: `./stop.sh --wipe`, remove STACK_MODE from "
            f"{shown(file)}, and start again with --{mode}."
        )
    bound = preflight.BOUND_TO_DATA if data is not None else ()
    decided = {"STACK_MODE": mode or "native"}
    if first:
        decided |= _first_ports(paths, screen)
        if decided["STACK_MODE"] == "native" and (binary := clickhouse_binary.find(os.environ)):
            decided["CLICKHOUSE_BINARY"] = binary
            screen.done(f"The warehouse will be {binary}")
        env_file.make(example, file, os.environ, **decided)
        screen.done(f"Made {shown(file)} with random secrets (mode 600)")
    elif keys := env_file.add_missing(example, file, os.environ, bound=bound, **decided):
        screen.done(f"Added {', '.join(keys)} to {shown(file)}; the file as it was is {shown(file)}.bak")
    env = env_file.load(file)
    for sentence in env_checks.warnings(file, env_file.read_values(example)):
        screen.warn(sentence)
    for sentence in env_sources.check(paths, env):
        screen.warn(sentence)
    return env


def _first_ports(paths: Paths, screen: Screen) -> dict[str, str]:
    """Returns for each port the wanted one, or the next free one with a message.

    The validation of all values, which comes later, reports invalid ports and addresses.
    """
    example = env_file.read_values(paths.repo / ".env.example")
    wanted = {name: os.environ.get(name) or example[name] for name in ("BIND_ADDRESS", *env_file.PORTS)}
    bind = wanted.pop("BIND_ADDRESS")
    if not env_values.is_ip_address(bind):
        return {}
    chosen: dict[str, int] = {}
    for name, text in wanted.items():
        if not env_values.is_port(text):
            continue
        port = ports.next_free(bind, int(text), set(chosen.values()))
        chosen[name] = port
        if port != int(text):
            screen.done(f"Port {text} is taken by {ports.holder(int(text))}: {name}={port} instead")
    return {name: str(port) for name, port in chosen.items()}


def build_environments(paths: Paths, screen: Screen) -> None:
    """Builds the virtual environments that are missing or out of date."""
    names = environments.needed()
    stale = [name for name in names if not environments.is_built(paths, name)]
    if stale:
        screen.done(f"Building the environments {', '.join(stale)} (about 2 GB, once)")
        screen.waiting("building environments")
        environments.build(
            paths, names, environments.find_uv(paths), lambda name: screen.done(f"{name} environment built")
        )


def make_folders(paths: Paths) -> None:
    """Creates the folders of the state, each accessible only to those who need it."""
    for folder in (paths.home, paths.data, paths.logs, paths.run):
        folder.mkdir(parents=True, exist_ok=True)
    # Folders of services are private. Postgres runs as another user, so the parent of its folder must let it pass.
    paths.logs.chmod(0o700)
    paths.run.chmod(0o700)
    paths.data.chmod(0o711)
    for name in ("airflow", "agent", "webhook", "superset", "clickhouse"):
        (paths.data / name).mkdir(mode=0o700, exist_ok=True)


def make_clickhouse_config(context: Context) -> None:
    """Writes the configuration of ClickHouse's own server, if `.env` names its binary."""
    env = context.env
    if not env.CLICKHOUSE_BINARY or not env.own_clickhouse:
        return
    clickhouse_binary.check(env.CLICKHOUSE_BINARY)
    clickhouse_binary.write_config(
        clickhouse_config(context),
        context.paths.repo / "clickhouse" / "config",
        bind=env.BIND_ADDRESS,
        http_port=env.text("CLICKHOUSE_HTTP_PORT"),
        native_port=env.text("CLICKHOUSE_NATIVE_PORT"),
    )


def make_database_user(paths: Paths, screen: Screen) -> None:
    """Creates the system user of Postgres, if root starts the stack and no other user owns the data."""
    data = paths.data / "postgres"
    if os.geteuid() != 0 or (data.exists() and not database_user.is_unclaimed(data)):
        return
    if why := database_user.make():
        screen.done(
            f"Postgres runs as nobody, so other programs that do can read its files: the system user {database_user.NAME} "
            f"could not be made ({why})"
        )


def move_postgres_data(paths: Paths, screen: Screen) -> None:
    """Moves data of nobody to the system user, or continues an interrupted move. No server of this stack may run."""
    data = paths.data / "postgres"
    user = database_user.of(data)
    if os.geteuid() != 0 or data.stat().st_uid == user.uid:
        return
    screen.waiting("giving Postgres' data to the user that it runs as")
    database_user.move(data, user)
    screen.done(f"Gave Postgres' data to the user that it runs as (uid {user.uid})")


def make_postgres_data(context: Context, screen: Screen) -> None:
    """Creates the data directory with the sample shop and the metadata databases, unless it exists."""
    paths, env = context.paths, context.env
    data = paths.data / "postgres"
    if data.exists():
        return
    screen.waiting("making Postgres' data directory")
    folder = paths.repo / "postgres"
    shop = sorted((folder / "init").glob("*.sql"))
    if env.SAMPLE_SHOP == "false":
        shop = [folder / "init" / "03-reader.sql"]
    files = [("postgres", folder / "metadata" / "01-metadata.sql"), *((env.POSTGRES_DB, file) for file in shop)]
    names = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "AIRFLOW_DB_PASSWORD", "SUPERSET_DB_PASSWORD")
    values = {name: env.text(name) for name in names}
    binaries = postgres.find_binaries(paths.venvs)
    postgres.make_data_directory(binaries, data, init_files=files, env=values)
    sample = "with the sample shop" if env.SAMPLE_SHOP == "true" else "without the sample shop"
    screen.done(f"Made the databases of Postgres {binaries.major}, {sample}")
